import type { Schemas } from '../../api/client';

export interface Changed {
  name: string;
  change: 'added' | 'changed' | 'removed';
  from?: string;
  to?: string;
}

/** What lies between two releases: their own modules, by content and not by version alone. */
export function difference(from: Schemas['Release'], to: Schemas['Release']): Changed[] {
  const before = new Map((from.modules ?? []).map((m) => [m.name, m]));
  const found: Changed[] = [];
  for (const m of to.modules ?? []) {
    const old = before.get(m.name);
    before.delete(m.name);
    if (!old) found.push({ name: m.name, change: 'added', to: m.version });
    else if (old.checksum !== m.checksum || old.version !== m.version) {
      found.push({ name: m.name, change: 'changed', from: old.version, to: m.version });
    }
  }
  for (const m of before.values()) found.push({ name: m.name, change: 'removed', from: m.version });
  return found.sort((a, b) => a.name.localeCompare(b.name));
}
