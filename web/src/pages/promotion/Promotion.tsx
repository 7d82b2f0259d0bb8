import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { promotion } from '../../api/queries';
import { Digest } from '../../ui/Digest';
import { Loaded } from '../../ui/Empty';
import { IconDownload } from '../../ui/icons';
import { Facts, Page, Sheet, Table } from '../../ui/Page';
import { Note, Sign, State } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import { classes as classMeaning, count, kinds, rolloutStanding, standing, title } from '../../ui/words';
import { Approvals } from './Approvals';
import { Gates } from './Gates';
import classes from './Promotion.module.css';
import { RehearsalSheet } from './Rehearsal';
import { Timeline } from './Timeline';
import { Traffic } from './Traffic';
import { WayBack } from './WayBack';

/** The waybill as a page: what is moved, how far it is, what it waits for, on what evidence, and how it can be reversed. */
export default function Promotion({ params }: { params: { id?: string } }) {
  const id = params.id ?? '';
  const every = useAskAgain(2_000);
  const found = useQuery({ ...promotion(id), refetchInterval: (q) => (q.state.data?.finished ? false : every) });
  return found.data ? (
    <Waybill of={found.data} />
  ) : (
    <Page title="Promotion">
      <Loaded query={found} what="Reading the promotion">
        {() => null}
      </Loaded>
    </Page>
  );
}

function Waybill({ of: p }: { of: Schemas['Promotion'] }) {
  const rollouts = p.rollouts ?? [];
  const [chosen, choose] = useState<string>();
  const rollout = rollouts.find((r) => r.tenant === chosen) ?? mostTelling(rollouts);
  return (
    <Page
      title={title(p)}
      name={
        <span className={classes.name}>
          {title(p)} <State said={standing(p)} big />
        </span>
      }
      lead={
        <>
          Waybill <code>{p.id}</code> · {kinds[p.kind] ?? p.kind} asked for by {p.requested_by} ·{' '}
          <When at={p.created} />
        </>
      }
      actions={<Export of={p} />}
    >
      <div className={classes.notes}>
        {p.emergency && (
          <Note tone="bad">
            <strong>Emergency.</strong> {p.emergency.reason}
          </Note>
        )}
        <NeedsPerson of={p} />
      </div>
      <Sheet>
        <Facts
          of={[
            [
              'Release',
              p.release && (
                <>
                  <Link href={`/releases/${encodeURIComponent(p.release)}`}>{p.release_name}</Link>{' '}
                  <Digest of={p.release} />
                </>
              ),
            ],
            ['Environment', p.environment],
            ['Class', p.class && <span title={classMeaning[p.class]}>{p.class}</span>],
            ['People waited', rollouts.length > 0 && <Waited of={rollouts} />],
            ['Begun', <When key="begun" at={p.created} only="absolute" />],
            ['Ended', p.finished ? <When key="ended" at={p.finished} only="absolute" /> : 'not yet'],
            ['Took', p.finished && length((Date.parse(p.finished) - Date.parse(p.created)) / 1000)],
            ['Estate', p.estate_commit && <code>{p.estate_commit.slice(0, 10)}</code>],
          ]}
        />
      </Sheet>
      {rollouts.length > 1 && <Tenants of={p} chosen={rollout?.tenant} choose={choose} />}
      <div className={classes.columns}>
        <div className={classes.main}>
          {rollout && <Timeline key={rollout.tenant} of={rollout} procedure={p.procedure ?? []} />}
          {rollout && <Traffic of={rollout} />}
          {rollout && p.kind === 'promote' && <RehearsalSheet of={rollout} />}
        </div>
        <div className={classes.side}>
          <Approvals of={p} />
          <Gates of={p} tenant={rollouts.length > 1 ? rollout?.tenant : undefined} />
          <WayBack of={p} />
        </div>
      </div>
    </Page>
  );
}

/** The rollout that says most about where a promotion stands. */
export function mostTelling(rollouts: Schemas['Rollout'][]): Schemas['Rollout'] | undefined {
  const weight = (r: Schemas['Rollout']) =>
    r.state === 'waiting'
      ? 0
      : r.state === 'undoing'
        ? 1
        : r.state === 'running' && !r.waits_for
          ? 2
          : r.state === 'running'
            ? 3
            : r.outcome === 'rolled_back'
              ? 4
              : 5;
  return [...rollouts].sort((a, b) => weight(a) - weight(b))[0];
}

function Waited({ of }: { of: Schemas['Rollout'][] }) {
  const held = Math.max(...of.map((r) => r.held_seconds));
  const predicted = Math.max(...of.map((r) => r.predicted_seconds ?? 0));
  return (
    <>
      {held > 0 ? length(held) : 'not at all'}
      {predicted > 0 && <small className={classes.soft}> · predicted {length(predicted)}</small>}
    </>
  );
}

function Export({ of: p }: { of: Schemas['Promotion'] }) {
  if (!p.finished) return null;
  return (
    <Button
      component="a"
      variant="default"
      leftSection={<IconDownload />}
      href={`/api/v1/promotions/${p.id}/waybill`}
      download={`waybill-${p.id}.json`}
    >
      Export the waybill
    </Button>
  );
}

/** Why it ended as it did, or stands, in the words that were written down. */
function NeedsPerson({ of: p }: { of: Schemas['Promotion'] }) {
  const telling = (p.rollouts ?? []).filter((r) => r.reason && (r.state === 'waiting' || r.outcome === 'rolled_back'));
  const reasons = [...new Set(telling.map((r) => r.reason))];
  return reasons.map((reason) => {
    const who = telling.filter((r) => r.reason === reason);
    const waits = who.some((r) => r.state === 'waiting');
    return (
      <Note key={reason} tone={waits ? 'bad' : 'back'}>
        <strong>{waits ? 'Somebody must decide' : 'It went back'}</strong>
        {(p.rollouts?.length ?? 0) > 1 && <> ({who.map((r) => r.tenant).join(', ')})</>}: {reason}
      </Note>
    );
  });
}

function Tenants({
  of: p,
  chosen,
  choose,
}: {
  of: Schemas['Promotion'];
  chosen?: string;
  choose: (tenant: string) => void;
}) {
  return (
    <Sheet title="Tenants" id="tenants">
      {p.rings && (
        <ol className={classes.rings}>
          {p.rings.map((r) => (
            <li key={r.name} className={classes.ring}>
              <Sign
                tone={
                  ({ waits: 'wait', goes: 'busy', soaks: 'wait', through: 'good', stopped: 'bad' } as const)[r.state]
                }
              />
              <span>
                <strong>{r.name}</strong> {r.state}: {r.promoted} of {r.total} promoted
                {r.failed > 0 && `, ${r.failed} went back`}
                {r.why && <small> · {r.why}</small>}
                {r.until && (
                  <small>
                    {' '}
                    · until <When at={r.until} />
                  </small>
                )}
              </span>
            </li>
          ))}
        </ol>
      )}
      <Table label="Tenants of this promotion" head={['Tenant', 'Ring', 'Stands', 'Step', 'People waited', '']}>
        {(p.rollouts ?? []).map((r) => (
          <tr key={r.tenant}>
            <td>{r.tenant}</td>
            <td>{r.ring || '–'}</td>
            <td>
              <State said={rolloutStanding(r)} />
            </td>
            <td>{r.steps?.at(-1)?.name ?? '–'}</td>
            <td>{r.held_seconds > 0 ? length(r.held_seconds) : 'not at all'}</td>
            <td>
              <Button
                size="sm"
                variant={r.tenant === chosen ? 'light' : 'subtle'}
                aria-pressed={r.tenant === chosen}
                aria-label={`Show ${r.tenant}`}
                onClick={() => choose(r.tenant)}
              >
                Show
              </Button>
            </td>
          </tr>
        ))}
      </Table>
      <p className={classes.soft}>
        {count(p.rollouts?.length ?? 0, 'tenant')}; below: {chosen}
      </p>
    </Sheet>
  );
}
