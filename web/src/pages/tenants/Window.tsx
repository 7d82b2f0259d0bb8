import type { Schemas } from '../../api/client';
import { Sign } from '../../ui/State';
import { When } from '../../ui/When';
import classes from './Tenants.module.css';

/** When a tenant's calendar lets a release in. */
export function Window({ of: w, why }: { of?: Schemas['CalendarAnswer']; why?: boolean }) {
  if (!w) return <span className={classes.soft}>any time: no calendar is about it</span>;
  return (
    <>
      <span className={classes.window}>
        <Sign tone={w.open ? 'good' : 'wait'} size={15} />
        <span>
          {w.open ? (
            w.until ? (
              <>
                open until <When at={w.until} only="absolute" />
              </>
            ) : (
              'open'
            )
          ) : w.next ? (
            <>
              opens <When at={w.next} />
            </>
          ) : (
            'closed for good, as far as can be seen'
          )}
        </span>
      </span>
      {why && <p className={classes.soft}>{w.open ? w.why : [w.why, w.nextWhy].filter(Boolean).join('; ')}</p>}
    </>
  );
}
