import { expect, test } from 'vitest';
import { absolute, exact, length, relative } from './time';

const now = new Date('2026-03-29T12:00:00Z');

test.each([
  ['2026-03-29T11:59:58Z', 'just now'],
  ['2026-03-29T11:57:00Z', '3 minutes ago'],
  ['2026-03-29T14:30:00Z', 'in 2 hours'],
  ['2026-03-29T12:00:20Z', 'in 20 seconds'],
  ['2026-03-26T11:00:00Z', '3 days ago'],
])('relative %s', (at, said) => {
  expect(relative(new Date(at), now)).toBe(said);
});

test('a moment is said with its zone, and with the day where that is another one', () => {
  expect(absolute(new Date('2026-03-29T11:05:00Z'), now, 'UTC')).toBe('11:05 UTC');
  expect(absolute(new Date('2026-03-28T11:05:00Z'), now, 'UTC')).toBe('28 Mar, 11:05 UTC');
  expect(absolute(new Date('2025-03-28T11:05:00Z'), now, 'UTC')).toBe('28 Mar 2025, 11:05 UTC');
});

test('the zone is that of the moment: clocks change in the night to 29 March', () => {
  expect(exact(new Date('2026-03-29T00:59:00Z'), 'Europe/Berlin')).toContain('01:59:00 GMT+01:00');
  expect(exact(new Date('2026-03-29T01:01:00Z'), 'Europe/Berlin')).toContain('03:01:00 GMT+02:00');
});

test.each([
  [0, '0 s'],
  [0.34, '0.3 s'],
  [4.25, '4.3 s'],
  [59.6, '60 s'],
  [125, '2 min 5 s'],
  [3_600, '1 h'],
  [5_400, '1 h 30 min'],
  [90_000, '1 d 1 h'],
])('length of %d seconds', (seconds, said) => {
  expect(length(seconds)).toBe(said);
});
