// Days of a time zone, as a calendar on the wall has them. A day is its ISO date, 2026-11-02: it has no hour, so that
// counting days knows nothing of clocks that change. Only startOf and wall go between days and moments.

export type Day = string;

/** The zone of this browser. */
export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

/** Whether this browser knows a zone by that name. */
export function isZone(name: string): boolean {
  try {
    clock(name);
    return name !== '';
  } catch {
    return false;
  }
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function clock(zone: string): Intl.DateTimeFormat {
  let found = clocks.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat('en-CA', {
      timeZone: zone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
    });
    clocks.set(zone, found);
  }
  return found;
}

/** What a clock on the wall of a zone shows: the day, and the minutes since its midnight by that clock. */
export function wall(at: Date, zone: string): { day: Day; minutes: number } {
  const part: Record<string, string> = {};
  for (const { type, value } of clock(zone).formatToParts(at)) part[type] = value;
  return {
    day: `${part.year}-${part.month}-${part.day}`,
    minutes: Number(part.hour) * 60 + Number(part.minute) + Number(part.second) / 60,
  };
}

export const dayOf = (at: Date, zone: string): Day => wall(at, zone).day;

const utc = (day: Day): number => Date.parse(`${day}T00:00:00Z`);

/** Whether a text is a day that there is. */
export function isDay(text: string): boolean {
  return (
    /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) &&
    !Number.isNaN(utc(text)) &&
    new Date(utc(text)).toISOString().startsWith(text)
  );
}

export function addDays(day: Day, n: number): Day {
  return new Date(utc(day) + n * 86_400_000).toISOString().slice(0, 10);
}

/** How many days lie from one to another. */
export const daysFrom = (a: Day, b: Day): number => Math.round((utc(b) - utc(a)) / 86_400_000);

/** The Monday of a day's week. */
export function mondayOf(day: Day): Day {
  return addDays(day, -((new Date(utc(day)).getUTCDay() + 6) % 7));
}

const starts = new Map<string, number>();

/** The first moment of a day in a zone: its midnight, or, where the clocks skip that, the moment after the gap. */
export function startOf(day: Day, zone: string): Date {
  const key = `${day} ${zone}`;
  let found = starts.get(key);
  if (found === undefined) {
    let before = utc(day) - 16 * 3_600_000; // no zone is further from UTC
    let after = utc(day) + 16 * 3_600_000;
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2);
      if (dayOf(new Date(middle), zone) >= day) after = middle;
      else before = middle;
    }
    found = after;
    if (starts.size > 2_000) starts.clear();
    starts.set(key, found);
  }
  return new Date(found);
}

/** How many hours a day has: 24 but where the clocks change. */
export function hoursOf(day: Day, zone: string): number {
  return (startOf(addDays(day, 1), zone).getTime() - startOf(day, zone).getTime()) / 3_600_000;
}

/** How the clocks change within a day: what they show just before and just after. */
export function clockChange(day: Day, zone: string): { at: Date; from: number; to: number; hours: number } | undefined {
  const start = startOf(day, zone).getTime();
  const end = startOf(addDays(day, 1), zone).getTime();
  const hours = (end - start) / 3_600_000;
  if (hours === 24) return undefined;
  const shift = (t: number) => wall(new Date(t), zone).minutes - (t - start) / 60_000;
  const first = shift(start);
  let before = start;
  let after = end - 1;
  if (Math.abs(shift(after) - first) < 0.5) return { at: new Date(start), from: 0, to: first, hours }; // midnight itself
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (Math.abs(shift(middle) - first) < 0.5) before = middle;
    else after = middle;
  }
  const from = Math.round(wall(new Date(before), zone).minutes);
  return { at: new Date(after), from, to: Math.round(wall(new Date(after), zone).minutes), hours };
}

/** "14:05", of minutes since midnight. */
export function clockTime(minutes: number): string {
  const m = Math.floor(minutes + 1e-6);
  return `${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`;
}

/** A day as people say it: "Mon 2 Nov", with its year where one asks for it. */
export function dayName(
  day: Day,
  parts: Intl.DateTimeFormatOptions = { weekday: 'short', day: 'numeric', month: 'short' },
) {
  return new Date(utc(day)).toLocaleDateString('en-GB', { ...parts, timeZone: 'UTC' }).replace(',', '');
}

/** A zone's name as people know it, with what its clocks differ from UTC at a moment: "Europe/Berlin, GMT+1". */
export function zoneName(zone: string, at: Date): string {
  if (zone === 'UTC') return zone;
  const offset = new Intl.DateTimeFormat('en-GB', { timeZone: zone, timeZoneName: 'shortOffset' })
    .formatToParts(at)
    .find((p) => p.type === 'timeZoneName')?.value;
  return offset && offset !== zone ? `${zone}, ${offset}` : zone;
}
