import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import { fold, took } from './fold';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const step = (
  name: string,
  outcome: Schemas['Step']['outcome'],
  from: number,
  to?: number,
  undo = false,
): Schemas['Step'] => ({
  name,
  outcome,
  detail: '',
  undo,
  started: at(from),
  finished: to === undefined ? undefined : at(to),
});

const procedure = ['admit', 'gates', 'update', 'shift', 'record'];

test('tries of one step are one, and what is ahead follows', () => {
  const folded = fold(
    {
      state: 'running',
      steps: [step('admit', 'done', 0, 1), step('gates', 'waits', 1, 2), step('gates', 'running', 5)],
    },
    procedure,
  );
  expect(folded.map((f) => [f.name, f.tries.length])).toEqual([
    ['admit', 1],
    ['gates', 2],
    ['update', 0],
    ['shift', 0],
    ['record', 0],
  ]);
  expect(took(folded[0]!)).toBe(1);
  expect(took(folded[1]!)).toBeUndefined();
});

test('what goes back has nothing ahead, and each undone step stands beside the step', () => {
  const steps = [step('admit', 'done', 0, 1), step('update', 'failed', 1, 2), step('update', 'done', 2, 3, true)];
  const folded = fold({ state: 'undoing', steps }, procedure);
  expect(folded.map((f) => [f.name, f.undo])).toEqual([
    ['admit', false],
    ['update', false],
    ['update', true],
  ]);
});

test('a rollout that has ended has nothing ahead', () => {
  expect(fold({ state: 'done', steps: [step('admit', 'failed', 0, 1)] }, procedure)).toHaveLength(1);
});
