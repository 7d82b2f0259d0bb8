import type { LedgerQuery } from '../../api/queries';
import { addDays, isDay, startOf } from '../../ui/days';

export const names = ['actor', 'kind', 'environment', 'tenant', 'promotion', 'text', 'from', 'to'] as const;

/** What the server is asked: moments instead of days, because its days are those of UTC, and the reader's are not. */
export function asked(filter: Record<(typeof names)[number], string>, zone: string): LedgerQuery {
  const query: Record<string, string> = {};
  for (const name of names) {
    const value = filter[name];
    if (!value) continue;
    if (name !== 'from' && name !== 'to') query[name] = value;
    else if (isDay(value)) query[name] = startOf(name === 'to' ? addDays(value, 1) : value, zone).toISOString();
  }
  return query;
}
