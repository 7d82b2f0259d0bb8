import { type QueryClient, type QueryKey, useQueryClient } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useState } from 'react';

/** Whether the server tells what happens as it happens; while it does not, the page asks again by itself. */
export type Live = 'connecting' | 'live' | 'asking';

export const LiveContext = createContext<Live>('connecting');

/** How often to ask again, in milliseconds, for what changes: not at all while the server tells, but for what changes
 * because time passes. */
export function useAskAgain(every = 4_000, whileTold: number | false = false): number | false {
  return useContext(LiveContext) === 'live' ? whileTold : every;
}

// How long to wait before a stream that was refused is asked for again, in milliseconds: double each time.
const retryFirst = 1_000;
const retryMost = 30_000;

/** What is out of date after an event, by its topic. A key stands for all that begin with it. */
const concerns: Record<string, (about: Record<string, string>) => QueryKey[]> = {
  promotion: (x) => [
    ['promotion', x.promotion],
    ['promotions'],
    ['tenants'],
    ['calendar'],
    ...(x.outcome ? [['reports']] : []),
  ],
  approval: (x) => [['promotion', x.promotion]],
  environment: () => [['status'], ['tenants']],
  notification: () => [['status']],
  rehearsal: (x) => [['rehearsal', x.rehearsal], ['rehearsals'], ...(x.state === 'done' ? [['reports']] : [])],
  release: () => [['releases']],
  estate: () => [['estate'], ['status'], ['tenants'], ['calendar']],
  ledger: () => [['ledger newest']],
};

/** What is about very many tenants or a long time, and need not follow each step of a promotion. */
const atLeisure = new Set<unknown>(['tenants', 'calendar', 'reports', 'ledger newest']);

/** Listens to the server's events while the page is open. A browser resumes by itself after the last event that it
 * has seen; where the stream is refused, the pages ask until it can be had. */
export function useEvents(signedIn: boolean): Live {
  const cache = useQueryClient();
  const [live, setLive] = useState<Live>('connecting');
  useEffect(() => {
    if (!signedIn) return;
    if (typeof EventSource === 'undefined') {
      setLive('asking');
      return;
    }
    const soon = forgetter(cache);
    const later = forgetter(cache, 2_000);
    let source: EventSource | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    let wait = retryFirst;
    let last = ''; // that was seen
    const open = () => {
      source = new EventSource(`/api/v1/events${last ? `?after=${encodeURIComponent(last)}` : ''}`);
      source.onopen = () => {
        wait = retryFirst;
        setLive('live');
      };
      source.addEventListener('hello', (e) => {
        const began = last !== '';
        last = e.lastEventId;
        if (began && !(JSON.parse(e.data) as { resumed: boolean }).resumed) void cache.invalidateQueries();
      });
      source.addEventListener('reset', () => void cache.invalidateQueries());
      source.addEventListener('end', () => void cache.invalidateQueries({ queryKey: ['me'] })); // perhaps one is signed out
      for (const [topic, about] of Object.entries(concerns)) {
        source.addEventListener(topic, (e) => {
          last = e.lastEventId || last;
          for (const key of about(JSON.parse(e.data) as Record<string, string>)) {
            (atLeisure.has(key[0]) ? later : soon)(key);
          }
        });
      }
      source.onerror = () => {
        setLive('asking');
        if (source?.readyState === EventSource.CLOSED) {
          again = setTimeout(open, wait);
          wait = Math.min(wait * 2, retryMost);
        }
      };
    };
    open();
    return () => {
      clearTimeout(again);
      source?.close();
    };
  }, [cache, signedIn]);
  return live;
}

/** Marks keys as out of date, those of a burst of events once: of so many milliseconds. */
export function forgetter(cache: QueryClient, together = 250): (key: QueryKey) => void {
  const due = new Map<string, QueryKey>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (key) => {
    due.set(JSON.stringify(key), key);
    timer ??= setTimeout(() => {
      timer = undefined;
      for (const queryKey of due.values()) void cache.invalidateQueries({ queryKey });
      due.clear();
    }, together);
  };
}
