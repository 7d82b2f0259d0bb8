import type { Schemas } from '../../api/client';

/** One step of a rollout with all its tries, or one that is still ahead. */
export interface Folded {
  name: string;
  undo: boolean;
  tries: Schemas['Step'][];
}

/** Puts the tries of each step together, in the order in which they began, and the steps that are ahead after them. While
 * a rollout goes back, or once it has ended, nothing is ahead. */
export function fold(rollout: Pick<Schemas['Rollout'], 'steps' | 'state'>, procedure: string[]): Folded[] {
  const folded: Folded[] = [];
  for (const step of rollout.steps ?? []) {
    const last = folded.find((f) => f.name === step.name && f.undo === Boolean(step.undo));
    if (last) last.tries.push(step);
    else folded.push({ name: step.name, undo: Boolean(step.undo), tries: [step] });
  }
  if (rollout.state === 'done' || rollout.state === 'undoing' || folded.some((f) => f.undo)) return folded;
  const reached = Math.max(-1, ...folded.map((f) => procedure.indexOf(f.name)));
  return [...folded, ...procedure.slice(reached + 1).map((name) => ({ name, undo: false, tries: [] }))];
}

/** Seconds between the beginning of the first try and the end of the last; undefined while it goes on. */
export function took(step: Folded): number | undefined {
  const end = step.tries.at(-1)?.finished;
  const begin = step.tries[0]?.started;
  return end && begin ? (Date.parse(end) - Date.parse(begin)) / 1000 : undefined;
}
