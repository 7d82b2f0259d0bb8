import type { Schemas } from '../../api/client';

type Standing = Schemas['TenantStanding'];

export interface Choice {
  environment: string;
  health: string;
  text: string;
}

/** The environments that are chosen, each with the tenants that are. An environment stays while no tenant is looked for. */
export function choose(all: Schemas['Tenancy'][], by: Choice): Schemas['Tenancy'][] {
  const words = by.text.toLowerCase().split(/\s+/).filter(Boolean);
  const narrowed = words.length > 0 || by.health !== '';
  return all
    .filter((e) => !by.environment || e.environment === by.environment)
    .map((e) => ({ ...e, tenants: (e.tenants ?? []).filter((t) => isHealth(t, by.health) && holds(t, words)) }))
    .filter((e) => !narrowed || e.tenants.length > 0);
}

function isHealth(t: Standing, health: string): boolean {
  return health === 'look' ? t.health !== 'well' : health === '' || t.health === health;
}

/** Whether each word stands somewhere in what a tenant is known by. */
function holds(t: Standing, words: string[]): boolean {
  const labels = Object.entries(t.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  const text = [t.name, t.ring, t.serving, t.mode, t.hosting, ...(t.hosts ?? []), ...labels].join(' ').toLowerCase();
  return words.every((w) => text.includes(w));
}

/** Tenants as a release reaches them: by ring, in the estate's order, then by name. */
export function inOrder(e: Schemas['Tenancy']): Standing[] {
  const order = new Map((e.rings ?? []).map((r, i) => [r.name, i]));
  const place = (t: Standing) => order.get(t.ring ?? '') ?? order.size;
  return [...(e.tenants ?? [])].sort((a, b) => place(a) - place(b) || a.name.localeCompare(b.name, 'en'));
}

/** How many tenants there are of each health, the worst first. */
export function healths(tenants: Standing[]): { health: Standing['health']; count: number }[] {
  return (['ill', 'watch', 'well'] as const)
    .map((health) => ({ health, count: tenants.filter((t) => t.health === health).length }))
    .filter((h) => h.count > 0);
}

/** What the tenants of a ring run: the release of most first. */
export function running(tenants: Standing[]): { name: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const t of tenants) counts.set(t.serving, (counts.get(t.serving) ?? 0) + 1);
  return [...counts]
    .map(([name, count]) => ({ name, count }))
    .sort((a, b) => b.count - a.count || a.name.localeCompare(b.name, 'en'));
}
