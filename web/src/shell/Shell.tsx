import { ActionIcon, Menu, Tooltip, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useContext } from 'react';
import { Link, useLocation } from 'wouter';
import type { Schemas } from '../api/client';
import { LiveContext } from '../api/live';
import { IconDark, IconLight, IconPerson, IconSignOut } from '../ui/icons';
import { When } from '../ui/When';
import { pages } from './pages';
import classes from './Shell.module.css';
import { signOut, useMay } from './session';

/** What stands around every page: where one is, whether it is live, and who one is. */
export function Shell({ who, children }: { who: Schemas['Me']; children: ReactNode }) {
  return (
    <div className={classes.shell}>
      <a href="#page" className={classes.skip}>
        Skip to the page
      </a>
      <header className={classes.bar}>
        <Link href="/" className={classes.brand} aria-label="Waybill: to the pipeline">
          <img src="/icon.svg" alt="" width="30" height="30" />
          <span>Waybill</span>
        </Link>
        <Navigation />
        <div className={classes.tools}>
          <Liveness />
          <Scheme />
          <WhoAmI who={who} />
        </div>
      </header>
      <main id="page" className={classes.main} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Navigation() {
  const [here] = useLocation();
  const may = useMay();
  return (
    <nav aria-label="Pages" className={classes.nav}>
      <ul>
        {pages.map(({ path, label, icon: Icon, asks }) => {
          if (!label || !Icon || (asks && !may(asks))) return null;
          const current = path === '/' ? here === '/' : here === path || here.startsWith(`${path}/`);
          return (
            <li key={path}>
              <Link href={path} className={classes.link} aria-current={current ? 'page' : undefined}>
                <Icon size={20} />
                <span>{label}</span>
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

const liveness = {
  live: ['live', 'The server tells what happens as it happens.'],
  asking: ['every few seconds', 'The server’s event stream cannot be had now; the page asks again by itself.'],
  connecting: ['connecting', 'The event stream of the server is being opened.'],
} as const;

function Liveness() {
  const live = useContext(LiveContext);
  const [word, explanation] = liveness[live];
  return (
    <Tooltip label={explanation} multiline w={260} events={{ hover: true, focus: true, touch: true }}>
      <span className={classes.live} data-live={live} role="status">
        <span className={classes.dot} aria-hidden="true" />
        <span>{word}</span>
      </span>
    </Tooltip>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  return (
    <ActionIcon
      onClick={() => setColorScheme(dark ? 'light' : 'dark')}
      aria-label={dark ? 'Show in light colours' : 'Show in dark colours'}
    >
      {dark ? <IconLight size={20} /> : <IconDark size={20} />}
    </ActionIcon>
  );
}

/** "operator in production" */
export function roleText(grant: Schemas['Grant']): string {
  return grant.environments?.length ? `${grant.role} in ${grant.environments.join(', ')}` : `${grant.role} everywhere`;
}

function WhoAmI({ who }: { who: Schemas['Me'] }) {
  const cache = useQueryClient();
  return (
    <Menu position="bottom-end" width={280}>
      <Menu.Target>
        <button type="button" className={classes.who} aria-label={`You are ${who.name}: roles, and sign out`}>
          <IconPerson size={20} />
          <span>{who.name}</span>
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        <div className={classes.roles}>
          <strong>{who.name}</strong>
          {who.roles?.length ? (
            <ul>
              {who.roles.map((grant) => (
                <li key={roleText(grant)}>{roleText(grant)}</li>
              ))}
            </ul>
          ) : (
            <p>has no role: ask an administrator for one</p>
          )}
          {who.expires && (
            <p>
              until <When at={who.expires} />
            </p>
          )}
        </div>
        <Menu.Divider />
        <Menu.Item leftSection={<IconSignOut size={18} />} onClick={() => void signOut(cache)}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
