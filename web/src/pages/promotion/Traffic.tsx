import type { Schemas } from '../../api/client';
import { Chart } from '../../ui/Chart';
import { Sheet, Table } from '../../ui/Page';
import { State } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import { verdictStanding } from '../../ui/words';
import { Interval } from './Interval';
import classes from './Traffic.module.css';

/** How traffic moved: each weight with its verdict, and the evidence that it stands on. */
export function Traffic({ of }: { of: Schemas['Rollout'] }) {
  const verdicts = of.verdicts ?? [];
  if (verdicts.length === 0) return null;
  return (
    <Sheet title="Traffic and verdicts" id="traffic">
      <ol className={classes.verdicts}>
        {verdicts.map((v) => (
          <Verdict key={v.stage} of={v} open={v === verdicts.at(-1) || v.outcome === 'FAIL'} />
        ))}
      </ol>
    </Sheet>
  );
}

function Verdict({ of: v, open }: { of: Schemas['Verdict']; open: boolean }) {
  const signals = v.signals ?? [];
  return (
    <li className={classes.verdict}>
      <div className={classes.head}>
        <Weight of={v.weight} />
        <div className={classes.says}>
          <strong>{v.stage === 'bake' ? 'bake' : `${v.weight} % on the new release`}</strong>{' '}
          <State said={verdictStanding(v.outcome)} />
          <p>{v.says}</p>
          <p className={classes.soft}>
            <When at={v.at} only="absolute" /> after {length((Date.parse(v.at) - Date.parse(v.since)) / 1000)} · new{' '}
            {share(v.requests.canary)} · old {share(v.requests.stable)}
            {v.calls > 0 && ` · ${v.calls.toLocaleString('en')} calls of the business`}
          </p>
        </div>
      </div>
      {signals.length > 0 && (
        <details open={open} className={classes.evidence}>
          <summary>Evidence: {signals.length === 1 ? '1 signal' : `${signals.length} signals`}</summary>
          <Table label={`Signals of ${v.stage}`} head={['Signal', 'Verdict', 'New against old', 'New', 'Old']}>
            {signals.map((s) => (
              <tr key={s.signal}>
                <td>
                  <code>{s.signal}</code>
                  <br />
                  <small className={classes.soft}>{s.role}</small>
                </td>
                <td>
                  <State said={verdictStanding(s.outcome)} />
                </td>
                <td>
                  <Interval of={s} />
                  <p className={classes.soft}>{s.problem || s.says}</p>
                </td>
                <td>{counted(s, s.canary)}</td>
                <td>{counted(s, s.stable)}</td>
              </tr>
            ))}
          </Table>
          {signals.map((s) => s.chart && <SignalChart key={s.signal} name={s.signal} of={s.chart} />)}
        </details>
      )}
    </li>
  );
}

/** "3 of 1,204 failed" */
function share(c: Schemas['Counts']): string {
  return `${c.failed.toLocaleString('en')} of ${c.requests.toLocaleString('en')} failed`;
}

/** What a signal has counted: calls that failed or, for one that measures time, were slow; or how often something was seen. */
function counted(s: Schemas['SignalVerdict'], c: Schemas['Counts']): string {
  if (s.signal.endsWith('.seconds'))
    return `${c.failed.toLocaleString('en')} of ${c.requests.toLocaleString('en')} slow`;
  return s.unit === 'difference of shares' ? share(c) : `${c.requests.toLocaleString('en')} seen`;
}

function Weight({ of }: { of: number }) {
  return (
    <svg viewBox="0 0 36 36" width="46" height="46" aria-hidden="true" className={classes.weight}>
      <circle cx="18" cy="18" r="15" pathLength="100" />
      <circle cx="18" cy="18" r="15" pathLength="100" strokeDasharray={`${of} 100`} transform="rotate(-90 18 18)" />
      <text x="18" y="18" dy="0.35em" textAnchor="middle">
        {of}
      </text>
    </svg>
  );
}

function SignalChart({ name, of: c }: { name: string; of: Schemas['Chart'] }) {
  const slices = Math.max(c.canary?.length ?? 0, c.stable?.length ?? 0);
  const says = c.unit === 'seconds' ? length : (v: number) => `${Number((v * 100).toPrecision(3))} %`;
  return (
    <Chart
      title={c.unit === 'seconds' ? `${name}: mean duration` : `${name}: share`}
      at={Array.from({ length: slices }, (_, i) => i * c.slice)}
      when={(t) => `+${length(t)}`}
      says={says}
      series={[
        { name: 'new release', tone: 'canary', values: (c.canary ?? []).map((v) => v ?? null) },
        { name: 'old release', tone: 'stable', values: (c.stable ?? []).map((v) => v ?? null) },
      ]}
    />
  );
}
