import { expect, settled, test } from '../people';
import { scene } from '../scene';
import { pages } from '../table';

// The words of everything that changes something.
const changes =
  /promote|approve|reject|take it back|restore|suspend|resume|delete|abandon|confirm|close the review|create|lift|rescan|rotate|revoke/i;

test('a viewer sees every page without a button that they may not press', async ({ as }) => {
  const page = await as('vera');
  const plain = pages.filter((p) => !p.includes(':'));
  for (const address of [...plain, `/promotions/${scene.ids.good}`, `/promotions/${scene.ids.back}`]) {
    await page.goto(address);
    await settled(page);
    await expect(page.locator('main').getByRole('button', { name: changes }), address).toHaveCount(0);
  }
  await page.goto('/releases');
  await settled(page);
  await page.getByRole('link', { name: 'r5', exact: true }).click();
  await settled(page);
  await expect(page.locator('main').getByRole('button', { name: changes })).toHaveCount(0);
});

test('the ledger stands in the navigation for those who may read it', async ({ as }) => {
  for (const [name, times] of [
    ['vera', 0],
    ['olga', 1],
  ] as const) {
    const page = await as(name);
    await page.goto('/');
    await settled(page);
    const nav = page.getByRole('navigation', { name: 'Pages' });
    await expect(nav.getByRole('link', { name: 'Reports' })).toBeVisible();
    await expect(nav.getByRole('link', { name: 'Audit' }), name).toHaveCount(times);
  }
});

test('the server refuses a viewer whatever the page shows', async ({ as }) => {
  const page = await as('vera');
  const answer = await page.request.post('/api/v1/promotions', {
    data: { release: 'r7', environment: 'test' },
    headers: { Origin: scene.url },
  });
  expect(answer.status()).toBe(403);
});

test('the same pages show those buttons to who may', async ({ as }) => {
  const page = await as('olga');
  await page.goto('/');
  await settled(page);
  await expect(page.getByRole('button', { name: 'Promote a release' })).toBeVisible();
  await page.goto(`/promotions/${scene.ids.good}`);
  await settled(page);
  await expect(page.getByRole('button', { name: 'Take it back …' })).toBeVisible();
});

test('an approver of production is offered no environment to promote into', async ({ as }) => {
  const page = await as('bert');
  await page.goto('/');
  await settled(page);
  await expect(page.locator('main').getByRole('button', { name: /Promote/ })).toHaveCount(0);
});
