import type { Schemas } from '../../api/client';
import { Sheet } from '../../ui/Page';
import { Sign, State } from '../../ui/State';
import { absolute, length } from '../../ui/time';
import { useNow, When } from '../../ui/When';
import { steps as explained, stepStanding } from '../../ui/words';
import { type Folded, fold, took } from './fold';
import classes from './Timeline.module.css';

/** The steps of a tenant's part: what was done, what goes on, and what is ahead. */
export function Timeline({ of, procedure }: { of: Schemas['Rollout']; procedure: string[] }) {
  return (
    <Sheet title={`Steps of ${of.tenant}`} id="steps">
      <ol className={classes.steps}>
        {fold(of, procedure).map((step) => (
          <Step key={`${step.undo}${step.name}`} of={step} waitsFor={of.waits_for} />
        ))}
      </ol>
    </Sheet>
  );
}

function Step({ of, waitsFor }: { of: Folded; waitsFor?: string }) {
  const last = of.tries.at(-1);
  const now = useNow();
  if (!last) {
    return (
      <li className={classes.ahead}>
        <Sign tone="none" />
        <div>
          <span className={classes.name}>{of.name}</span> <span className={classes.soft}>{explained[of.name]}</span>
        </div>
      </li>
    );
  }
  const said = stepStanding(last);
  const current = last.outcome === 'running' || last.outcome === 'waits';
  const seconds = took(of);
  const detail = current && waitsFor ? waitsFor : last.detail;
  return (
    <li className={classes.step} data-now={current || undefined} aria-current={current ? 'step' : undefined}>
      <Sign tone={said.tone} />
      <div className={classes.body}>
        <div className={classes.head}>
          <span className={classes.name}>
            {of.undo && 'undo '}
            {of.name}
          </span>
          {last.outcome !== 'done' && <State said={said} />}
          <span className={classes.when}>
            <When at={last.started} only="absolute" />
            {seconds !== undefined && seconds >= 0.1 && ` · ${length(seconds)}`}
            {current &&
              ` · since ${length(Math.max(0, (now.getTime() - Date.parse(of.tries[0]?.started ?? last.started)) / 1000))}`}
          </span>
        </div>
        {detail && <p className={classes.detail}>{detail}</p>}
        {current && explained[of.name] && <p className={classes.soft}>{explained[of.name]}</p>}
        {of.tries.length > 1 && (
          <details className={classes.tries}>
            <summary>{of.tries.length} tries</summary>
            <ol>
              {of.tries.map((t) => (
                <li key={t.started}>
                  {absolute(new Date(t.started))} {stepStanding(t).text}
                  {t.detail && `: ${t.detail}`}
                </li>
              ))}
            </ol>
          </details>
        )}
      </div>
    </li>
  );
}
