import { Button, NativeSelect } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { tenancies } from '../../api/queries';
import { Empty, Loaded } from '../../ui/Empty';
import { Filters, Search } from '../../ui/Filters';
import { IconNext, IconSearch } from '../../ui/icons';
import { Page, Sheet, Table } from '../../ui/Page';
import { Note, State } from '../../ui/State';
import { length } from '../../ui/time';
import { useFilter } from '../../ui/useFilter';
import { When } from '../../ui/When';
import { count, healthStanding, modes, rolloutStanding } from '../../ui/words';
import { choose, healths, inOrder, running } from './choose';
import classes from './Tenants.module.css';
import { Window } from './Window';

const names = ['environment', 'health', 'text'] as const;

/** Who runs what, how each is, and when it may take a release. */
export default function Tenants() {
  const all = useQuery({ ...tenancies(), refetchInterval: useAskAgain(4_000, 60_000) });
  const [filter, set] = useFilter(names);
  return (
    <Page title="Tenants" lead="Who runs what, how each is, and when it may take a release.">
      <Loaded query={all} what="Reading tenants and rings">
        {(list) => {
          if (!list.some((e) => e.tenants?.length)) return <NoTenant />;
          const chosen = choose(list, filter);
          return (
            <>
              <Filters label="Which tenants">
                <Search
                  label="Look for"
                  placeholder="name, host, release, ring, label"
                  leftSection={<IconSearch />}
                  value={filter.text}
                  set={(text) => set({ text })}
                />
                <NativeSelect
                  label="Environment"
                  value={filter.environment}
                  onChange={(e) => set({ environment: e.currentTarget.value })}
                  data={[{ value: '', label: 'all' }, ...list.map((e) => e.environment)]}
                />
                <NativeSelect
                  label="Health"
                  value={filter.health}
                  onChange={(e) => set({ health: e.currentTarget.value })}
                  data={[
                    { value: '', label: 'all' },
                    { value: 'look', label: 'all that are not well' },
                    { value: 'ill', label: 'needs somebody' },
                    { value: 'watch', label: 'to be watched' },
                    { value: 'well', label: 'well' },
                  ]}
                />
              </Filters>
              {chosen.length === 0 && (
                <Empty
                  title="No tenant is like this"
                  action={
                    <Button variant="default" onClick={() => set({ environment: '', health: '', text: '' })}>
                      Show all
                    </Button>
                  }
                >
                  Each word must stand in the tenant’s name, hosts, release, ring or labels.
                </Empty>
              )}
              {chosen.map((e) => (
                <Environment
                  key={e.environment}
                  of={e}
                  whole={list.find((x) => x.environment === e.environment) ?? e}
                />
              ))}
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function NoTenant() {
  return (
    <Empty title="No tenant is here for you" command="waybill tenant create production/acme --release r1">
      A tenant is one database with its files and host names. It is declared in the estate (kind: Tenant), and its
      database is made by a release. Either none is declared yet, or your roles let you see none.
    </Empty>
  );
}

const first = 100; // rows that are drawn at once

function Environment({ of: e, whole }: { of: Schemas['Tenancy']; whole: Schemas['Tenancy'] }) {
  const [all, showAll] = useState(false);
  const tenants = inOrder(e);
  const shown = all ? tenants : tenants.slice(0, first);
  const rings = (e.rings?.length ?? 0) > 0;
  return (
    <Sheet
      title={e.environment}
      id={`environment-${e.environment}`}
      aside={
        <span className={classes.healths}>
          <span className={classes.soft}>{count(tenants.length, 'tenant')}</span>
          {healths(tenants).map((h) => {
            const said = healthStanding(h.health);
            return <State key={h.health} said={{ ...said, text: `${h.count.toLocaleString('en')} ${said.text}` }} />;
          })}
        </span>
      }
    >
      {e.problems?.map((p) => (
        <Note key={p} tone="bad">
          {p}
        </Note>
      ))}
      {rings && <Rings of={whole} />}
      {tenants.length === 0 ? (
        <p className={classes.soft}>No tenant is declared here yet.</p>
      ) : (
        <Table
          label={`Tenants of ${e.environment}`}
          head={['Tenant', ...(rings ? ['Ring'] : []), 'Runs', 'Health', 'Under way', 'Next window', 'Last']}
        >
          {shown.map((t) => (
            <Row key={t.name} of={t} environment={e.environment} rings={rings} />
          ))}
        </Table>
      )}
      {shown.length < tenants.length && (
        <Button mt="md" variant="default" onClick={() => showAll(true)}>
          Show all {tenants.length.toLocaleString('en')}
        </Button>
      )}
    </Sheet>
  );
}

/** The rings in the order in which a release passes them. */
function Rings({ of: e }: { of: Schemas['Tenancy'] }) {
  const rings = e.rings ?? [];
  return (
    <ol className={classes.rings} aria-label={`Rings of ${e.environment}, as a release passes them`}>
      {rings.map((r, i) => {
        const inside = (e.tenants ?? []).filter((t) => (t.ring ?? '') === r.name);
        return (
          <li key={r.name} className={classes.ring}>
            {i > 0 && (
              <span className={classes.arrow} aria-hidden="true">
                <IconNext size={18} />
              </span>
            )}
            <div>
              <strong>{r.name}</strong> <span className={classes.soft}>{count(inside.length, 'tenant')}</span>
              <div>
                {running(inside)
                  .map((x) => `${x.name || 'nothing'}${inside.length === x.count ? '' : ` (${x.count})`}`)
                  .join(', ')}
              </div>
              <div className={classes.soft}>
                {r.at_once} at once
                {r.soak_seconds > 0 && `, soaks ${length(r.soak_seconds)}`}
                {(r.after?.length ?? 0) > 0 && `, after ${r.after?.join(', ')}`}
                {r.failures > 0 && `, stops after ${count(r.failures + 1, 'that went back', 'that went back')}`}
              </div>
            </div>
          </li>
        );
      })}
    </ol>
  );
}

function Row({ of: t, environment, rings }: { of: Schemas['TenantStanding']; environment: string; rings: boolean }) {
  return (
    <tr>
      <td>
        <Link href={`/tenants/${encodeURIComponent(environment)}/${encodeURIComponent(t.name)}`}>{t.name}</Link>
        {t.hosts?.[0] && <div className={classes.soft}>{t.hosts[0]}</div>}
      </td>
      {rings && <td>{t.ring || '–'}</td>}
      <td>
        <Runs of={t} />
      </td>
      <td className={classes.wide}>
        <State said={healthStanding(t.health)} />
        {t.risks?.[0] && (
          <div className={classes.risk}>
            {t.risks[0].text}
            {t.risks.length > 1 && <span className={classes.soft}> and {t.risks.length - 1} more</span>}
          </div>
        )}
      </td>
      <td>
        {t.promotion ? (
          <Link href={`/promotions/${t.promotion}`}>
            {
              rolloutStanding({
                state: (t.promotion_state || 'running') as 'running',
                outcome: '',
                waits_for: t.promotion_says,
              }).text
            }
          </Link>
        ) : (
          '–'
        )}
      </td>
      <td>
        <Window of={t.window} />
      </td>
      <td>
        {t.last ? (
          <>
            <Link href={`/promotions/${t.last.id}`}>{t.last.release_name || t.last.kind}</Link>
            <div className={classes.soft}>
              {t.last.outcome === 'rolled_back' ? 'went back ' : ''}
              <When at={t.last.finished} only="relative" />
            </div>
          </>
        ) : (
          '–'
        )}
      </td>
    </tr>
  );
}

/** The release that serves a tenant, and what is not as usual about it. */
export function Runs({ of: t }: { of: Schemas['TenantStanding'] }) {
  return (
    <>
      {t.serving_digest ? (
        <Link href={`/releases/${encodeURIComponent(t.serving_digest)}`}>{t.serving}</Link>
      ) : (
        <span className={classes.soft}>nothing</span>
      )}
      {t.mode !== 'open' && !(t.mode === 'none' && !t.serving) && (
        <div>
          <State said={{ tone: t.mode === 'leaving' ? 'bad' : 'wait', text: modes[t.mode] ?? t.mode }} />
          {t.leaving_until && (
            <div className={classes.soft}>
              its data goes <When at={t.leaving_until} />
            </div>
          )}
        </div>
      )}
      {t.canary_percent > 0 && <div className={classes.soft}>{t.canary_percent} % on the new release</div>}
      {t.schema && t.serving && t.schema !== t.serving && <div className={classes.soft}>database at {t.schema}</div>}
    </>
  );
}
