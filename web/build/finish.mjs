// Compresses what was built, and holds the first load against its limit.
//
//   node build/finish.mjs dist
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = process.argv[2];
const limit = 400_000; // bytes, gzip: what a browser loads before it shows the first page
const compressible = ['.js', '.css', '.svg', '.html'];

const manifest = JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8'));
rmSync(join(dist, '.vite'), { recursive: true });

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

const size = {};
for (const path of [...files(dist)]) {
  const name = relative(dist, path);
  const content = readFileSync(path);
  size[name] = statSync(path).size;
  if (!compressible.includes(extname(name)) || name === 'index.html') continue; // the page gets its nonce when it is served
  const zipped = gzipSync(content, { level: 9 });
  const smaller = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  if (zipped.length < content.length) {
    writeFileSync(`${path}.gz`, zipped);
    writeFileSync(`${path}.br`, smaller);
    size[name] = zipped.length;
  }
}

// What the entry needs before it runs, and what every page shows: its fonts and styles.
const first = new Set(['index.html', 'scheme.js', 'icon.svg']);
const seen = new Set();
(function visit(key) {
  if (seen.has(key)) return;
  seen.add(key);
  const chunk = manifest[key];
  first.add(chunk.file);
  for (const name of [...(chunk.css ?? []), ...(chunk.assets ?? [])]) first.add(name);
  for (const name of chunk.imports ?? []) visit(name);
})('index.html');
for (const chunk of Object.values(manifest)) {
  if (/\.(css|woff2)$/.test(chunk.file)) first.add(chunk.file);
}

let total = 0;
for (const name of [...first].sort()) {
  if (size[name] === undefined) throw new Error(`${name} is in the manifest, and was not built`);
  total += size[name];
}
console.log(
  `console: first load ${(total / 1000).toFixed(1)} kB compressed, of ${limit / 1000} kB allowed (${first.size} files)`,
);
if (total > limit) {
  for (const name of [...first].sort((a, b) => size[b] - size[a]))
    console.error(`  ${(size[name] / 1000).toFixed(1)} kB  ${name}`);
  console.error('console: the first load is too large: load what not every page needs with import()');
  process.exit(1);
}
