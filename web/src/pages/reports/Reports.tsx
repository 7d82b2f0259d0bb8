import { Button, NativeSelect, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { report, status } from '../../api/queries';
import { dayName, ownZone } from '../../ui/days';
import { Empty, Loaded } from '../../ui/Empty';
import { Filters, Search } from '../../ui/Filters';
import { IconDownload } from '../../ui/icons';
import { Page, Sheet, Table } from '../../ui/Page';
import { queryOf, useFilter } from '../../ui/useFilter';
import { useNow } from '../../ui/When';
import { basis, change, find, shown } from './figures';
import { before, filterNames, periods, queryFor } from './period';
import classes from './Reports.module.css';
import { Trend } from './Trend';

const names = [...filterNames, 'figure'] as const;

/** How releasing goes, in figures. */
export default function Reports() {
  const [filter, set] = useFilter(names);
  const zone = ownZone();
  const now = useNow();
  const { query, days } = queryFor(filter, zone, now);
  const found = useQuery({ ...report(query), refetchInterval: useAskAgain(30_000) });
  const then = useQuery({ ...report({ ...query, ...before(days) }), staleTime: 10 * 60_000 });
  const environments = useQuery(status()).data?.environments ?? [];
  const link = Object.fromEntries(filterNames.map((n) => [n, filter[n]]));
  return (
    <Page
      title="Reports"
      lead={
        <>
          Promotions and rehearsals that ended from {long(days.from)} to {long(days.to)}, days in {zone}.
        </>
      }
      actions={
        <>
          <Button component={Link} href={`/reports/summary${queryOf(link)}`} variant="default">
            Summary to print
          </Button>
          <Button
            component="a"
            href={`/api/v1/reports/releases/csv${queryOf(query as Record<string, string>)}`}
            download
            variant="default"
            leftSection={<IconDownload />}
          >
            CSV
          </Button>
        </>
      }
    >
      <Filters label="What is counted">
        <NativeSelect
          label="Time"
          value={filter.period}
          data={periods}
          onChange={(e) =>
            set(
              e.currentTarget.value === 'own'
                ? { period: 'own', ...days }
                : { period: e.currentTarget.value, from: '', to: '' },
            )
          }
        />
        {filter.period === 'own' && (
          <>
            <TextInput
              type="date"
              label="From"
              value={filter.from}
              max={filter.to}
              onChange={(e) => set({ from: e.currentTarget.value })}
            />
            <TextInput
              type="date"
              label="To"
              value={filter.to}
              min={filter.from}
              onChange={(e) => set({ to: e.currentTarget.value })}
            />
          </>
        )}
        <NativeSelect
          label="Environment"
          value={filter.environment}
          onChange={(e) => set({ environment: e.currentTarget.value })}
          data={[{ value: '', label: 'all' }, ...environments.map((e) => e.name)]}
        />
        <Search label="Tenant" placeholder="all" value={filter.tenant} set={(tenant) => set({ tenant })} />
        <NativeSelect
          label="Divided by"
          value={query.by}
          onChange={(e) => set({ by: e.currentTarget.value })}
          data={['environment', 'tenant', 'ring']}
        />
        <NativeSelect
          label="Trend by"
          value={query.bucket}
          onChange={(e) => set({ bucket: e.currentTarget.value })}
          data={['week', 'month']}
        />
      </Filters>
      <Loaded query={found} what="Counting">
        {(r) => (
          <div className={classes.report} data-fading={found.isPlaceholderData || undefined}>
            {nothing(r) && (
              <Empty title="Nothing ended in this time" command="waybill report --from 2026-01-01">
                A figure is counted once a promotion or a rehearsal has ended. Choose a longer time, another environment
                or tenant, or promote a release.
              </Empty>
            )}
            <section aria-label="Figures of the whole" className={classes.tiles}>
              {(r.definitions ?? []).map((d) => (
                <Tile key={d.key} definition={d} now={find(r.total, d.key)} then={find(then.data?.total, d.key)} />
              ))}
            </section>
            <Trend of={r} figure={filter.figure} choose={(figure) => set({ figure })} />
            <Divided of={r} />
            <p className={classes.soft}>
              Waybill counts what it has recorded of its own promotions and rehearsals, and estimates nothing: an
              incident that nobody answered with a rollback or a restore is no failed change here. Drift is what was
              found in a cluster of Kubernetes; of databases none is looked for. Durations and ratios are medians.
            </p>
          </div>
        )}
      </Loaded>
    </Page>
  );
}

const long = (day: string) => dayName(day, { day: 'numeric', month: 'long', year: 'numeric' });

export const nothing = (r: Schemas['ReportReport']) =>
  (r.total ?? []).every((f) => f.n === 0 && (f.value === null || f.value === 0));

/** One figure, with what it rests on, and how it was before. */
export function Tile({
  definition: d,
  now,
  then,
}: {
  definition: Schemas['ReportDefinition'];
  now?: Schemas['ReportFigure'];
  then?: Schemas['ReportFigure'];
}) {
  if (!now) return null;
  const differs = change(now, then, d);
  return (
    <article className={classes.tile} aria-labelledby={`figure-${d.key}`} data-few={now.few || undefined}>
      <h3 id={`figure-${d.key}`}>{d.name}</h3>
      <p className={classes.value}>
        {shown(now.value, d.unit)}
        {d.unit === 'per week' && now.value !== null && <small> a week</small>}
        {d.unit === 'ratio' && now.value !== null && <small> × predicted</small>}
      </p>
      {differs && (
        <p className={classes.change} data-way={differs.way}>
          {differs.text}
          {differs.way === 'better' || differs.way === 'worse' ? `, ${differs.way}` : ''}
        </p>
      )}
      <p className={classes.basis}>{basis(now, d.unit)}</p>
      <details className={classes.means}>
        <summary>What it means</summary>
        {d.means}
      </details>
    </article>
  );
}

/** The same figures for each environment, tenant or ring. */
function Divided({ of: r }: { of: Schemas['ReportReport'] }) {
  const groups = r.groups ?? [];
  const definitions = r.definitions ?? [];
  if (groups.length === 0) return null;
  return (
    <Sheet title={`By ${r.by}`} id="divided">
      <Table label={`Figures by ${r.by}`} head={[r.by, ...definitions.map((d) => d.name)]}>
        {groups.map((g) => (
          <tr key={g.name}>
            <th scope="row">
              {g.tenant ? (
                <Link href={`/tenants/${encodeURIComponent(g.environment)}/${encodeURIComponent(g.tenant)}`}>
                  {g.name}
                </Link>
              ) : (
                g.name
              )}
            </th>
            {definitions.map((d) => {
              const f = find(g.figures, d.key);
              return (
                <td key={d.key} title={f && basis(f, d.unit)}>
                  {shown(f?.value, d.unit)}
                  {f && f.value !== null && d.unit !== 'count' && (
                    <small className={classes.of}> {f.counts ?? `n ${f.n.toLocaleString('en')}`}</small>
                  )}
                </td>
              );
            })}
          </tr>
        ))}
      </Table>
      <p className={classes.soft}>
        By tenant or ring each one’s part counts as one, so that the parts need not add up to the whole.
      </p>
    </Sheet>
  );
}
