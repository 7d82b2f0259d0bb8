import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// In development, `npm run dev` serves the pages and hands /api to a server that is up, at the address
// of `waybill up`.
const server = 'http://127.0.0.1:7480';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    manifest: true,
    cssCodeSplit: false,
    assetsInlineLimit: 0, // the policy of the page loads no data: script, style or font
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': server } },
  test: { environment: 'node' },
});
