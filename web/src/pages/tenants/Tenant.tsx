import { Button } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { tenancy, tenantPromotions } from '../../api/queries';
import { Empty, Loaded } from '../../ui/Empty';
import { Facts, Page, Sheet, Table } from '../../ui/Page';
import { Note, State } from '../../ui/State';
import { length } from '../../ui/time';
import { queryOf } from '../../ui/useFilter';
import { When } from '../../ui/When';
import { healthStanding, kinds, partStanding, rolloutStanding } from '../../ui/words';
import { Runs } from './Tenants';
import classes from './Tenants.module.css';
import { Window } from './Window';

/** One tenant: what it runs, what stands against a release, and what was done to it. */
export default function Tenant({ params }: { params: Record<string, string | undefined> }) {
  const environment = params.environment ?? '';
  const name = params.tenant ?? '';
  const found = useQuery({ ...tenancy(environment, name), refetchInterval: useAskAgain(4_000, 60_000) });
  const t = found.data?.tenants?.[0];
  return (
    <Page
      title={`${name} in ${environment}`}
      name={
        <>
          {name} <small className={classes.soft}>in {environment}</small>
        </>
      }
      lead={t?.hosts?.join(', ')}
      actions={t && <State said={healthStanding(t.health)} big />}
    >
      <Loaded query={found} what={`Reading ${name}`}>
        {() =>
          t && (
            <>
              <div className={classes.columns}>
                <Now of={t} environment={environment} />
                <Sheet title="Before a release" id="risks">
                  {t.risks?.length ? (
                    <ul className={classes.risks}>
                      {t.risks.map((r) => (
                        <li key={r.text}>
                          <Note tone={healthStanding(r.health).tone}>{r.text}</Note>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <Note tone="good">Nothing is known that stands against one.</Note>
                  )}
                </Sheet>
              </div>
              <Promotions environment={environment} tenant={name} />
            </>
          )
        }
      </Loaded>
    </Page>
  );
}

function Now({ of: t, environment }: { of: Schemas['TenantStanding']; environment: string }) {
  const labels = Object.entries(t.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return (
    <Sheet title="Now" id="now">
      <Facts
        of={[
          ['Runs', <Runs key="runs" of={t} />],
          [
            'Under way',
            t.promotion && (
              <>
                <Link href={`/promotions/${t.promotion}`}>
                  {
                    rolloutStanding({
                      state: (t.promotion_state || 'running') as 'running',
                      outcome: '',
                      waits_for: t.promotion_says,
                    }).text
                  }
                </Link>
                {t.promotion_says && <p className={classes.soft}>{t.promotion_says}</p>}
              </>
            ),
          ],
          ['Ring', t.ring],
          [
            'Window',
            <div key="window">
              <Window of={t.window} why />
              {t.window && (
                <Link href={`/calendar${queryOf({ environment, tenant: t.name, zone: t.window_zone })}`}>
                  Calendar in {t.window_zone}
                </Link>
              )}
            </div>,
          ],
          ['Hosting', t.hosting === 'dedicated' ? 'pools of its own' : 'shared pools'],
          ['Labels', labels.join(', ')],
          [
            'Storage',
            t.storage_bytes
              ? `${size(t.storage_bytes)}${t.storage_limit ? ` of ${size(t.storage_limit)}` : ''}`
              : undefined,
          ],
          [
            'Figures',
            <Link key="figures" href={`/reports${queryOf({ environment, tenant: t.name, by: 'tenant' })}`}>
              How its releases went
            </Link>,
          ],
        ]}
      />
    </Sheet>
  );
}

function Promotions({ environment, tenant }: { environment: string; tenant: string }) {
  const list = useInfiniteQuery({ ...tenantPromotions(environment, tenant), refetchInterval: useAskAgain() });
  const rows = list.data?.pages.flatMap((p) => p.items);
  return (
    <Sheet title="Promotions" id="promotions">
      <Loaded query={{ data: rows, error: list.error, refetch: list.refetch }} what="Reading what was done to it">
        {(all) =>
          all.length === 0 ? (
            <Empty title="Nothing was done to it yet" command={`waybill promote RELEASE ${environment}`}>
              Each promotion that it takes part in stands here, with its own part alone.
            </Empty>
          ) : (
            <>
              <Table
                label={`Promotions of ${tenant}`}
                head={['What', 'Its part', 'Class', 'People waited', 'Asked by', 'Begun', 'Ended']}
              >
                {all.map((p) => (
                  <tr key={p.id}>
                    <td>
                      <Link href={`/promotions/${p.id}`}>
                        {p.kind === 'promote' ? p.release_name : (kinds[p.kind] ?? p.kind)}
                      </Link>
                      {p.kind !== 'promote' && p.release_name && <small> · {p.release_name}</small>}
                    </td>
                    <td>
                      <State said={partStanding(p)} />
                      {(p.waits_for || (p.outcome === 'rolled_back' && p.reason)) && (
                        <div className={classes.reason}>{p.waits_for || p.reason}</div>
                      )}
                    </td>
                    <td>{p.class || '–'}</td>
                    <td>{p.held_seconds > 0 ? length(p.held_seconds) : 'not at all'}</td>
                    <td>{p.requested_by}</td>
                    <td>
                      <When at={p.created} />
                    </td>
                    <td>{p.finished ? <When at={p.finished} only="absolute" /> : '–'}</td>
                  </tr>
                ))}
              </Table>
              {list.hasNextPage && (
                <Button
                  mt="md"
                  variant="default"
                  loading={list.isFetchingNextPage}
                  onClick={() => void list.fetchNextPage()}
                >
                  Show earlier ones
                </Button>
              )}
            </>
          )
        }
      </Loaded>
    </Sheet>
  );
}

/** "3.2 GB" */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${Number((bytes / 1000 ** step).toPrecision(3))} ${units[step]}`;
}
