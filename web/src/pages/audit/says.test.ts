import { expect, test } from 'vitest';
import { asked } from './asked';
import { says } from './says';

test.each([
  [{ outcome: 'done', step: 'shift', detail: 'all traffic', seconds: 3 }, 'shift: done: all traffic'],
  [{ secrets: ['database', 'bridge'], for: 'pool-1' }, 'database, bridge: pool-1'],
  [{ reason: '' }, ''],
  [{}, ''],
  ['altered text', 'altered text'],
  [null, ''],
])('%j says %s', (payload, line) => {
  expect(says(payload)).toBe(line);
});

const none = { actor: '', kind: '', environment: '', tenant: '', promotion: '', text: '', from: '', to: '' };

test('days are those of the reader, the last one whole, also where the clocks change', () => {
  expect(asked({ ...none, from: '2026-03-29', to: '2026-03-29' }, 'Europe/Berlin')).toEqual({
    from: '2026-03-28T23:00:00.000Z',
    to: '2026-03-29T22:00:00.000Z',
  });
});

test('what is not given is not asked for, and what is no day is nothing', () => {
  expect(asked(none, 'UTC')).toEqual({});
  expect(asked({ ...none, actor: 'anna', kind: 'approval.', from: 'x' }, 'UTC')).toEqual({
    actor: 'anna',
    kind: 'approval.',
  });
});
