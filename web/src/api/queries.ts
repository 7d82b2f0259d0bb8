import { queryOptions } from '@tanstack/react-query';
import { api, ask } from './client';

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
