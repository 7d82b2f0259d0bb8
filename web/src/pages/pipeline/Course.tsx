import type { Schemas } from '../../api/client';
import { steps as known, stepStanding } from '../../ui/words';
import classes from './Course.module.css';

/** How far a rollout is, as a row of marks: one for each step of its procedure. */
export function Course({ of, kind }: { of: Schemas['Rollout']; kind: string }) {
  const names = kind === 'promote' ? Object.keys(known) : [...new Set((of.steps ?? []).map((s) => s.name))];
  const last = new Map((of.steps ?? []).map((s) => [s.name, s]));
  const done = names.filter((n) => ['done', 'skipped'].includes(last.get(n)?.outcome ?? '')).length;
  return (
    <span className={classes.course} role="img" aria-label={`${done} of ${names.length} steps behind it`}>
      {names.map((name) => {
        const step = last.get(name);
        return (
          <span
            key={name}
            className={classes.mark}
            data-tone={step ? stepStanding(step).tone : undefined}
            data-now={step?.outcome === 'running' || step?.outcome === 'waits' || undefined}
          />
        );
      })}
    </span>
  );
}
