import type { ReportQuery } from '../../api/queries';
import { addDays, type Day, dayOf, daysFrom, isDay } from '../../ui/days';

/** Periods that people ask for, each from a first to a last day. */
export const periods: { value: string; label: string }[] = [
  { value: '30', label: 'last 30 days' },
  { value: '', label: 'last 90 days' },
  { value: '365', label: 'last 365 days' },
  { value: 'quarter', label: 'this quarter' },
  { value: 'before', label: 'the quarter before' },
  { value: 'own', label: 'days of my choice' },
];

export interface Period {
  from: Day;
  to: Day;
}

/** The days of a period, as of today. */
export function daysOf(period: string, from: string, to: string, today: Day): Period {
  if (period === 'quarter') return { from: quarterOf(today), to: today };
  if (period === 'before') {
    const last = addDays(quarterOf(today), -1);
    return { from: quarterOf(last), to: last };
  }
  if (period === 'own' && isDay(from) && isDay(to) && from <= to) return { from, to };
  const days = period === '30' || period === '365' ? Number(period) : 90;
  return { from: addDays(today, 1 - days), to: today };
}

/** The first day of a day's quarter. */
export function quarterOf(day: Day): Day {
  const [year, month] = day.split('-').map(Number) as [number, number];
  return `${year}-${String(month - ((month - 1) % 3)).padStart(2, '0')}-01`;
}

/** The period of the same length just before. */
export function before({ from, to }: Period): Period {
  return { from: addDays(from, -(daysFrom(from, to) + 1)), to: addDays(from, -1) };
}

export const filterNames = ['period', 'from', 'to', 'environment', 'tenant', 'by', 'bucket'] as const;
export type ReportFilter = Record<(typeof filterNames)[number], string>;

/** What the server is asked for a filter. A trend of weeks has at most 400 points. */
export function queryFor(filter: ReportFilter, zone: string, now: Date): { query: ReportQuery; days: Period } {
  const days = daysOf(filter.period, filter.from, filter.to, dayOf(now, zone));
  const by = (['environment', 'tenant', 'ring'] as const).find((b) => b === filter.by) ?? 'environment';
  const long = daysFrom(days.from, days.to) > 200;
  const bucket = (['week', 'month'] as const).find((b) => b === filter.bucket) ?? (long ? 'month' : 'week');
  return { query: { ...days, zone, environment: filter.environment, tenant: filter.tenant, by, bucket }, days };
}
