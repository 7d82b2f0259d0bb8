import type { Schemas } from '../../api/client';

/** A release with the tenants that it serves. */
export interface Served {
  name: string;
  digest: string;
  tenants: Schemas['Tenant'][];
}

/** What serves in an environment: the release of most tenants first. */
export function serves(environment: Schemas['Environment']): Served[] {
  const by = new Map<string, Served>();
  for (const t of environment.tenants ?? []) {
    const served = by.get(t.serving_digest) ?? { name: t.serving, digest: t.serving_digest, tenants: [] };
    served.tenants.push(t);
    by.set(t.serving_digest, served);
  }
  return [...by.values()].sort(
    (a, b) => Number(a.digest === '') - Number(b.digest === '') || b.tenants.length - a.tenants.length,
  );
}
