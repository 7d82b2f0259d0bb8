import type { Page } from '@playwright/test';
import { accessible, fits, picture, schemes, screens } from '../look';
import { expect, settled, test } from '../people';
import { scene } from '../scene';
import { fileName, isOf, pages } from '../table';

// Those that show most of what a page can show; the address of any other page with a parameter is looked for in links.
const addresses: Record<string, [string, string][]> = {
  '/promotions/:id': [
    ['promotion-under-way', `/promotions/${scene.ids.underway ?? ''}`],
    ['promotion-promoted', `/promotions/${scene.ids.good}`],
    ['promotion-rolled-back', `/promotions/${scene.ids.back}`],
  ],
};

/** Follows links from the pages without a parameter, until one leads to that page. */
async function linkTo(page: Page, wanted: string): Promise<string> {
  for (const from of pages.filter((p) => !p.includes(':'))) {
    await page.goto(from);
    await settled(page);
    const links = await page
      .locator('main a[href^="/"]')
      .evaluateAll((list) => list.map((a) => a.getAttribute('href')));
    const found = links.find((href) => href && isOf(wanted, href));
    if (found) return found;
  }
  throw new Error(`no page has a link to ${wanted}; nobody finds it`);
}

async function newest(page: Page): Promise<string> {
  const answer = await page.request.get('/api/v1/promotions?limit=1');
  return ((await answer.json()) as { id: string }[])[0]?.id ?? '';
}

for (const wanted of pages) {
  for (const scheme of schemes) {
    for (const [name, given] of addresses[wanted] ?? [[fileName(wanted), '']]) {
      test(`${name}, ${scheme}`, async ({ as }) => {
        const page = await as('olga', { colorScheme: scheme });
        let address = given || wanted;
        if (!given && wanted.includes(':')) address = await linkTo(page, wanted);
        if (address === '/promotions/') address += await newest(page);
        await page.goto(address);
        await settled(page);
        await expect(page).toHaveTitle(/ · Waybill$/);
        await expect(page.getByRole('alert')).toHaveCount(0);
        for (const [screen, size] of Object.entries(screens)) {
          await page.setViewportSize(size);
          await fits(page);
          if (screen !== 'tablet') await accessible(page); // the widest and the narrowest
          await picture(page, `${name}-${screen}-${scheme}`);
        }
      });
    }
  }
}

test('an address that is none says so', async ({ as }) => {
  const page = await as('vera');
  await page.goto('/nowhere');
  await settled(page);
  await expect(page.getByRole('heading', { name: 'Nothing is here' })).toBeVisible();
  await accessible(page);
});
