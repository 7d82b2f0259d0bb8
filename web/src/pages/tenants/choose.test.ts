import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import { choose, healths, inOrder, running } from './choose';

const tenant = (name: string, more: Partial<Schemas['TenantStanding']> = {}): Schemas['TenantStanding'] => ({
  name,
  hosting: 'shared',
  hosts: [`${name}.example`],
  serving: 'r1',
  serving_digest: 'sha256:1',
  schema: 'r1',
  mode: 'open',
  canary_percent: 0,
  health: 'well',
  risks: [],
  ...more,
});

const ring = (name: string, ...after: string[]) => ({ name, after, at_once: 1, soak_seconds: 0, failures: 0 });
const estate: Schemas['Tenancy'][] = [
  { environment: 'test', rings: [], tenants: [tenant('acme')] },
  {
    environment: 'production',
    rings: [ring('early'), ring('broad', 'early')],
    tenants: [
      tenant('acme', { ring: 'broad', labels: { land: 'de' } }),
      tenant('bolt', { ring: 'early', health: 'ill', serving: 'r2' }),
      tenant('crate', { health: 'watch' }),
      tenant('dock', { ring: 'early' }),
    ],
  },
];
const production = estate[1] as Schemas['Tenancy'];
const none = { environment: '', health: '', text: '' };
const names = (by: Partial<typeof none>) =>
  choose(estate, { ...none, ...by }).map((e) => [e.environment, ...(e.tenants ?? []).map((t) => t.name)].join(' '));

test.each([
  [{}, ['test acme', 'production acme bolt crate dock']],
  [{ environment: 'production' }, ['production acme bolt crate dock']],
  [{ health: 'look' }, ['production bolt crate']],
  [{ health: 'ill' }, ['production bolt']],
  [{ text: 'LAND=de' }, ['production acme']],
  [{ text: 'early r2' }, ['production bolt']],
  [{ text: 'early land' }, []],
  [{ environment: 'test', health: 'ill' }, []],
])('%j chooses %j', (by, chosen) => {
  expect(names(by)).toEqual(chosen);
});

test('an environment without tenants stays while nothing is looked for', () => {
  const empty = [{ environment: 'uat', rings: [], tenants: [] }];
  expect(choose(empty, none)).toHaveLength(1);
  expect(choose(empty, { ...none, text: 'x' })).toHaveLength(0);
});

test('tenants stand as a release reaches them, those in no ring last', () => {
  expect(inOrder(production).map((t) => t.name)).toEqual(['bolt', 'dock', 'acme', 'crate']);
});

test('what there is of each', () => {
  const all = production.tenants ?? [];
  expect(healths(all)).toEqual([
    { health: 'ill', count: 1 },
    { health: 'watch', count: 1 },
    { health: 'well', count: 2 },
  ]);
  expect(running(all)).toEqual([
    { name: 'r1', count: 3 },
    { name: 'r2', count: 1 },
  ]);
});
