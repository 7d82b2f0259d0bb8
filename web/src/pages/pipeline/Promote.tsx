import { Button, Checkbox, Modal, NativeSelect } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useLocation } from 'wouter';
import { api, ask, type Schemas } from '../../api/client';
import { impact, releases, status } from '../../api/queries';
import { useMay } from '../../shell/session';
import { Empty, Failure, Loaded } from '../../ui/Empty';
import { useFocusBack } from '../../ui/focus';
import { Table } from '../../ui/Page';
import { Note, State } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import { classes as classMeaning, count } from '../../ui/words';
import classes from './Promote.module.css';

/** Asks for a promotion, after it has said what that would do and what it would wait for. */
export default function Promote({
  release: givenRelease = '',
  environment: givenEnvironment = '',
  close,
}: {
  release?: string;
  environment?: string;
  close: () => void;
}) {
  const [release, chooseRelease] = useState(givenRelease);
  const [environment, chooseEnvironment] = useState(givenEnvironment);
  const [force, forceIt] = useState(false);
  useFocusBack();
  const may = useMay();
  const [, go] = useLocation();
  const cache = useQueryClient();
  const known = useQuery(releases());
  const now = useQuery(status());
  const ready = release !== '' && environment !== '';
  const preview = useQuery({ ...impact(release, environment), enabled: ready });
  const forced = force && preview.data?.forceable === true; // a tick that was set for another release counts for nothing
  const promote = useMutation({
    mutationFn: () => ask(api.POST('/api/v1/promotions', { body: { release, environment, force: forced } })),
    onSuccess: (asked) => {
      void cache.invalidateQueries({ queryKey: ['promotions'] });
      if (asked.promotion) go(`/promotions/${asked.promotion}`);
    },
  });
  const names = new Map<string, number>();
  for (const r of known.data ?? []) names.set(r.name, (names.get(r.name) ?? 0) + 1);
  const name = known.data?.find((r) => r.digest === release)?.name ?? 'it';
  const waitsForGit = promote.data && !promote.data.promotion;
  return (
    <Modal opened onClose={close} size="62rem" title={<span className={classes.title}>Promote a release</span>}>
      {known.data?.length === 0 ? (
        <Empty title="There is no release yet" command="waybill build ./addons --name r1">
          A release is one image, built from a commit of your addons. Once it is built, it can be promoted into the
          first environment.
        </Empty>
      ) : (
        <form
          className={classes.form}
          onSubmit={(e) => {
            e.preventDefault();
            promote.mutate();
          }}
        >
          <div className={classes.choose}>
            <NativeSelect
              label="Release"
              value={release}
              onChange={(e) => chooseRelease(e.currentTarget.value)}
              data={[
                { value: '', label: 'choose', disabled: true },
                ...(known.data ?? []).map((r) => ({
                  value: r.digest ?? '',
                  label: (names.get(r.name) ?? 0) > 1 ? `${r.name} (${(r.digest ?? '').slice(7, 19)})` : r.name,
                })),
              ]}
            />
            <NativeSelect
              label="into"
              value={environment}
              onChange={(e) => chooseEnvironment(e.currentTarget.value)}
              data={[
                { value: '', label: 'choose', disabled: true },
                ...(now.data?.environments ?? []).map((e) => e.name).filter((e) => may('promotion.start', e)),
              ]}
            />
          </div>
          {ready ? (
            <Loaded query={preview} what="Finding out what it would do to each tenant">
              {(a) => <Preview of={a} />}
            </Loaded>
          ) : (
            <p className={classes.hint}>Choose both, and this page says what would happen before anything does.</p>
          )}
          {preview.data?.forceable && may('promotion.force', environment) && (
            <Checkbox
              size="md"
              checked={force}
              onChange={(e) => forceIt(e.currentTarget.checked)}
              label="Promote although the environment before has not had it (the ledger keeps it)"
            />
          )}
          {promote.error && <Failure cause={promote.error} />}
          {waitsForGit && (
            <Note tone="good">
              It was written into the estate{promote.data.branch && <> on branch {promote.data.branch}</>}. The
              promotion begins once that commit is in force.
            </Note>
          )}
          <div className={classes.end}>
            <Button variant="default" onClick={close}>
              {waitsForGit ? 'Close' : 'Cancel'}
            </Button>
            {!waitsForGit && (
              <Button type="submit" disabled={!ready} loading={promote.isPending}>
                {ready ? `Promote ${name} into ${environment}` : 'Promote'}
              </Button>
            )}
          </div>
        </form>
      )}
    </Modal>
  );
}

function Preview({ of: a }: { of: Schemas['ImpactAssessment'] }) {
  const tenants = a.tenants ?? [];
  const found = [...new Set(tenants.map((t) => t.class).filter(Boolean))] as string[];
  return (
    <div className={classes.preview} aria-live="polite">
      {a.refusals?.map((r) => (
        <Note key={r} tone="bad">
          <strong>It would not be let in:</strong> {r}
        </Note>
      ))}
      {found.map((c) => (
        <Note key={c} tone={c === 'breaking' ? 'wait' : 'busy'}>
          <strong>{c}</strong> for {count(tenants.filter((t) => t.class === c).length, 'tenant')}: {classMeaning[c]}
        </Note>
      ))}
      <Gates of={a} />
      <Table
        label="What it would do to each tenant"
        head={['Tenant', 'Runs', 'Class', 'People wait', 'Restore takes', 'Window', 'In its way']}
      >
        {tenants.map((t) => (
          <tr key={t.name}>
            <td>
              {t.name}
              {t.ring && <small> · ring {t.ring}</small>}
            </td>
            <td>{t.serving || '–'}</td>
            <td title={t.why}>
              {t.class || '–'}
              {t.source && <small> ({t.source})</small>}
            </td>
            <td>
              <Estimate of={t.pause} />
            </td>
            <td>
              <Estimate of={t.recovery} />
            </td>
            <td>
              <WindowText of={t.window} />
            </td>
            <td>
              {t.unknown && <p className={classes.conflict}>not known: {t.unknown}</p>}
              {t.conflicts?.map((c) => (
                <p key={c.says} className={classes.conflict}>
                  {c.stops && <State said={{ tone: 'bad', text: 'stops it' }} />} {c.says}
                </p>
              ))}
              {!t.unknown && !t.conflicts?.length && 'nothing'}
            </td>
          </tr>
        ))}
      </Table>
    </div>
  );
}

/** What it would wait for before anything is touched. */
function Gates({ of: a }: { of: Schemas['ImpactAssessment'] }) {
  const tenants = a.tenants ?? [];
  const approvals = [...new Set(tenants.flatMap((t) => t.approvals ?? []))];
  const policies = [...new Set(tenants.flatMap((t) => t.policies ?? []))];
  const closed = tenants.filter((t) => !t.window.open);
  return (
    <dl className={classes.gates}>
      <div>
        <dt>Approvals</dt>
        <dd>{approvals.length ? approvals.join('; ') : 'nobody is asked'}</dd>
      </div>
      <div>
        <dt>Policies</dt>
        <dd>{policies.length ? policies.join(', ') : 'none is about it'}</dd>
      </div>
      <div>
        <dt>Window</dt>
        <dd>{closed.length ? `closed now for ${count(closed.length, 'tenant')}` : 'open'}</dd>
      </div>
    </dl>
  );
}

export function Estimate({ of }: { of: Schemas['ImpactEstimate'] }) {
  if (of.seconds === undefined) return <span title={of.from}>not known</span>;
  return (
    <span title={of.from}>
      {of.at_least && 'at least '}
      {length(of.seconds)}
    </span>
  );
}

function WindowText({ of }: { of: Schemas['ImpactWindow'] }) {
  if (of.open) {
    return of.until ? (
      <>
        open until <When at={of.until} only="absolute" />
      </>
    ) : (
      'open'
    );
  }
  return of.next ? (
    <>
      opens <When at={of.next} />
    </>
  ) : (
    <>closed{of.why && `: ${of.why}`}</>
  );
}
