import { expect, test } from 'vitest';
import {
  addDays,
  clockChange,
  clockTime,
  dayName,
  dayOf,
  daysFrom,
  hoursOf,
  isDay,
  isZone,
  mondayOf,
  startOf,
  wall,
  zoneName,
} from './days';

test.each([
  ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00:00.000Z', 23],
  ['2026-03-30', 'Europe/Berlin', '2026-03-29T22:00:00.000Z', 24],
  ['2026-10-25', 'Europe/Berlin', '2026-10-24T22:00:00.000Z', 25],
  ['2026-10-26', 'Europe/Berlin', '2026-10-25T23:00:00.000Z', 24],
  ['2026-11-01', 'America/New_York', '2026-11-01T04:00:00.000Z', 25],
  ['2026-04-24', 'Africa/Cairo', '2026-04-23T22:00:00.000Z', 23], // at midnight, so that the day begins at one o'clock
  ['2026-04-05', 'Australia/Lord_Howe', '2026-04-04T13:00:00.000Z', 24.5], // by half an hour
  ['2026-11-02', 'Asia/Kathmandu', '2026-11-01T18:15:00.000Z', 24],
  ['2026-11-02', 'Pacific/Kiritimati', '2026-11-01T10:00:00.000Z', 24],
  ['2026-11-02', 'UTC', '2026-11-02T00:00:00.000Z', 24],
])('%s in %s begins at %s and has %d hours', (day, zone, start, hours) => {
  expect(startOf(day, zone).toISOString()).toBe(start);
  expect(dayOf(startOf(day, zone), zone)).toBe(day);
  expect(dayOf(new Date(startOf(day, zone).getTime() - 1), zone)).toBe(addDays(day, -1));
  expect(hoursOf(day, zone)).toBe(hours);
});

test('weeks begin on Monday, over the ends of months and years, and over changes of the clocks', () => {
  expect(mondayOf('2026-11-02')).toBe('2026-11-02');
  expect(mondayOf('2026-11-08')).toBe('2026-11-02');
  expect(mondayOf('2027-01-01')).toBe('2026-12-28');
  expect(addDays('2026-03-23', 7)).toBe('2026-03-30');
  expect(addDays('2026-10-19', 7)).toBe('2026-10-26');
  expect(addDays('2028-02-28', 1)).toBe('2028-02-29');
  expect(addDays('2026-01-01', -1)).toBe('2025-12-31');
  expect(daysFrom('2026-10-19', '2026-11-02')).toBe(14);
  // Seven days of a week on end, without a gap or an overlap.
  for (const monday of ['2026-03-23', '2026-10-19']) {
    for (let i = 0; i < 7; i++) {
      const next =
        startOf(addDays(monday, i), 'Europe/Berlin').getTime() +
        hoursOf(addDays(monday, i), 'Europe/Berlin') * 3_600_000;
      expect(next).toBe(startOf(addDays(monday, i + 1), 'Europe/Berlin').getTime());
    }
  }
});

test('what a clock on the wall shows', () => {
  expect(wall(new Date('2026-03-29T00:59:00Z'), 'Europe/Berlin')).toEqual({ day: '2026-03-29', minutes: 119 });
  expect(wall(new Date('2026-03-29T01:00:00Z'), 'Europe/Berlin')).toEqual({ day: '2026-03-29', minutes: 180 });
  expect(wall(new Date('2026-11-01T23:00:00Z'), 'Europe/Berlin')).toEqual({ day: '2026-11-02', minutes: 0 });
  expect(clockTime(119)).toBe('01:59');
  expect(clockTime(1440)).toBe('24:00');
});

test('how the clocks change', () => {
  expect(clockChange('2026-03-29', 'Europe/Berlin')).toEqual({
    at: new Date('2026-03-29T01:00:00Z'),
    from: 119 + 1,
    to: 180,
    hours: 23,
  });
  expect(clockChange('2026-10-25', 'Europe/Berlin')).toEqual({
    at: new Date('2026-10-25T01:00:00Z'),
    from: 180,
    to: 120,
    hours: 25,
  });
  expect(clockChange('2026-04-24', 'Africa/Cairo')).toEqual({
    at: new Date('2026-04-23T22:00:00Z'),
    from: 0,
    to: 60,
    hours: 23,
  });
  expect(clockChange('2026-10-24', 'Europe/Berlin')).toBeUndefined();
});

test('days and zones that there are', () => {
  expect(['2026-11-02', '2026-02-29', '2026-13-01', '2026-1-1', 'x', ''].map(isDay)).toEqual([
    true,
    false,
    false,
    false,
    false,
    false,
  ]);
  expect(['Europe/Berlin', 'UTC', 'Mars/Olympus', ''].map(isZone)).toEqual([true, true, false, false]);
  expect(dayName('2026-11-02')).toBe('Mon 2 Nov');
  expect(zoneName('Europe/Berlin', new Date('2026-11-02T00:00:00Z'))).toBe('Europe/Berlin, GMT+1');
  expect(zoneName('UTC', new Date('2026-11-02T00:00:00Z'))).toBe('UTC');
});
