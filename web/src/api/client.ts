import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** What the server said instead of an answer (RFC 9457), or why there was none. */
export class Problem extends Error {
  /** HTTP status; 0 where the server could not be reached. */
  readonly status: number;
  readonly title: string;

  constructor(status: number, title: string, detail: string) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** The API. Who asks is known by the session's cookie; there is no token in the page. */
export const api = createClient<paths>({ baseUrl: '/', credentials: 'same-origin' });

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** Gives the data of an answer, or throws the Problem that it is. */
export async function ask<T>(request: Promise<Answer<T>>): Promise<T> {
  return (await answered(request)).data as T;
}

/** A part of a list, and the cursor of the next one; none: this is the last. */
export interface Part<T> {
  items: T[];
  next?: string;
}

/** The same of a list that is answered part by part. */
export async function askPart<T>(request: Promise<Answer<T[] | null>>): Promise<Part<T>> {
  const { data, response } = await answered(request);
  return { items: data ?? [], next: response.headers.get('Next-Cursor') ?? undefined };
}

async function answered<T>(request: Promise<Answer<T>>): Promise<Answer<T>> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new Problem(0, 'The server does not answer', 'Waybill could not be reached. This page goes on trying.');
  }
  if (answer.response.ok) return answer;
  const said = (answer.error ?? {}) as {
    title?: string;
    detail?: string;
    errors?: { message?: string; location?: string }[];
  };
  const more = (said.errors ?? []).map((e) => [e.location, e.message].filter(Boolean).join(': ')).join('; ');
  const title = said.title ?? (answer.response.statusText || `Status ${answer.response.status}`);
  throw new Problem(answer.response.status, title, [said.detail, more].filter(Boolean).join(': '));
}

/** Whoever is not signed in any more is asked who they are, which leads to the login. One who never was is there already. */
function ended(cause: unknown) {
  if (cause instanceof Problem && cause.status === 401 && queries.getQueryState(['me'])?.status === 'success') {
    void queries.invalidateQueries({ queryKey: ['me'] });
  }
}

export const queries: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: ended }),
  mutationCache: new MutationCache({ onError: ended }),
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      // What the server refuses it refuses again; what could not be reached may be back.
      retry: (failures, cause) =>
        cause instanceof Problem && (cause.status === 0 || cause.status >= 502) && failures < 3,
      refetchOnWindowFocus: true,
    },
  },
});
