import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';
import { scene } from './scene';

/** What a person meets: a desk, and a tablet held both ways. */
export const screens = {
  desktop: { width: 1440, height: 900 },
  tablet: { width: 1024, height: 768 },
  upright: { width: 768, height: 1024 },
};

export const schemes = ['light', 'dark'] as const;

const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** Nothing that axe calls serious or critical is on the page, in what is folded away either. */
export async function accessible(page: Page) {
  await page.evaluate(() => {
    for (const d of document.querySelectorAll('details:not([open])')) d.setAttribute('open', 'by-test');
  });
  await page.evaluate(() => {
    const ends = document
      .getAnimations()
      .filter((a) => a.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY);
    return Promise.all(ends.map((a) => a.finished.catch(() => undefined)));
  });
  const { violations } = await new AxeBuilder({ page })
    .options({ resultTypes: ['violations'] })
    .withTags(rules)
    .setLegacyMode(true)
    .analyze();
  await page.evaluate(() => {
    for (const d of document.querySelectorAll('details[open=by-test]')) d.removeAttribute('open');
  });
  const found = violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.impact} ${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join(' | ')}`);
  expect(found, `axe on ${page.url()}`).toEqual([]);
}

/** The page is no wider than the screen: what is too wide scrolls by itself. */
export async function fits(page: Page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(wide, `${page.url()} is wider than the screen`).toBeLessThanOrEqual(0);
}

export async function picture(page: Page, name: string, whole = true) {
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: `${scene.pictures}/${name}.png`, fullPage: whole, animations: 'disabled' });
}
