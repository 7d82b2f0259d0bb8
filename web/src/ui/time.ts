// How times are said: never without their zone, and never only "3 minutes ago".

/** Says a moment as a clock on the wall does, with its zone; the day where it is not today. */
export function absolute(at: Date, now = new Date(), zone?: string): string {
  const day = (d: Date) => d.toLocaleDateString('en-CA', { timeZone: zone });
  const parts: Intl.DateTimeFormatOptions = {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZone: zone,
    timeZoneName: 'short',
  };
  if (day(at) !== day(now)) {
    Object.assign(parts, { day: 'numeric', month: 'short' });
    if (at.getFullYear() !== now.getFullYear()) parts.year = 'numeric';
  }
  return at.toLocaleString('en-GB', parts);
}

/** Says a moment whole, to the second, with its zone. */
export function exact(at: Date, zone?: string): string {
  return at.toLocaleString('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZone: zone,
    timeZoneName: 'longOffset',
  });
}

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** Says how long ago a moment was, or how long it still is. */
export function relative(at: Date, now = new Date()): string {
  const seconds = Math.round((at.getTime() - now.getTime()) / 1000);
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) {
      return new Intl.RelativeTimeFormat('en', { numeric: 'always' }).format(Math.trunc(seconds / length), unit);
    }
  }
  return seconds > 5 ? `in ${seconds} seconds` : 'just now';
}

/** Says a length of time in seconds in the two units that count. */
export function length(seconds: number): string {
  if (seconds < 1) return seconds <= 0 ? '0 s' : `${seconds.toFixed(1)} s`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const s = Math.round(seconds);
  if (s < 90) return `${s} s`;
  if (s < 3_600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  const minutes = Math.round(s / 60);
  if (minutes < 1_440) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  const hours = Math.round(minutes / 60);
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}
