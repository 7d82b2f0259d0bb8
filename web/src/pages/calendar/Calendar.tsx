import { Button, Modal, NativeSelect, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { calendar } from '../../api/queries';
import { addDays, dayName, dayOf, isDay, isZone, mondayOf, ownZone, startOf, zoneName } from '../../ui/days';
import { Empty, Loaded } from '../../ui/Empty';
import { Filters } from '../../ui/Filters';
import { IconBefore, IconNext } from '../../ui/icons';
import { Facts, Page, Sheet, Table } from '../../ui/Page';
import { State } from '../../ui/State';
import { useFilter } from '../../ui/useFilter';
import { useNow, When } from '../../ui/When';
import { kinds, type Said } from '../../ui/words';
import classes from './Calendar.module.css';
import { Week } from './Week';
import { concerns, type Item, itemsOf } from './week';

const names = ['week', 'zone', 'environment', 'tenant'] as const;

/** When promotions may run, when they must not, and which wait for it: a week at a time. */
export default function Calendar() {
  const [filter, set] = useFilter(names);
  const now = useNow();
  const zone = isZone(filter.zone) ? filter.zone : ownZone();
  const monday = mondayOf(isDay(filter.week) ? filter.week : dayOf(now, zone));
  const current = monday === mondayOf(dayOf(now, zone));
  const query = useQuery({
    ...calendar({
      from: startOf(monday, zone).toISOString(),
      to: startOf(addDays(monday, 7), zone).toISOString(),
      zone,
      environment: filter.environment,
      tenant: filter.tenant,
    }),
    refetchInterval: useAskAgain(4_000, 60_000),
  });
  // Who can be chosen: of all, not of what is chosen now.
  const everybody = useQuery({
    ...calendar({
      from: startOf(monday, zone).toISOString(),
      to: startOf(addDays(monday, 1), zone).toISOString(),
      zone,
    }),
    staleTime: 60_000,
  });
  const subjects = (everybody.data?.alike ?? []).flatMap((a) => a.subjects ?? []).sort();
  const zones = [
    ...new Set([zone, ownZone(), 'UTC', ...(everybody.data?.alike ?? []).map((a) => a.zone)].filter(Boolean)),
  ];
  const [shown, show] = useState<Item>();
  const to = (week: string) => set({ week });
  return (
    <Page title="Calendar" lead="When promotions may run, when they must not, and which wait for it.">
      <Filters label="What the calendar shows">
        <NativeSelect
          label="Whose"
          value={filter.tenant ? `${filter.environment}/${filter.tenant}` : filter.environment}
          onChange={(e) => {
            const [environment = '', tenant = ''] = e.currentTarget.value.split('/');
            set({ environment, tenant });
          }}
          data={[{ value: '', label: 'everybody’s' }, ...groups(subjects)]}
        />
        <NativeSelect
          label="Time zone"
          value={zone}
          onChange={(e) => set({ zone: e.currentTarget.value })}
          data={zones.map((z) => ({ value: z, label: z === ownZone() ? `${z} (this browser’s)` : z }))}
        />
        <TextInput
          type="date"
          label="Week of"
          value={isDay(filter.week) ? filter.week : monday}
          onChange={(e) => isDay(e.currentTarget.value) && to(e.currentTarget.value)}
        />
      </Filters>
      <Loaded query={query} what="Reading the calendar">
        {(c) => (
          <>
            <Sheet
              title={`${dayName(monday, { day: 'numeric', month: 'long' })} to ${dayName(addDays(monday, 6), { day: 'numeric', month: 'long', year: 'numeric' })}`}
              id="week"
              aside={
                <div className={classes.steps}>
                  <span className={classes.zone}>Times in {zoneNames(zone, monday)}</span>
                  <Button variant="default" onClick={() => to(addDays(monday, -7))} leftSection={<IconBefore />}>
                    Previous week
                  </Button>
                  <Button variant="default" onClick={() => to('')} disabled={current}>
                    This week
                  </Button>
                  <Button variant="default" onClick={() => to(addDays(monday, 7))} rightSection={<IconNext />}>
                    Next week
                  </Button>
                </div>
              }
            >
              {!c.declared && <NoCalendar />}
              <TheWeek
                of={c}
                monday={monday}
                zone={zone}
                now={now}
                open={show}
                step={(weeks) => to(addDays(monday, 7 * weeks))}
                fading={query.isPlaceholderData}
              />
            </Sheet>
            <Waiting of={c} />
            {c.declared && <Open of={c} />}
          </>
        )}
      </Loaded>
      {shown?.occurrence && <Details of={shown.occurrence} close={() => show(undefined)} />}
    </Page>
  );
}

/** The zone, with both of its offsets in a week in which the clocks change. */
function zoneNames(zone: string, monday: string): string {
  const [first, last] = [monday, addDays(monday, 7)].map((day) => zoneName(zone, startOf(day, zone)));
  return first === last ? (first ?? zone) : `${first}, then ${last?.split(', ').at(-1)}`;
}

/** Environments, each with its tenants. */
function groups(subjects: string[]) {
  const environments = [...new Set(subjects.map((s) => s.split('/')[0] ?? s))];
  return environments.map((environment) => ({
    group: environment,
    items: [
      { value: environment, label: `all of ${environment}` },
      ...subjects
        .filter((s) => s.startsWith(`${environment}/`))
        .map((s) => ({ value: s, label: s.slice(environment.length + 1) })),
    ],
  }));
}

function TheWeek({
  of: c,
  ...rest
}: { of: Schemas['CalendarPeriod'] } & Omit<Parameters<typeof Week>[0], 'items' | 'stretches'>) {
  const items = useMemo(() => itemsOf(c), [c]);
  const only = c.alike?.length === 1 && c.declared ? c.alike[0] : undefined;
  return <Week {...rest} items={items} stretches={only?.stretches ?? undefined} />;
}

const sample = `kind: Calendar
name: warehouse
timezone: Europe/Berlin
windows:
  - {name: evenings, rrule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH", from: "20:00", to: "22:00"}
freezes:
  - {name: stocktaking, from: "2026-12-28", to: "2026-12-31", reason: counting}`;

function NoCalendar() {
  return (
    <Empty title="The estate has no calendar: promotions may run at any time">
      A window says when they may run, a freeze when they must not. Both are declared in the estate, for all or for some
      environments, rings and tenants:
      <pre className={classes.sample}>{sample}</pre>
      Then <code>waybill calendar check</code> says whether they mean what you mean.
    </Empty>
  );
}

/** Whom a calendar lets in now, and when next. */
function Open({ of: c }: { of: Schemas['CalendarPeriod'] }) {
  return (
    <Sheet title="May a promotion run now?" id="open">
      <Table label="Whether it is open now" head={['Whose', 'Now', 'Why', 'Next']}>
        {(c.alike ?? []).map((a) => (
          <tr key={(a.subjects ?? []).join()}>
            <td className={classes.whose}>
              <Several of={a.subjects ?? []} />
              <div className={classes.soft}>in {a.zone}</div>
            </td>
            <td>
              <State said={standingNow(a)} />
            </td>
            <td className={classes.why}>{a.answer.why}</td>
            <td>
              {a.answer.open ? (
                a.answer.until ? (
                  <>
                    closes <When at={a.answer.until} />
                  </>
                ) : (
                  'nothing closes it'
                )
              ) : a.answer.next ? (
                <>
                  opens <When at={a.answer.next} />
                </>
              ) : (
                'not as far as can be seen'
              )}
            </td>
          </tr>
        ))}
      </Table>
    </Sheet>
  );
}

function standingNow(a: Schemas['Alike']): Said {
  return a.answer.open ? { tone: 'good', text: 'open' } : { tone: 'wait', text: 'closed' };
}

/** A few names, and how many more there are. */
function Several({ of: all, most = 4 }: { of: string[]; most?: number }) {
  if (all.length <= most + 1) return <>{all.join(', ')}</>;
  return (
    <span title={all.slice(0, 100).join(', ')}>
      {all.slice(0, most).join(', ')} and {(all.length - most).toLocaleString('en')} more
    </span>
  );
}

/** Promotions that wait: for a time, or for something that has none. */
function Waiting({ of: c }: { of: Schemas['CalendarPeriod'] }) {
  return (
    <Sheet title="Waiting now" id="waiting">
      {c.planned?.length ? (
        <Table label="Promotions that wait" head={['Promotion', 'Tenants', 'Waits for', 'Goes on', 'Asked by']}>
          {c.planned.map((p) => (
            <tr key={`${p.promotion} ${p.waits_for} ${p.at}`}>
              <td>
                <Link href={`/promotions/${p.promotion}`}>
                  {p.kind === 'promote'
                    ? `${p.release_name} → ${p.environment}`
                    : `${kinds[p.kind] ?? p.kind} in ${p.environment}`}
                </Link>
              </td>
              <td>
                <Several of={p.tenants ?? []} />
              </td>
              <td className={classes.why}>{p.waits_for}</td>
              <td>{p.at ? <When at={p.at} /> : 'when that happens'}</td>
              <td>{p.requested_by}</td>
            </tr>
          ))}
        </Table>
      ) : (
        <p className={classes.soft}>
          No promotion waits. One that is asked for while its window is closed stands here, and goes on by itself.
        </p>
      )}
    </Sheet>
  );
}

function Details({ of: o, close }: { of: Schemas['CalendarOccurrence']; close: () => void }) {
  return (
    <Modal
      opened
      onClose={close}
      size="lg"
      title={`${o.kind === 'freeze' ? 'Freeze' : 'Window'}: ${o.event || o.process || o.name}`}
    >
      <Facts
        of={[
          ['Concerns', concerns(o.scope)],
          ['From', <When key="from" at={o.start} />],
          ['To', o.end ? <When key="to" at={o.end} /> : 'until further notice'],
          ['Process', o.process],
          ['Reason', o.reason],
          ['Calendar', o.calendar],
          ['Entry', o.event ? `${o.name}: ${o.event}` : o.name],
        ]}
      />
      <p className={classes.soft}>
        {o.kind === 'freeze'
          ? 'No promotion begins in it, whatever windows there are; what is under way goes on.'
          : 'Promotions of those that it concerns begin within it, unless a freeze lies over it.'}{' '}
        It is declared in the estate: docs/calendars.md.
      </p>
    </Modal>
  );
}
