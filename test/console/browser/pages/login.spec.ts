import { accessible, fits, picture, schemes, screens } from '../look';
import { expect, settled, signIn, test } from '../people';
import { scene, waybill } from '../scene';

// Who is not signed in is told so by a 401, which a browser writes down as an error.
const unauthorised = /status of 401/;

test('who is not signed in sees the login and nothing else, at whatever address', async ({ nobody, complaints }) => {
  complaints.expect(unauthorised);
  for (const colorScheme of schemes) {
    const page = await nobody({ colorScheme });
    await page.goto('/releases');
    await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible();
    await expect(page.getByRole('navigation')).toHaveCount(0);
    for (const [screen, size] of Object.entries(screens)) {
      await page.setViewportSize(size);
      await fits(page);
      await accessible(page);
      await picture(page, `login-${screen}-${colorScheme}`);
    }
  }
});

test('a wrong password is refused, and no more is said than for a name that nobody has', async ({
  nobody,
  complaints,
}) => {
  complaints.expect(unauthorised);
  const page = await nobody();
  await page.goto('/');
  await signIn(page, 'vera', 'not the password of anybody');
  const said = await page.getByRole('alert').textContent();
  await accessible(page);
  await expect(page.getByRole('navigation')).toHaveCount(0);
  await page.reload();
  await signIn(page, 'nobody-has-this-name', 'not the password of anybody');
  expect(await page.getByRole('alert').textContent()).toBe(said);
  expect(await page.context().cookies()).toEqual([]);
});

test('by keyboard alone: sign in, and land on the page that was asked for', async ({ nobody, complaints }) => {
  complaints.expect(unauthorised);
  const page = await nobody();
  await page.goto('/releases');
  await expect(page.getByRole('textbox', { name: 'Name' })).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('textbox', { name: 'Name' })).toBeFocused();
  await page.keyboard.type('vera');
  await page.keyboard.press('Tab');
  await page.keyboard.type(scene.passwords.vera ?? '');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Releases', level: 1 })).toBeFocused();
  await settled(page);
});

test('signing out leads to the login, and back is no way in', async ({ nobody, complaints }) => {
  complaints.expect(unauthorised);
  const page = await nobody();
  await page.goto('/');
  await signIn(page, 'vera');
  await settled(page);
  await page.getByRole('link', { name: 'Releases' }).click();
  await settled(page);
  await page.getByRole('button', { name: /^You are vera/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible();
});

test('a session that ends elsewhere leads to the login by itself', async ({ nobody, complaints }) => {
  complaints.expect(unauthorised);
  const page = await nobody();
  await page.goto('/');
  await signIn(page, 'walt');
  await settled(page);
  await waybill(['user', 'password', 'walt'], `${scene.passwords.walt}\n`); // setting it ends all sessions of the user
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible();
  await signIn(page, 'walt');
  await settled(page);
});

test('whose session is gone is led to the login by the next thing they ask for', async ({ nobody, complaints }) => {
  complaints.expect(unauthorised);
  const page = await nobody();
  await page.goto('/');
  await signIn(page, 'vera');
  await settled(page);
  await page.context().clearCookies();
  const login = page.getByRole('button', { name: 'Sign in', exact: true });
  // The page itself may ask for something first: then the link is gone before it is pressed.
  await Promise.race([page.getByRole('link', { name: 'Releases' }).click(), login.waitFor()]);
  await expect(login).toBeVisible();
});
