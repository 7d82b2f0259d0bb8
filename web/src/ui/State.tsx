import { IconBack, IconBad, IconBusy, IconGood, IconNone, IconWait, IconWarning } from './icons';
import classes from './State.module.css';
import type { Said, Tone } from './words';

// Each tone has a shape of its own: the colour is never all that tells them apart.
const shapes: Record<Tone, typeof IconGood> = {
  good: IconGood,
  busy: IconBusy,
  wait: IconWait,
  back: IconBack,
  bad: IconBad,
  none: IconNone,
};

/** The sign of a tone, for where the word stands beside it. */
export function Sign({ tone, size = 16 }: { tone: Tone; size?: number }) {
  const Shape = shapes[tone];
  return (
    <span className={classes.sign} data-tone={tone} aria-hidden="true">
      <Shape size={size} />
    </span>
  );
}

/** How something stands: sign, word and colour. */
export function State({ said, big }: { said: Said; big?: boolean }) {
  return (
    <span className={classes.state} data-tone={said.tone} data-big={big || undefined}>
      <Sign tone={said.tone} size={big ? 18 : 14} />
      {said.text}
    </span>
  );
}

/** Something that somebody must know of. */
export function Note({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return (
    <div className={classes.note} data-tone={tone}>
      {tone === 'wait' ? (
        <span className={classes.sign} data-tone={tone} aria-hidden="true">
          <IconWarning size={18} />
        </span>
      ) : (
        <Sign tone={tone} size={18} />
      )}
      <div>{children}</div>
    </div>
  );
}
