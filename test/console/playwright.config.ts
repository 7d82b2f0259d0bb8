import { defineConfig } from '@playwright/test';
import { scene } from './browser/scene';

// Run by the Go tests beside this file, which start the server and say in scene.json where it is: hack/test.sh console.
export default defineConfig({
  testDir: 'browser',
  forbidOnly: true,
  fullyParallel: true,
  workers: 2,
  timeout: 180_000, // for machines that are busy; all of it takes seconds on one that is not
  expect: { timeout: 30_000 },
  reporter: [['list', { printSteps: false }]],
  use: {
    baseURL: scene.url,
    viewport: { width: 1440, height: 900 },
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.WAYBILL_CHROMIUM || '/usr/bin/chromium', // Debian's own
      args: [
        '--no-sandbox', // in a container or as root there is none to be had
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  projects: [
    // What changes something; the pages are looked at afterwards, with a promotion under way.
    { name: 'acts', testMatch: 'acts/*.spec.ts' },
    { name: 'pages', testMatch: 'pages/*.spec.ts' },
    { name: 'story', testMatch: 'story/*.spec.ts', timeout: 15 * 60_000 },
  ].map((project) => ({ ...project, outputDir: `${scene.pictures}/failed/${project.name}` })),
});
