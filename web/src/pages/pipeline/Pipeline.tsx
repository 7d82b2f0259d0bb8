import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { promotions, status } from '../../api/queries';
import { useMay, useMayAnywhere } from '../../shell/session';
import { Digest } from '../../ui/Digest';
import { Empty, Loaded } from '../../ui/Empty';
import { IconChevron, IconNext } from '../../ui/icons';
import { Page, Sheet } from '../../ui/Page';
import { Note, Sign, State } from '../../ui/State';
import { count, rolloutStanding, standing, title } from '../../ui/words';
import { Lately } from '../promotion/Lately';
import { Course } from './Course';
import classes from './Pipeline.module.css';
import { type Served, serves } from './serves';

const Promote = lazy(() => import('./Promote'));

/** The environments from left to right: what runs where, and what is on its way. */
export default function Pipeline() {
  const every = useAskAgain();
  const now = useQuery({ ...status(), refetchInterval: every });
  const lately = useQuery({ ...promotions(), refetchInterval: every });
  const [asked, ask] = useState<{ release?: string; environment?: string }>();
  const mayPromote = useMayAnywhere('promotion.start');
  const open = (lately.data ?? []).filter((p) => !p.finished);
  return (
    <Page
      title="Pipeline"
      lead={now.data && <EstateLine of={now.data} />}
      actions={mayPromote && <Button onClick={() => ask({})}>Promote a release</Button>}
    >
      <Loaded query={now} what="Reading what runs where">
        {(s) =>
          s.environments?.length ? (
            <>
              {s.problems?.map((p) => (
                <Note key={p} tone="wait">
                  {p}
                </Note>
              ))}
              <ol className={classes.pipeline}>
                {s.environments.map((e, i) => (
                  <Environment
                    key={e.name}
                    of={e}
                    before={s.environments?.[i - 1]}
                    under={open.filter((p) => p.environment === e.name)}
                    promote={(release) => ask({ release, environment: e.name })}
                  />
                ))}
              </ol>
            </>
          ) : (
            <Empty title="No environment is here for you" command="waybill init my-estate">
              Environments stand in the estate, from test to production, in the order in which releases pass them.
              Either it declares none yet, or your roles let you see none.
            </Empty>
          )
        }
      </Loaded>
      <Sheet title="Lately" id="lately" aside={<Link href="/promotions">All promotions</Link>}>
        <Loaded query={lately} what="Reading what happened lately">
          {(list) => <Lately of={list.slice(0, 8)} />}
        </Loaded>
      </Sheet>
      {asked && (
        <Suspense>
          <Promote {...asked} close={() => ask(undefined)} />
        </Suspense>
      )}
    </Page>
  );
}

function EstateLine({ of }: { of: Schemas['Status'] }) {
  const name = of.estate.split('/').filter(Boolean).at(-1) ?? of.estate;
  return (
    <>
      Estate {name}
      {of.estate_commit && (
        <>
          {' '}
          at commit <code>{of.estate_commit.slice(0, 10)}</code>
        </>
      )}
    </>
  );
}

function Environment({
  of,
  before,
  under,
  promote,
}: {
  of: Schemas['Environment'];
  before?: Schemas['Environment'];
  under: Schemas['Promotion'][];
  promote: (release: string) => void;
}) {
  const may = useMay();
  const served = serves(of);
  const next = before && serves(before)[0];
  const isNew = next?.digest && under.length === 0 && !served.some((s) => s.digest === next.digest);
  return (
    <li className={classes.environment}>
      {before && (
        <span className={classes.arrow} aria-hidden="true">
          <IconChevron size={22} />
        </span>
      )}
      <section aria-labelledby={`environment-${of.name}`} className={classes.card}>
        <header className={classes.head}>
          <h2 id={`environment-${of.name}`}>{of.name}</h2>
          <span className={classes.soft}>{count(of.tenants?.length ?? 0, 'tenant')}</span>
        </header>
        {served.map((s) => (
          <Serving key={s.digest} of={s} />
        ))}
        {served.length === 0 && <p className={classes.soft}>No tenant is declared here yet.</p>}
        {[...(of.problems ?? []), ...(of.vulnerable ?? [])].map((p) => (
          <Note key={p} tone="wait">
            {p}
          </Note>
        ))}
        {under.map((p) => (
          <UnderWay key={p.id} of={p} />
        ))}
        {isNew && may('promotion.start', of.name) && (
          <Button
            variant="default"
            fullWidth
            rightSection={<IconNext size={18} />}
            onClick={() => promote(next.digest)}
          >
            Promote {next.name} here
          </Button>
        )}
      </section>
    </li>
  );
}

function Serving({ of }: { of: Served }) {
  return (
    <div className={classes.serving}>
      <div className={classes.release}>
        {of.digest ? (
          <Link href={`/releases/${encodeURIComponent(of.digest)}`}>{of.name}</Link>
        ) : (
          <span className={classes.soft}>nothing serves yet</span>
        )}
        <Digest of={of.digest} />
      </div>
      <ul className={classes.tenants}>
        {of.tenants.map((t) => (
          <li key={t.name}>
            <TenantChip of={t} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function TenantChip({ of: t }: { of: Schemas['Tenant'] }) {
  const held = t.mode === 'hold' || t.mode === 'freeze' || t.mode === 'suspended' || t.mode === 'leaving';
  const says = [
    held &&
      { hold: 'requests are held', freeze: 'frozen', suspended: 'suspended', leaving: 'leaving' }[t.mode as 'hold'],
    t.canary_percent > 0 && `${t.canary_percent} % on the new release`,
    t.schema && t.schema !== t.serving && `database at ${t.schema}`,
  ].filter(Boolean);
  return (
    <span className={classes.tenant}>
      <Sign tone={held ? 'wait' : t.canary_percent > 0 ? 'busy' : t.serving ? 'good' : 'none'} size={15} />
      <span>
        {t.name}
        {says.length > 0 && <small>{says.join(', ')}</small>}
      </span>
    </span>
  );
}

/** A promotion on its way into an environment: the step that it is at, and what it waits for. */
function UnderWay({ of: p }: { of: Schemas['Promotion'] }) {
  const rollouts = p.rollouts ?? [];
  const first = rollouts.find((r) => r.state !== 'done') ?? rollouts[0];
  const done = rollouts.filter((r) => r.state === 'done').length;
  const step = first?.steps?.at(-1);
  return (
    <Link href={`/promotions/${p.id}`} className={classes.under}>
      <span className={classes.underHead}>
        <strong>{title(p)}</strong>
        <State said={standing(p)} />
      </span>
      {first && <Course of={first} kind={p.kind} />}
      {rollouts.length > 1 && (
        <span className={classes.soft}>
          {done} of {count(rollouts.length, 'tenant')} done
        </span>
      )}
      {first && step && (
        <span className={classes.now}>
          <strong>
            {step.undo ? 'undo ' : ''}
            {step.name}
          </strong>{' '}
          {first.waits_for || step.detail || rolloutStanding(first).text}
        </span>
      )}
    </Link>
  );
}
