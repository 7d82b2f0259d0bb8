import { CopyButton } from '@mantine/core';
import classes from './Digest.module.css';
import { short } from './words';

/** A digest, short; a press copies all of it. */
export function Digest({ of }: { of: string }) {
  if (!of) return null;
  return (
    <CopyButton value={of} timeout={1_500}>
      {({ copied, copy }) => (
        <button
          type="button"
          className={classes.digest}
          onClick={copy}
          title={of}
          aria-label={`Copy digest ${short(of)}`}
        >
          <code>{copied ? 'copied' : short(of)}</code>
        </button>
      )}
    </CopyButton>
  );
}
