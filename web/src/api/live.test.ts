import { QueryClient } from '@tanstack/react-query';
import { afterEach, expect, test, vi } from 'vitest';
import { forgetter } from './live';

afterEach(() => void vi.useRealTimers());

test('a burst of events about one thing is one reason to ask again', () => {
  vi.useFakeTimers();
  const cache = new QueryClient();
  const asked = vi.spyOn(cache, 'invalidateQueries').mockResolvedValue();
  const forget = forgetter(cache);
  for (let i = 0; i < 50; i++) forget(['promotion', 'p1']);
  forget(['promotions']);
  expect(asked).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1_000);
  expect(asked.mock.calls.map(([filter]) => filter?.queryKey)).toEqual([['promotion', 'p1'], ['promotions']]);
  forget(['promotion', 'p1']);
  vi.advanceTimersByTime(1_000);
  expect(asked).toHaveBeenCalledTimes(3);
});
