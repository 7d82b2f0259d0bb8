import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import { type Block, columns, concerns, grounds, type Item, inLanes, itemsOf } from './week';

const berlin = 'Europe/Berlin';
const item = (start: string, end?: string, kind: Item['kind'] = 'window'): Item => ({
  key: start,
  kind,
  title: kind,
  start: new Date(start),
  end: end ? new Date(end) : undefined,
});
const shown = (items: Item[], monday: string, zone = berlin) =>
  columns(items, monday, zone).flatMap((c) => [
    ...c.whole.map((i) => `${c.day} whole ${i.kind}`),
    ...c.blocks.map((b) => `${c.day} ${b.from}-${b.to}${b.before ? ' <' : ''}${b.after ? ' >' : ''}`),
  ]);

test('a window over midnight stands on both days, by the clock of the zone', () => {
  const night = item('2026-11-07T20:00:00Z', '2026-11-08T03:00:00Z');
  expect(shown([night], '2026-11-02')).toEqual(['2026-11-07 1260-1440 >', '2026-11-08 0-240 <']);
  expect(shown([night], '2026-11-02', 'America/New_York')).toEqual(['2026-11-07 900-1320']);
});

test('what covers a day stands above it; what has no end covers all that follow', () => {
  expect(shown([item('2026-11-03T23:00:00Z', '2026-11-04T23:00:00Z', 'freeze')], '2026-11-02')).toEqual([
    '2026-11-04 whole freeze',
  ]);
  expect(shown([item('2026-11-07T11:00:00Z', undefined, 'freeze')], '2026-11-02')).toEqual([
    '2026-11-07 720-1440 >',
    '2026-11-08 whole freeze',
  ]);
});

test('the day on which the clocks go forward has 23 hours, and a freeze of all of it is whole', () => {
  expect(shown([item('2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z', 'freeze')], '2026-03-23')).toEqual([
    '2026-03-29 whole freeze',
  ]);
  // From 01:00 to 04:00 by the clock: two hours of it are there.
  expect(shown([item('2026-03-29T00:00:00Z', '2026-03-29T02:00:00Z')], '2026-03-23')).toEqual(['2026-03-29 60-240']);
});

test('the day on which they go back has 25, and the hour that comes twice is no empty one', () => {
  expect(shown([item('2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z', 'freeze')], '2026-10-19')).toEqual([
    '2026-10-25 whole freeze',
  ]);
  expect(shown([item('2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z')], '2026-10-19')).toEqual(['2026-10-25 150-210']);
  expect(shown([item('2026-10-25T19:00:00Z', '2026-10-25T21:00:00Z')], '2026-10-19')).toEqual(['2026-10-25 1200-1320']);
});

test('a promotion that waits stands at its moment, long enough to be read, also at the end of a day', () => {
  expect(shown([item('2026-11-02T19:00:00Z', undefined, 'planned')], '2026-11-02')).toEqual(['2026-11-02 1200-1260']);
  expect(shown([item('2026-11-02T22:55:00Z', undefined, 'planned')], '2026-11-02')).toEqual(['2026-11-02 1380-1440']);
});

test('nothing of another week', () => {
  expect(
    shown([item('2026-11-01T10:00:00Z', '2026-11-01T23:00:00Z'), item('2026-11-08T23:00:00Z')], '2026-11-02'),
  ).toEqual([]);
});

test('what overlaps stands side by side, and what does not takes all the width', () => {
  const blocks = [
    [0, 100],
    [50, 150],
    [100, 120],
    [200, 300],
  ].map(([from, to]) => ({ from: from!, to: to!, lane: 0, lanes: 1 }) as Block);
  inLanes(blocks);
  expect(blocks.map((b) => [b.from, b.lane, b.lanes])).toEqual([
    [0, 0, 2],
    [50, 1, 2],
    [100, 0, 2],
    [200, 0, 1],
  ]);
});

test('how a calendar is through a day', () => {
  const stretches: Schemas['CalendarStretch'][] = [
    { start: '2026-11-01T23:00:00Z', end: '2026-11-02T19:00:00Z', state: 'closed' },
    { start: '2026-11-02T19:00:00Z', end: '2026-11-02T21:00:00Z', state: 'open' },
    { start: '2026-11-02T21:00:00Z', end: '2026-11-08T23:00:00Z', state: 'frozen' },
  ];
  expect(grounds(stretches, '2026-11-02', berlin)).toEqual([
    { state: 'closed', from: 0, to: 1200 },
    { state: 'open', from: 1200, to: 1320 },
    { state: 'frozen', from: 1320, to: 1440 },
  ]);
  expect(grounds(stretches, '2026-11-03', berlin)).toEqual([{ state: 'frozen', from: 0, to: 1440 }]);
});

test('items of an answer', () => {
  const found = itemsOf({
    from: '',
    to: '',
    now: '',
    zone: berlin,
    declared: true,
    alike: [],
    occurrences: [
      { calendar: 'c', kind: 'freeze', name: 'f', process: 'stocktaking', scope: {}, start: '2026-11-03T00:00:00Z' },
    ],
    planned: [
      {
        promotion: 'p1',
        kind: 'promote',
        release_name: 'r2',
        environment: 'production',
        tenants: ['acme'],
        waits_for: 'a window',
        at: '2026-11-02T19:00:00Z',
        requested_by: 'anna',
      },
      {
        promotion: 'p2',
        kind: 'promote',
        release_name: 'r3',
        environment: 'production',
        tenants: ['acme'],
        waits_for: 'an approval',
        requested_by: 'anna',
      },
    ],
  });
  expect(found.map((i) => [i.kind, i.title])).toEqual([
    ['planned', 'r2 → production'],
    ['freeze', 'stocktaking'],
  ]);
  expect(concerns({})).toBe('everybody');
  expect(concerns({ environments: ['production'], rings: ['early'], labels: { land: 'de' } })).toBe(
    'production; ring early; with land=de',
  );
});
