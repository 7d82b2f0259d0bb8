import type { Page } from '@playwright/test';
import { expect, settled, test } from '../people';
import { scene } from '../scene';
import { pages } from '../table';

/** Goes through a page with the Tab key, from its beginning to its end, and says where it came by. */
async function tabThrough(page: Page): Promise<{ all: number; missed: string[]; unseen: string[] }> {
  const all = await page.evaluate(() => {
    const inner =
      'a[href], button:not([disabled]), input:not([disabled]), select:not([disabled]), textarea, summary, [tabindex="0"]';
    const list = [...document.querySelectorAll<HTMLElement>(inner)].filter(
      (e) => e.tabIndex >= 0 && e.checkVisibility(),
    );
    list.forEach((e, i) => {
      e.dataset.stop = String(i);
    });
    document.querySelector<HTMLElement>('[data-stop="0"]')?.focus();
    return list.map((e) => `${e.tagName} ${(e.ariaLabel ?? e.textContent ?? '').trim().slice(0, 40)}`);
  });
  const seen = new Set<number>([0]);
  const unseen: string[] = [];
  for (let i = 0; i < 4 * all.length + 20 && seen.size < all.length; i++) {
    await page.keyboard.press('Tab');
    // A field for a date has several stops within it.
    const at = await page.evaluate(() => {
      const e = document.activeElement as HTMLElement | null;
      if (!e || e === document.body) return undefined;
      const style = getComputedStyle(e);
      const marked = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2;
      return { stop: Number(e.dataset.stop ?? -1), marked };
    });
    if (!at) continue;
    seen.add(at.stop);
    if (!at.marked) unseen.push(all[at.stop] ?? 'something else');
  }
  return { all: all.length, missed: all.filter((_, i) => !seen.has(i)), unseen };
}

for (const address of [...pages.filter((p) => !p.includes(':')), `/promotions/${scene.ids.back}`]) {
  test(`everything on ${address} is reached by keyboard, and one sees where one is`, async ({ as }) => {
    const page = await as('olga');
    await page.goto(address);
    await settled(page);
    // The pages are live: where something came in while one was on the way, one goes again.
    await expect(async () => {
      const { all, missed, unseen } = await tabThrough(page);
      expect(all).toBeGreaterThan(8);
      expect(missed, 'not reached').toEqual([]);
      expect(unseen, 'without a mark').toEqual([]);
    }).toPass({ timeout: 120_000 });
  });
}

test('the first link skips to the page', async ({ as }) => {
  const page = await as('vera');
  await page.goto('/');
  await settled(page);
  const skip = page.getByRole('link', { name: 'Skip to the page' });
  await skip.focus();
  await expect(skip).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('main')).toBeFocused();
});

test('from page to page by keyboard, landing on the name of each', async ({ as }) => {
  const page = await as('vera');
  await page.goto('/');
  await settled(page);
  const nav = page.getByRole('navigation', { name: 'Pages' });
  const [first, ...others] = await nav.getByRole('link').all();
  for (const link of [...others, ...(first ? [first] : [])]) {
    // the first one is where one is
    await link.focus();
    await page.keyboard.press('Enter');
    await settled(page);
    await expect(link).toHaveAttribute('aria-current', 'page');
    await expect(page.getByRole('heading', { level: 1 })).toBeFocused();
  }
});

test('a dialog keeps the keyboard, Escape closes it, and one is where one was', async ({ as }) => {
  const page = await as('olga');
  await page.goto('/');
  await settled(page);
  const button = page.getByRole('button', { name: 'Promote a release' });
  await button.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Promote a release' });
  await expect(dialog).toBeVisible();
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => Boolean(document.activeElement?.closest('[role=dialog]')))).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(button).toBeFocused();
});
