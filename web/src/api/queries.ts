import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { api, ask, askPart } from './client';
import type { paths } from './schema';

/** An answer that is a list; an empty one may come as null. */
const list = <T>(answer: Promise<T[] | null>): Promise<T[]> => answer.then((found) => found ?? []);

// One place that says under which key what is kept, so that an event of the server can name what is out of date.
// The first word of a key is the kind of thing; see live.ts.

export const me = () =>
  queryOptions({
    queryKey: ['me'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/me', { signal })),
    staleTime: 60_000,
  });

export const loginMethods = () =>
  queryOptions({ queryKey: ['login'], queryFn: ({ signal }) => list(ask(api.GET('/api/v1/login', { signal }))) });

export const status = () =>
  queryOptions({ queryKey: ['status'], queryFn: ({ signal }) => ask(api.GET('/api/v1/status', { signal })) });

export const estate = () =>
  queryOptions({ queryKey: ['estate'], queryFn: ({ signal }) => ask(api.GET('/api/v1/estate', { signal })) });

export const promotions = (environment = '', limit = 30) =>
  queryOptions({
    queryKey: ['promotions', environment, limit],
    queryFn: ({ signal }) =>
      list(ask(api.GET('/api/v1/promotions', { params: { query: { environment, limit } }, signal }))),
  });

export const promotion = (id: string) =>
  queryOptions({
    queryKey: ['promotion', id],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/promotions/{id}', { params: { path: { id } }, signal })),
  });

export const gates = (id: string) =>
  queryOptions({
    queryKey: ['promotion', id, 'gates'],
    queryFn: ({ signal }) => list(ask(api.GET('/api/v1/promotions/{id}/gates', { params: { path: { id } }, signal }))),
  });

export const approvals = (id: string) =>
  queryOptions({
    queryKey: ['promotion', id, 'approvals'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/promotions/{id}/approvals', { params: { path: { id } }, signal })),
  });

export const wayBack = (id: string) =>
  queryOptions({
    queryKey: ['promotion', id, 'wayback'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/promotions/{id}/rollback', { params: { path: { id } }, signal })),
  });

export const rehearsals = (environment: string, tenant: string) =>
  queryOptions({
    queryKey: ['rehearsals', environment, tenant],
    queryFn: ({ signal }) =>
      list(ask(api.GET('/api/v1/rehearsals', { params: { query: { environment, tenant, limit: 100 } }, signal }))),
  });

export const rehearsal = (id: string) =>
  queryOptions({
    queryKey: ['rehearsal', id],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/rehearsals/{id}', { params: { path: { id } }, signal })),
  });

export const releases = () =>
  queryOptions({
    queryKey: ['releases'],
    queryFn: ({ signal }) => list(ask(api.GET('/api/v1/releases', { params: { query: { limit: 100 } }, signal }))),
  });

export const release = (id: string) =>
  queryOptions({
    queryKey: ['release', id],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/releases/{id}', { params: { path: { id } }, signal })),
    staleTime: 10 * 60_000, // a release never changes
  });

export const evidence = (id: string) =>
  queryOptions({
    queryKey: ['release', id, 'evidence'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/releases/{id}/evidence', { params: { path: { id } }, signal })),
    staleTime: 60_000,
  });

export const impact = (release: string, environment: string) =>
  queryOptions({
    queryKey: ['impact', release, environment],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/impact', { params: { query: { release, environment } }, signal })),
    staleTime: 15_000,
  });

export const tenancies = () =>
  queryOptions({
    queryKey: ['tenants'],
    queryFn: ({ signal }) => list(ask(api.GET('/api/v1/tenants', { signal }))),
  });

export const tenancy = (environment: string, tenant: string) =>
  queryOptions({
    queryKey: ['tenants', environment, tenant],
    queryFn: ({ signal }) =>
      ask(api.GET('/api/v1/tenants/{environment}/{tenant}', { params: { path: { environment, tenant } }, signal })),
  });

export const tenantPromotions = (environment: string, tenant: string) =>
  infiniteQueryOptions({
    queryKey: ['tenants', environment, tenant, 'promotions'],
    initialPageParam: '',
    queryFn: ({ signal, pageParam: cursor }) =>
      askPart(
        api.GET('/api/v1/tenants/{environment}/{tenant}/promotions', {
          params: { path: { environment, tenant }, query: { cursor, limit: 20 } },
          signal,
        }),
      ),
    getNextPageParam: (part) => part.next,
  });

type Asked<P extends keyof paths> = paths[P] extends { get: { parameters: { query?: infer Q } } }
  ? NonNullable<Q>
  : never;

/** What a calendar is asked with. */
export type CalendarQuery = Asked<'/api/v1/calendar'>;

export const calendar = (query: CalendarQuery) =>
  queryOptions({
    queryKey: ['calendar', query],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/calendar', { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });

/** What is looked for in the ledger. */
export type LedgerQuery = Omit<Asked<'/api/v1/ledger'>, 'cursor' | 'limit' | 'before'>;

export const ledger = (query: LedgerQuery) =>
  infiniteQueryOptions({
    queryKey: ['ledger', query],
    initialPageParam: '',
    queryFn: ({ signal, pageParam: cursor }) =>
      askPart(api.GET('/api/v1/ledger', { params: { query: { ...query, cursor, limit: 50 } }, signal })),
    getNextPageParam: (part) => part.next,
    placeholderData: keepPreviousData,
  });

/** The newest entry alone: whether there is more than what is shown. */
export const newestEntry = (query: LedgerQuery) =>
  queryOptions({
    queryKey: ['ledger newest', query],
    queryFn: ({ signal }) =>
      askPart(api.GET('/api/v1/ledger', { params: { query: { ...query, limit: 1 } }, signal })).then(
        ({ items }) => items[0]?.sequence ?? 0,
      ),
  });

/** What a report is asked with. */
export type ReportQuery = Asked<'/api/v1/reports/releases'>;

export const report = (query: ReportQuery) =>
  queryOptions({
    queryKey: ['reports', query],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/reports/releases', { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });
