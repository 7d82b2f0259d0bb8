import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { report, status } from '../../api/queries';
import { dayName, ownZone } from '../../ui/days';
import { Empty, Loaded } from '../../ui/Empty';
import { Page, Sheet } from '../../ui/Page';
import { absolute } from '../../ui/time';
import { queryOf, useFilter } from '../../ui/useFilter';
import { useNow } from '../../ui/When';
import { find, sentences, shown } from './figures';
import { before, filterNames, queryFor } from './period';
import { nothing, Tile } from './Reports';
import classes from './Reports.module.css';
import { Course } from './Trend';

const large = ['release_success_rate', 'change_failure_rate', 'lead_time', 'deployment_frequency'];
const small = [
  'time_to_detect',
  'time_to_recover',
  'approval_wait',
  'people_waited',
  'checkpoint_success_rate',
  'rehearsal_proven_rate',
  'drifted_objects',
  'drift_lasted',
];
const columns = [...large, 'time_to_recover', 'people_waited'];

/** The figures of releasing on a page to print: for whoever pays for it. */
export default function Summary() {
  const [filter] = useFilter(filterNames);
  const zone = ownZone();
  const now = useNow();
  const { query, days } = queryFor(filter, zone, now);
  const found = useQuery(report(query));
  const then = useQuery({ ...report({ ...query, ...before(days) }), staleTime: 10 * 60_000 });
  const estate = useQuery(status()).data?.estate.split('/').filter(Boolean).at(-1);
  const of = [filter.tenant, filter.environment].filter(Boolean).join(' in ') || 'all environments';
  return (
    <Page
      title="How releasing goes"
      lead={
        <>
          {estate && `Estate ${estate}, `}
          {of}, from {long(days.from)} to {long(days.to)}
        </>
      }
      actions={
        <>
          <Button component={Link} href={`/reports${queryOf(filter)}`} variant="default">
            All figures
          </Button>
          <Button onClick={() => window.print()}>Print</Button>
        </>
      }
    >
      <Loaded query={found} what="Counting">
        {(r) =>
          nothing(r) ? (
            <Empty title="Nothing ended in this time">
              There is nothing to sum up: choose a longer time under “All figures”.
            </Empty>
          ) : (
            <div className={classes.summary}>
              <p className={classes.said}>{sentences(r.total ?? []).join(' ')}</p>
              <Tiles of={r} then={then.data} keys={large} label="The four figures" />
              <Tiles of={r} then={then.data} keys={small} label="Further figures" compact />
              {(r.trend?.length ?? 0) > 1 && (
                <div className={classes.pair}>
                  {['deployment_frequency', 'release_success_rate'].map((key) => {
                    const d = r.definitions?.find((x) => x.key === key);
                    return d && <Course key={key} of={r} definition={d} />;
                  })}
                </div>
              )}
              <Divided of={r} />
              <Meanings of={r} keys={[...large, ...small]} />
              <p className={classes.soft}>
                As of {absolute(new Date(found.dataUpdatedAt))}, days in {zone}. Arrows: against the same length of time
                just before. Durations are medians. From what Waybill has recorded; nothing is estimated.
              </p>
            </div>
          )
        }
      </Loaded>
    </Page>
  );
}

const long = (day: string) => dayName(day, { day: 'numeric', month: 'long', year: 'numeric' });

function Tiles({
  of: r,
  then,
  keys,
  label,
  compact,
}: {
  of: Schemas['ReportReport'];
  then?: Schemas['ReportReport'];
  keys: string[];
  label: string;
  compact?: boolean;
}) {
  return (
    <section className={classes.tiles} data-compact={compact || undefined} aria-label={label}>
      {keys.map((key) => {
        const d = r.definitions?.find((x) => x.key === key);
        return d && <Tile key={key} definition={d} now={find(r.total, key)} then={find(then?.total, key)} />;
      })}
    </section>
  );
}

function Divided({ of: r }: { of: Schemas['ReportReport'] }) {
  const groups = r.groups ?? [];
  if (groups.length < 2) return null;
  const definitions = columns.flatMap((key) => r.definitions?.find((d) => d.key === key) ?? []);
  const most = 20;
  return (
    <Sheet title={`By ${r.by}`} id="divided">
      <table className={classes.plain}>
        <thead>
          <tr>
            <th scope="col">{r.by}</th>
            {definitions.map((d) => (
              <th key={d.key} scope="col">
                {d.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {groups.slice(0, most).map((g) => (
            <tr key={g.name}>
              <th scope="row">{g.name}</th>
              {definitions.map((d) => (
                <td key={d.key}>{shown(find(g.figures, d.key)?.value, d.unit)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {groups.length > most && <p className={classes.soft}>and {groups.length - most} more, which the CSV file has</p>}
    </Sheet>
  );
}

/** What the figures mean, on paper too. */
function Meanings({ of: r, keys }: { of: Schemas['ReportReport']; keys: string[] }) {
  return (
    <dl className={classes.meanings}>
      {keys.map((key) => {
        const d = r.definitions?.find((x) => x.key === key);
        return (
          d && (
            <div key={key}>
              <dt>{d.name}</dt>
              <dd>{d.means}</dd>
            </div>
          )
        );
      })}
    </dl>
  );
}
