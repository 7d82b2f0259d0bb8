import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import { basis, change, sentences, shown } from './figures';
import { before, daysOf, quarterOf, queryFor } from './period';

const filter = { period: '', from: '', to: '', environment: '', tenant: '', by: '', bucket: '' };

test.each([
  ['', { from: '2026-08-25', to: '2026-11-22' }],
  ['30', { from: '2026-10-24', to: '2026-11-22' }],
  ['365', { from: '2025-11-23', to: '2026-11-22' }],
  ['quarter', { from: '2026-10-01', to: '2026-11-22' }],
  ['before', { from: '2026-07-01', to: '2026-09-30' }],
  ['own', { from: '2026-08-25', to: '2026-11-22' }], // without days it is the usual one
  ['nonsense', { from: '2026-08-25', to: '2026-11-22' }],
])('period %s', (period, days) => {
  expect(daysOf(period, '', '', '2026-11-22')).toEqual(days);
});

test('days of one’s choice, and the period before', () => {
  expect(daysOf('own', '2026-03-01', '2026-03-31', '2026-11-22')).toEqual({ from: '2026-03-01', to: '2026-03-31' });
  expect(daysOf('own', '2026-03-31', '2026-03-01', '2026-11-22').to).toBe('2026-11-22');
  expect(before({ from: '2026-03-01', to: '2026-03-31' })).toEqual({ from: '2026-01-29', to: '2026-02-28' });
  expect(before({ from: '2026-03-29', to: '2026-03-29' })).toEqual({ from: '2026-03-28', to: '2026-03-28' });
  expect(['2026-01-31', '2026-03-31', '2026-04-01', '2026-12-31'].map(quarterOf)).toEqual([
    '2026-01-01',
    '2026-01-01',
    '2026-04-01',
    '2026-10-01',
  ]);
});

test('today is that of the zone, and a long period is cut in months', () => {
  const late = new Date('2026-11-22T23:30:00Z');
  expect(queryFor(filter, 'Europe/Berlin', late).query).toMatchObject({
    to: '2026-11-23',
    by: 'environment',
    bucket: 'week',
  });
  expect(queryFor(filter, 'America/New_York', late).query.to).toBe('2026-11-22');
  expect(queryFor({ ...filter, period: '365' }, 'UTC', late).query.bucket).toBe('month');
  expect(queryFor({ ...filter, period: '365', bucket: 'week', by: 'x' }, 'UTC', late).query).toMatchObject({
    bucket: 'week',
    by: 'environment',
  });
});

const figure = (key: string, value: number | null, n: number, more: Partial<Schemas['ReportFigure']> = {}) => ({
  key,
  value,
  n,
  ...more,
});

test('values', () => {
  expect(shown(0.914, 'share')).toBe('91\u00a0%');
  expect(shown(7_384, 'seconds')).toBe('2 h 3 min');
  expect(shown(1.53, 'per week')).toBe('1.5');
  expect(shown(3, 'count')).toBe('3');
  expect(shown(1.126, 'ratio')).toBe('1.13');
  expect(shown(null, 'share')).toBe('–');
  expect(basis(figure('x', 0.9, 10, { counts: '9 of 10', low: 0.596, high: 0.982 }), 'share')).toBe(
    '9 of 10 · with 95\u00a0% between 60\u00a0% and 98\u00a0%',
  );
  expect(basis(figure('x', null, 0, { note: 'nothing to count in this period' }), 'seconds')).toBe(
    'nothing to count in this period',
  );
});

test('a change is better or worse by what is good, and is not said of few', () => {
  const rate = { unit: 'share', better: 'higher' } as const;
  const time = { unit: 'seconds', better: 'lower' } as const;
  expect(change(figure('x', 0.9, 10), figure('x', 0.8, 10), rate)).toEqual({ text: '↑ was 80\u00a0%', way: 'better' });
  expect(change(figure('x', 60, 10), figure('x', 30, 10), time)).toEqual({ text: '↑ was 30 s', way: 'worse' });
  expect(change(figure('x', 0.901, 10), figure('x', 0.9, 10), rate)).toEqual({ text: 'as before', way: 'same' });
  expect(change(figure('x', 2, 10), figure('x', 1, 10), { unit: 'ratio', better: 'neither' })?.way).toBe('neither');
  expect(change(figure('x', 0.9, 10), figure('x', 0.8, 3, { few: true }), rate)).toBeUndefined();
  expect(change(figure('x', null, 0), figure('x', 0.8, 10), rate)).toBeUndefined();
  expect(change(figure('x', 1, 9), undefined, rate)).toBeUndefined();
});

test('what the figures say', () => {
  expect(sentences([figure('release_success_rate', null, 0), figure('refused', 0, 0)])).toEqual([
    'No release was promoted in this time.',
  ]);
  const said = sentences([
    figure('release_success_rate', 0.9, 10, { counts: '9 of 10' }),
    figure('change_failure_rate', 0, 9, { counts: '0 of 9' }),
    figure('lead_time', 7_200, 9),
    figure('refused', 1, 1),
  ]);
  expect(sentences([figure('drifted_objects', 1, 1)])[1]).toBe('One object of a cluster was changed by somebody else.');
  expect(sentences([figure('drifted_objects', 3, 3), figure('drift_lasted', 90, 3)])[1]).toBe(
    '3 objects of a cluster were changed by somebody else, and as Waybill had applied them again after 1 min 30 s.',
  );
  expect(said).toEqual([
    '9 of 10 releases that were let in ended with every tenant on them (90\u00a0%).',
    'None of the 9 that people had had to go back.',
    'From commit to everybody, a release took 2 h.',
    '1 was refused at the door, before anything was touched.',
  ]);
});
