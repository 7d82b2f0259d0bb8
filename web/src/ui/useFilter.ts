import { useCallback } from 'react';
import { useSearchParams } from 'wouter';

/** What a page is narrowed to, kept in its address: a link shows the same, and the way back leads back. */
export function useFilter<K extends string>(
  names: readonly K[],
): [filter: Record<K, string>, set: (change: Partial<Record<K, string>>) => void] {
  const [params, setParams] = useSearchParams();
  const filter = Object.fromEntries(names.map((n) => [n, params.get(n) ?? ''])) as Record<K, string>;
  const set = useCallback(
    (change: Partial<Record<K, string>>) => {
      setParams(
        (before) => {
          const next = new URLSearchParams(before);
          for (const [name, value] of Object.entries(change) as [string, string][]) {
            if (value) next.set(name, value);
            else next.delete(name);
          }
          return next;
        },
        { replace: true },
      );
    },
    [setParams],
  );
  return [filter, set];
}

/** A query string of what is not empty, for a link to a file. */
export function queryOf(query: Record<string, string | number | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text && `?${text}`;
}
