import { useSyncExternalStore } from 'react';
import { absolute, exact, relative } from './time';

// One clock for all that is said of time on a page.
const listeners = new Set<() => void>();
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const l of listeners) l();
  }, 5_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The time, every five seconds. */
export function useNow(): Date {
  return new Date(
    Math.max(
      useSyncExternalStore(subscribe, () => now),
      0,
    ),
  );
}

/** A moment: how long ago, and when by the clock, with its zone; to the second where one points at it. */
export function When({ at, only }: { at: string | Date; only?: 'relative' | 'absolute' }) {
  const current = useNow();
  const moment = typeof at === 'string' ? new Date(at) : at;
  const latest = current.getTime() < Date.now() ? new Date() : current;
  const texts = [
    only !== 'absolute' && relative(moment, latest),
    only !== 'relative' && absolute(moment, latest),
  ].filter(Boolean);
  return (
    <time dateTime={moment.toISOString()} title={exact(moment)}>
      {texts.join(' · ')}
    </time>
  );
}
