import { type Browser, type BrowserContextOptions, test as base, expect, type Page } from '@playwright/test';
import { scene } from './scene';

/** What a browser complains of: errors on its console, uncaught exceptions, breaches of the content policy. */
export class Complaints {
  private readonly heard: string[] = [];
  private readonly expected: RegExp[] = [];

  /** Says that such a complaint is what the test is about. */
  expect(...what: RegExp[]) {
    this.expected.push(...what);
  }

  listen(page: Page, who: string) {
    page.on('console', (m) => {
      if (m.type() === 'error') this.heard.push(`${who} at ${page.url()}: ${m.text()} (${m.location().url})`);
    });
    page.on('pageerror', (e) => this.heard.push(`${who} at ${page.url()}: ${e.stack ?? e.message}`));
  }

  unexpected(): string[] {
    return this.heard.filter((h) => !this.expected.some((e) => e.test(h)));
  }
}

/** Opens a browser's context of its own, without anybody signed in. */
type Open = (options?: BrowserContextOptions) => Promise<Page>;

export interface Fixtures {
  complaints: Complaints;
  /** A page on which nobody is signed in. */
  nobody: Open;
  /** A page of somebody who has signed in by name and password. */
  as: (name: string, options?: BrowserContextOptions) => Promise<Page>;
}

const sessions = new Map<string, Awaited<ReturnType<ReturnType<Page['context']>['storageState']>>>();

export const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern
  complaints: async ({}, use) => {
    const complaints = new Complaints();
    await use(complaints);
    expect(complaints.unexpected(), 'the browser complains of nothing').toEqual([]);
  },
  nobody: async ({ browser, complaints }, use) => {
    const opened: Page[] = [];
    await use(async (options) => {
      const page = await newPage(browser, options);
      complaints.listen(page, 'nobody');
      opened.push(page);
      return page;
    });
    await Promise.all(opened.map((page) => page.context().close()));
  },
  as: async ({ browser, complaints }, use) => {
    const opened: Page[] = [];
    await use(async (name, options) => {
      if (!sessions.has(name)) {
        const page = await newPage(browser);
        await page.goto('/');
        await signIn(page, name);
        await expect(page.getByRole('navigation', { name: 'Pages' })).toBeVisible();
        sessions.set(name, await page.context().storageState());
        await page.context().close();
      }
      const page = await newPage(browser, { ...options, storageState: sessions.get(name) });
      complaints.listen(page, name);
      opened.push(page);
      return page;
    });
    await Promise.all(opened.map((page) => page.context().close()));
  },
});

async function newPage(browser: Browser, options?: BrowserContextOptions): Promise<Page> {
  const context = await browser.newContext(options);
  // A breach of the policy is an error on the console too; this one names the directive.
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) =>
      console.error(`content policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`),
    );
  });
  return context.newPage();
}

export async function signIn(page: Page, name: string, password = scene.passwords[name] ?? '') {
  await page.getByRole('textbox', { name: 'Name' }).fill(name);
  await page.getByRole('textbox', { name: 'Password' }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Waits until a page shows what it was asked for and hears of what happens. */
export async function settled(page: Page) {
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('status').filter({ hasText: /…$/ })).toHaveCount(0);
  await expect(page.getByRole('status').filter({ hasText: /^live$/ })).toBeVisible();
  await page.evaluate(() => document.fonts.ready);
}

export { expect };
