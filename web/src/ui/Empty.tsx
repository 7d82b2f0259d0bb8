import { Button, CopyButton, Loader } from '@mantine/core';
import type { ReactNode } from 'react';
import { Problem } from '../api/client';
import classes from './Empty.module.css';
import { IconCopy, IconGood } from './icons';
import { Note } from './State';

/** A command to type, which can be taken along. */
export function Command({ children }: { children: string }) {
  return (
    <span className={classes.command}>
      <code>{children}</code>
      <CopyButton value={children} timeout={2_000}>
        {({ copied, copy }) => (
          <button
            type="button"
            className={classes.copy}
            onClick={copy}
            aria-label={copied ? 'Copied' : `Copy: ${children}`}
          >
            {copied ? <IconGood size={18} /> : <IconCopy size={18} />}
          </button>
        )}
      </CopyButton>
    </span>
  );
}

/** Nothing is here yet: what would be, and how it comes. */
export function Empty({
  title,
  children,
  command,
  action,
}: {
  title: string;
  children?: ReactNode;
  command?: string;
  action?: ReactNode;
}) {
  return (
    <div className={classes.empty}>
      <p className={classes.title}>{title}</p>
      {children && <div className={classes.text}>{children}</div>}
      {command && <Command>{command}</Command>}
      {action}
    </div>
  );
}

/** What went wrong, in the server's own words, and a way to try again. */
export function Failure({ cause, retry }: { cause: unknown; retry?: () => void }) {
  const problem = cause instanceof Problem ? cause : undefined;
  const text = cause instanceof Error ? cause.message : String(cause);
  return (
    <div role="alert">
      <Note tone={problem?.status === 403 ? 'wait' : 'bad'}>
        <strong>{problem?.title ?? 'This did not work'}</strong>
        {text !== problem?.title && <div>{text}</div>}
        {retry && (
          <Button mt="sm" size="sm" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Note>
    </div>
  );
}

/** What is asked for is on its way. */
export function Loading({ what = 'Loading' }: { what?: string }) {
  return (
    <div className={classes.loading} role="status">
      <Loader size="sm" aria-hidden="true" /> <span>{what} …</span>
    </div>
  );
}

/** Shows what was asked for, or why it is not there. What was there before stays while it is asked for again. */
export function Loaded<T>({
  query,
  what,
  children,
}: {
  query: { data: T | undefined; error: unknown; refetch: () => unknown };
  what?: string;
  children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <Failure cause={query.error} retry={() => void query.refetch()} />;
  return <Loading what={what} />;
}
