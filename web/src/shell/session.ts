import { type QueryClient, useQuery } from '@tanstack/react-query';
import { api, type Schemas } from '../api/client';
import { me } from '../api/queries';

/** Ends the session, here and on the server. */
export async function signOut(cache: QueryClient) {
  await api.POST('/api/v1/logout');
  cache.clear();
  location.assign('/');
}

/** Whether who is signed in could do something in an environment, with their own or with what is another's; the server
 * decides again. Without an environment: what is about none. */
export function may(who: Pick<Schemas['Me'], 'operations'> | undefined, operation: string, environment = ''): boolean {
  return who?.operations?.[environment]?.includes(operation) ?? false;
}

/** The same of who is signed in now. */
export function useMay(): (operation: string, environment?: string) => boolean {
  const who = useQuery(me()).data;
  return (operation, environment) => may(who, operation, environment);
}

/** Whether who is signed in could do something in any environment at all. */
export function useMayAnywhere(operation: string): boolean {
  const who = useQuery(me()).data;
  return Object.values(who?.operations ?? {}).some((list) => list?.includes(operation));
}
