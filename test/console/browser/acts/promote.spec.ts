import { readFileSync } from 'node:fs';
import { accessible, picture, schemes } from '../look';
import { expect, settled, test } from '../people';
import { waybill } from '../scene';

// One after the other: each goes on from where the one before has left production.
test.describe.configure({ mode: 'serial' });

test('asked for with a preview, not approved by who asked, rejected by another, exported and verified', async ({
  as,
  complaints,
}) => {
  complaints.expect(/status of 403/); // to approve what is one's own
  const olga = await as('olga');
  await olga.goto('/');
  await settled(olga);
  const production = olga.getByRole('region', { name: 'production' });
  await expect(production).toContainText('r5');
  await production.getByRole('button', { name: 'Promote r7 here' }).click();
  const dialog = olga.getByRole('dialog', { name: 'Promote a release' });
  await expect(dialog.getByLabel('into')).toHaveValue('production');
  // What it would do to whom, and whom it would ask, before anything is done.
  await expect(dialog.getByText('compatible', { exact: true }).first()).toBeVisible();
  await expect(dialog.getByText(/1 .*of approver or admin/)).toBeVisible();
  for (const tenant of ['demo', 'lyon', 'porto', 'bremen']) {
    await expect(dialog.getByRole('row').filter({ hasText: tenant })).toBeVisible();
  }
  for (const colorScheme of schemes) {
    await olga.emulateMedia({ colorScheme });
    await accessible(olga);
    await picture(olga, `promote-desktop-${colorScheme}`, false);
  }
  await olga.emulateMedia({ colorScheme: 'light' });
  await dialog.getByRole('button', { name: 'Promote r7 into production' }).click();

  await expect(olga).toHaveURL(/\/promotions\/.+/);
  await settled(olga);
  const approvals = olga.getByRole('region', { name: 'Approvals' });
  await expect(approvals).toContainText('0 of 1');
  await expect(olga.getByRole('listitem').filter({ hasText: 'gates' }).first()).toContainText('waits');

  // Nobody approves what they have asked for.
  await approvals.getByRole('button', { name: 'Approve …' }).click();
  const decide = olga.getByRole('dialog', { name: 'Approve r7 for production' });
  await decide.getByRole('button', { name: 'Approve', exact: true }).click();
  await expect(decide.getByRole('alert')).toContainText(/asked for|own/);
  await accessible(olga);
  await decide.getByRole('button', { name: 'Cancel' }).click();
  await expect(approvals).toContainText('0 of 1');

  const bert = await as('bert');
  await bert.goto('/promotions');
  await settled(bert);
  await bert.getByRole('link', { name: 'r7 → production' }).first().click();
  await settled(bert);
  await bert.getByRole('button', { name: 'Reject …' }).click();
  const reject = bert.getByRole('dialog', { name: 'Reject r7 for production' });
  await reject.getByRole('button', { name: 'Reject', exact: true }).click();
  await expect(reject.getByLabel('Reason')).toBeFocused(); // it is asked for
  await reject.getByLabel('Reason').fill('not before the month has closed');
  await reject.getByRole('button', { name: 'Reject', exact: true }).click();

  // Olga's page says so by itself.
  await expect(olga.getByRole('heading', { level: 1 })).toContainText('rolled back');
  await expect(approvals).toContainText('bert rejected it');
  await expect(approvals).toContainText('not before the month has closed');

  const download = olga.waitForEvent('download');
  await olga.getByRole('link', { name: 'Export the waybill' }).click();
  const file = await (await download).path();
  expect(readFileSync(file, 'utf8')).toContain('payload');
  expect(await waybill(['verify', file, '-o', 'json'])).toContain('r7');
});

test('asked for again, approved by another; it goes on, and the page with it', async ({ as }) => {
  const anna = await as('anna');
  await anna.goto('/releases');
  await settled(anna);
  await anna.getByRole('link', { name: 'r7', exact: true }).click();
  await settled(anna);
  await anna.getByRole('button', { name: 'Promote r7' }).click();
  const dialog = anna.getByRole('dialog', { name: 'Promote a release' });
  await dialog.getByLabel('into').selectOption('production');
  await dialog.getByRole('button', { name: 'Promote r7 into production' }).click();
  await expect(anna).toHaveURL(/\/promotions\/.+/);
  await settled(anna);
  const approvals = anna.getByRole('region', { name: 'Approvals' });
  await expect(approvals).toContainText('0 of 1');
  await expect(approvals.getByRole('button', { name: 'Approve …' })).toHaveCount(0); // an operator does not approve

  const bert = await as('bert');
  await bert.goto(new URL(anna.url()).pathname);
  await settled(bert);
  await bert.getByRole('button', { name: 'Approve …' }).click();
  const decide = bert.getByRole('dialog', { name: 'Approve r7 for production' });
  await expect(decide).toContainText('acme_base');
  await decide.getByLabel('Reason').fill('seen in staging');
  await decide.getByRole('button', { name: 'Approve', exact: true }).click();
  await expect(decide).toBeHidden();

  await expect(approvals).toContainText('bert approved it');
  await expect(approvals).toContainText('seen in staging');
  // The first ring has its turn; the warehouse in Bremen waits for its rings, or its window.
  await expect(anna.getByRole('row').filter({ hasText: 'demo' })).toContainText('start pool');
  await expect(anna.getByRole('row').filter({ hasText: 'bremen' })).toContainText('waits');
  await anna.getByRole('button', { name: 'Show bremen' }).click();
  await expect(anna.getByRole('heading', { name: 'Steps of bremen' })).toBeVisible();

  // The pipeline shows it under way.
  await anna.goto('/');
  await settled(anna);
  await expect(anna.getByRole('link', { name: /r7 → production/ }).first()).toBeVisible();
  await expect(anna.getByRole('button', { name: 'Promote r7 here' })).toHaveCount(0);
});
