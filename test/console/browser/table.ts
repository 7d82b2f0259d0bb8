import { readFileSync } from 'node:fs';

// The table of the console itself, read and not run: a page that is added to it is looked at by these tests.
const source = readFileSync(new URL('../../../web/src/shell/pages.tsx', import.meta.url), 'utf8');

/** The addresses of all pages; parts that begin with a colon stand for something. */
export const pages = [...source.matchAll(/\bpath: '([^']+)'/g)].map((m) => m[1] as string);
if (pages.length < 5)
  throw new Error(`web/src/shell/pages.tsx names ${pages.length} pages, or names them otherwise than here`);

/** Whether an address is of that page. */
export function isOf(page: string, address: string): boolean {
  const path = address.replace(/[?#].*$/, '');
  return new RegExp(`^${page.replace(/:[^/]+/g, '[^/]+')}$`).test(path);
}

/** A page's name for files: "promotions-id". */
export function fileName(page: string): string {
  return page.replace(/[/:]+/g, '-').replace(/^-|-$/g, '') || 'pipeline';
}
