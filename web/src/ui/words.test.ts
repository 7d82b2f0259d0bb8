import { expect, test } from 'vitest';
import type { Schemas } from '../api/client';
import { standing } from './words';

const p = (outcome: string, ...rollouts: Partial<Schemas['Rollout']>[]) => ({
  outcome,
  rollouts: rollouts as Schemas['Rollout'][],
});

test.each([
  [p('promoted'), 'promoted'],
  [p('rolled_back'), 'rolled back'],
  [p('halted'), 'halted'],
  [p('waiting', { state: 'waiting' }), 'waiting for a person'],
  [p('', { state: 'running' }), 'under way'],
  [p('', { state: 'running', waits_for: 'a window' }), 'waits'],
  [p('', { state: 'running', waits_for: 'its turn' }, { state: 'running' }), 'under way'],
  [p('', { state: 'undoing' }, { state: 'running', waits_for: 'its turn' }), 'going back'],
])('a promotion %j stands as %s', (promotion, said) => {
  expect(standing(promotion).text).toBe(said);
});
