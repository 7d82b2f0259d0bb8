import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import { difference } from './difference';

const of = (...modules: [name: string, version: string, checksum: string][]) =>
  ({ modules: modules.map(([name, version, checksum]) => ({ name, version, checksum })) }) as Schemas['Release'];

test('a module counts as changed by its content, not by its version alone', () => {
  const from = of(
    ['stock_x', '19.0.1.0', 'a'],
    ['sale_x', '19.0.1.0', 'b'],
    ['old_x', '19.0.1.0', 'c'],
    ['same_x', '1', 's'],
  );
  const to = of(
    ['stock_x', '19.0.1.0', 'A'],
    ['sale_x', '19.0.1.1', 'B'],
    ['new_x', '19.0.1.0', 'd'],
    ['same_x', '1', 's'],
  );
  expect(difference(from, to)).toEqual([
    { name: 'new_x', change: 'added', to: '19.0.1.0' },
    { name: 'old_x', change: 'removed', from: '19.0.1.0' },
    { name: 'sale_x', change: 'changed', from: '19.0.1.0', to: '19.0.1.1' },
    { name: 'stock_x', change: 'changed', from: '19.0.1.0', to: '19.0.1.0' },
  ]);
});
