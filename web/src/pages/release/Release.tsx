import { Button, NativeSelect } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import type { Schemas } from '../../api/client';
import { promotions, rehearsal, rehearsals, release, releases, status } from '../../api/queries';
import { useMayAnywhere } from '../../shell/session';
import { Digest } from '../../ui/Digest';
import { Empty, Loaded } from '../../ui/Empty';
import { IconDownload } from '../../ui/icons';
import { Facts, Page, Sheet, Table } from '../../ui/Page';
import { State } from '../../ui/State';
import { When } from '../../ui/When';
import { count } from '../../ui/words';
import { Lately } from '../promotion/Lately';
import { difference } from './difference';
import { Evidence } from './Evidence';
import classes from './Release.module.css';

const Promote = lazy(() => import('../pipeline/Promote'));

/** What a release is, what it changes, and what speaks for it. */
export default function Release({ params }: { params: { id?: string } }) {
  const id = decodeURIComponent(params.id ?? '');
  const found = useQuery(release(id));
  if (!found.data) {
    return (
      <Page title="Release">
        <Loaded query={found} what="Reading the release">
          {() => null}
        </Loaded>
      </Page>
    );
  }
  return <Known of={found.data} />;
}

function Known({ of: r }: { of: Schemas['Release'] }) {
  const [asked, ask] = useState(false);
  const digest = r.digest ?? '';
  const mayPromote = useMayAnywhere('promotion.start');
  const lately = useQuery(promotions('', 200));
  return (
    <Page
      title={r.name}
      lead={
        <>
          Release <Digest of={digest} /> · Odoo {r.series} · of <When at={r.created} />
        </>
      }
      actions={
        <>
          <Button
            component="a"
            variant="default"
            leftSection={<IconDownload />}
            href={`/api/v1/releases/${encodeURIComponent(digest)}/sbom`}
            download={`${r.name}.cdx.json`}
          >
            Bill of materials
          </Button>
          {mayPromote && <Button onClick={() => ask(true)}>Promote {r.name}</Button>}
        </>
      }
    >
      <Sheet>
        <Facts
          of={[
            ['Source', r.source],
            ['Commit', <code key="commit">{r.commit.slice(0, 12)}</code>],
            ['Work tree', r.dirty ? 'with uncommitted changes' : 'as committed'],
            ['Built by', r.waybill && `Waybill ${r.waybill}`],
            ['Base', r.base.reference],
            ['Odoo', r.base.version],
            ['Python', r.base.python],
            ['Modules of the base', r.base.modules?.length],
          ]}
        />
      </Sheet>
      <div className={classes.columns}>
        <div>
          <Changes of={r} />
          <Effect of={r} />
          <Modules of={r} />
          <Sheet title="Promotions" id="promotions">
            <Loaded query={lately} what="Reading promotions">
              {(list) => {
                const own = list.filter((p) => p.release === digest);
                return own.length ? (
                  <Lately of={own} />
                ) : (
                  <Empty title="It has not been promoted yet" command={`waybill promote ${r.name} ENVIRONMENT`} />
                );
              }}
            </Loaded>
          </Sheet>
        </div>
        <div>
          <Evidence of={r} />
        </div>
      </div>
      {asked && (
        <Suspense>
          <Promote release={digest} close={() => ask(false)} />
        </Suspense>
      )}
    </Page>
  );
}

/** What changes against another release: the one that serves, unless another one is chosen. */
function Changes({ of: r }: { of: Schemas['Release'] }) {
  const list = useQuery(releases());
  const now = useQuery(status());
  const [chosen, choose] = useState('');
  const serving = (now.data?.environments ?? [])
    .slice()
    .reverse()
    .flatMap((e) => e.tenants ?? [])
    .find((t) => t.serving_digest && t.serving_digest !== r.digest)?.serving_digest;
  const others = (list.data ?? []).filter((x) => x.digest !== r.digest);
  const against = others.find((x) => x.digest === (chosen || serving)) ?? others[0];
  const tones = { added: 'good', changed: 'busy', removed: 'bad' } as const;
  return (
    <Sheet
      title="What changes"
      id="changes"
      aside={
        others.length > 0 && (
          <NativeSelect
            aria-label="Against which release"
            size="sm"
            value={against?.digest}
            onChange={(e) => choose(e.currentTarget.value)}
            data={others.map((x) => ({
              value: x.digest ?? '',
              label: `against ${x.name} (${(x.digest ?? '').slice(7, 15)})`,
            }))}
          />
        )
      }
    >
      {against ? (
        (() => {
          const changed = difference(against, r);
          return changed.length === 0 ? (
            <p>Its modules are those of {against.name}.</p>
          ) : (
            <ul className={classes.changes}>
              {changed.map((c) => (
                <li key={c.name}>
                  <State said={{ tone: tones[c.change], text: c.change }} /> <code>{c.name}</code>{' '}
                  <span className={classes.soft}>{[c.from, c.to].filter(Boolean).join(' → ')}</span>
                </li>
              ))}
            </ul>
          );
        })()
      ) : (
        <p className={classes.soft}>There is no other release to compare it with.</p>
      )}
    </Sheet>
  );
}

/** What the newest rehearsal saw of it in a database. */
function Effect({ of: r }: { of: Schemas['Release'] }) {
  const list = useQuery(rehearsals('', ''));
  const newest = list.data?.find((x) => x.release === r.digest && x.outcome === 'proven');
  const found = useQuery({ ...rehearsal(newest?.id ?? ''), enabled: Boolean(newest) });
  const report = found.data?.report;
  return (
    <Sheet
      title="Effect on the database"
      id="effect"
      aside={report && <State said={{ tone: 'none', text: `class ${report.class}` }} />}
    >
      {!newest && !list.isPending && (
        <Empty title="No rehearsal has shown it yet" command={`waybill rehearse ${r.name} ENVIRONMENT`}>
          A rehearsal runs the update on a copy of the real data and says what changed: tables, columns, views, rows.
        </Empty>
      )}
      {report && (
        <>
          <p className={classes.soft}>
            Seen on the data of {report.environment}/{report.tenant}, <When at={report.finished} />: {report.cause}
          </p>
          <EffectRows of={report.effect} />
        </>
      )}
    </Sheet>
  );
}

function EffectRows({ of: e }: { of?: Schemas['Effect'] }) {
  if (!e) return null;
  const changes = [
    ...(e.schema ?? []),
    ...(e.views ?? []),
    ...(e.crons ?? []),
    ...(e.parameters ?? []),
    ...(e.modules ?? []),
  ];
  const tables = (e.tables ?? []).filter((t) => t.changed || t.inserted + t.updated + t.deleted > 0);
  if (changes.length + tables.length === 0) return <p>Nothing in the database changes.</p>;
  return (
    <>
      {changes.length > 0 && (
        <Table label="What differs" head={['What', 'Name', 'Before', 'After']}>
          {changes.slice(0, 60).map((c) => (
            <tr key={`${c.kind}${c.name}`}>
              <td>{c.kind}</td>
              <td>
                <code>{c.name}</code>
              </td>
              <td>{c.before || 'was not there'}</td>
              <td>{c.after || 'is gone'}</td>
            </tr>
          ))}
        </Table>
      )}
      {changes.length > 60 && (
        <p className={classes.soft}>and {changes.length - 60} more; the rehearsal’s report has all</p>
      )}
      {tables.length > 0 && (
        <Table label="Rows that were written" head={['Table', 'Inserted', 'Updated', 'Deleted']}>
          {tables.slice(0, 30).map((t) => (
            <tr key={t.table}>
              <td>
                <code>{t.table}</code>
              </td>
              <td>{t.inserted.toLocaleString('en')}</td>
              <td>{t.updated.toLocaleString('en')}</td>
              <td>{t.deleted.toLocaleString('en')}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function Modules({ of: r }: { of: Schemas['Release'] }) {
  const modules = r.modules ?? [];
  return (
    <Sheet title={count(modules.length, 'module of its own', 'modules of its own')} id="modules">
      <Table label="Modules" head={['Module', 'Version', 'Depends on']}>
        {modules.map((m) => (
          <tr key={m.name}>
            <td>
              <code>{m.name}</code>
            </td>
            <td>{m.version}</td>
            <td className={classes.soft}>{m.depends?.join(', ')}</td>
          </tr>
        ))}
      </Table>
    </Sheet>
  );
}
