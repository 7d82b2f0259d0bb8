import type { Page } from '@playwright/test';
import { accessible, picture, schemes, screens } from '../look';
import { expect, settled, test } from '../people';
import { waybill } from '../scene';

test.describe.configure({ mode: 'serial' });

// A promotion on a real Odoo: pools start, the database is updated, people's requests are counted.
const minutes = (n: number) => ({ timeout: n * 60_000 });

/** Takes what the page shows now, in light and dark, at a desk and on a tablet. */
async function pictures(page: Page, name: string) {
  for (const colorScheme of schemes) {
    await page.emulateMedia({ colorScheme });
    for (const [screen, size] of Object.entries(screens)) {
      await page.setViewportSize(size);
      await picture(page, `${name}-${screen}-${colorScheme}`);
    }
  }
  await page.setViewportSize(screens.desktop);
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Asks for a release in production, and gives the address of its promotion. */
async function promote(page: Page, release: string): Promise<string> {
  await page.goto('/');
  await settled(page);
  await page.getByRole('button', { name: 'Promote a release' }).click();
  const dialog = page.getByRole('dialog', { name: 'Promote a release' });
  await dialog.getByLabel('Release', { exact: true }).selectOption({ label: release });
  await dialog.getByLabel('into').selectOption('production');
  await expect(dialog.getByRole('row').filter({ hasText: 'acme' })).toBeVisible();
  await picture(page, `preview-${release}`, false);
  await dialog.getByRole('button', { name: `Promote ${release} into production` }).click();
  await expect(page).toHaveURL(/\/promotions\/.+/);
  await settled(page);
  await expect(page.getByRole('region', { name: 'Approvals' })).toContainText('0 of 1', minutes(2));
  return new URL(page.url()).pathname;
}

async function approve(page: Page, address: string, release: string) {
  await page.goto(address);
  await settled(page);
  await page.getByRole('button', { name: 'Approve …' }).click();
  const decide = page.getByRole('dialog', { name: `Approve ${release} for production` });
  await decide.getByLabel('Reason').fill('seen in test');
  await decide.getByRole('button', { name: 'Approve', exact: true }).click();
  await expect(decide).toBeHidden();
}

test('r2 waits for somebody else, gets its traffic by weight, and stays', async ({ as }) => {
  const olga = await as('olga');
  const address = await promote(olga, 'r2');
  await pictures(olga, 'waits');
  const bert = await as('bert');
  await approve(bert, address, 'r2');
  await expect(olga.getByRole('region', { name: 'Approvals' })).toContainText('bert approved it');

  // Nobody reloads the page: the weights and their evidence come by themselves.
  const anna = await as('anna');
  await anna.goto('/');
  const traffic = olga.getByRole('region', { name: 'Traffic and verdicts' });
  await expect(anna.getByText('25 % on the new release')).toBeVisible(minutes(4));
  await picture(anna, 'pipeline-canary');
  await expect(traffic.getByText('25 % on the new release')).toBeVisible(minutes(7));
  await expect(traffic.getByRole('img', { name: /picking_validate\.seconds/ }).first()).toBeVisible();
  await accessible(olga);
  await pictures(olga, 'canary');
  await expect(traffic.getByText('50 % on the new release')).toBeVisible(minutes(7));
  await expect(olga.getByRole('heading', { level: 1 })).toContainText('promoted', minutes(4));
  await expect(olga.getByText('Ended', { exact: true })).toBeVisible();
  await accessible(olga);
  await pictures(olga, 'promoted');
});

test('r4 goes back by itself, says why, and its waybill is proof of it', async ({ as }) => {
  const olga = await as('olga');
  const address = await promote(olga, 'r4');
  const bert = await as('bert');
  await approve(bert, address, 'r4');
  await expect(olga.getByRole('heading', { level: 1 })).toContainText('rolled back', minutes(6));
  await expect(olga.locator('main')).toContainText('It went back');
  await expect(olga.locator('main')).toContainText('printed'); // the label: what the flow met in production
  const steps = olga.getByRole('region', { name: 'Steps of acme' }).getByRole('listitem');
  await expect(steps.filter({ hasText: 'verify' }).first()).toContainText('failed');
  await expect(steps.filter({ hasText: 'undo' }).first()).toBeVisible();
  await accessible(olga);
  await pictures(olga, 'went-back');

  const download = olga.waitForEvent('download');
  await olga.getByRole('link', { name: 'Export the waybill' }).click();
  const file = await (await download).path();
  expect(await waybill(['verify', file, '-o', 'json'])).toContain('r4');

  await olga.goto('/');
  await settled(olga);
  await expect(olga.getByRole('region', { name: 'production' })).toContainText('r2');
  await pictures(olga, 'pipeline');
});
