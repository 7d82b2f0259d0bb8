import { useQuery } from '@tanstack/react-query';
import type { Schemas } from '../../api/client';
import { evidence } from '../../api/queries';
import { Loaded } from '../../ui/Empty';
import { Sheet } from '../../ui/Page';
import { Note, Sign, State } from '../../ui/State';
import { count } from '../../ui/words';
import classes from './Release.module.css';

/** What is attached to the image: who signed what, what the checks found, what is known to be vulnerable. */
export function Evidence({ of: r }: { of: Schemas['Release'] }) {
  const found = useQuery(evidence(r.digest ?? ''));
  return (
    <Loaded query={found} what="Reading what is attached to the image">
      {(e) => (
        <>
          {e.unknown && <Note tone="wait">{e.unknown}</Note>}
          <Sheet
            title="Provenance and signatures"
            id="signatures"
            aside={
              !e.unknown && (
                <State
                  said={
                    e.trusted
                      ? { tone: 'good', text: `trusted in ${e.environment}` }
                      : { tone: 'bad', text: 'not trusted' }
                  }
                />
              )
            }
          >
            {e.refusals?.map((x) => (
              <Note key={x.reason} tone="bad">
                {x.reason}
                <div className={classes.soft}>Way out: {x.way_out}</div>
              </Note>
            ))}
            <ul className={classes.said}>
              {e.attestations?.map((a, i) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: several may say the same
                <li key={i}>
                  <Sign tone={a.ok ? 'good' : 'bad'} />
                  <div>
                    <strong>{a.type}</strong> {a.ok ? `signed by ${a.key}` : a.reason}
                    {a.builder && (
                      <p className={classes.soft}>
                        built by {a.builder} from {a.source} at {a.commit?.slice(0, 10)}
                      </p>
                    )}
                  </div>
                </li>
              ))}
            </ul>
          </Sheet>
          <Checks of={e.checks} />
          <Sheet title="Known vulnerabilities" id="vulnerabilities">
            {e.vulnerabilities ? (
              <dl className={classes.counts}>
                {(['critical', 'high', 'medium', 'low'] as const).map((level) => (
                  <div key={level} data-some={(e.vulnerabilities?.[level] ?? 0) > 0 || undefined}>
                    <dt>{level}</dt>
                    <dd>{e.vulnerabilities?.[level]}</dd>
                  </div>
                ))}
              </dl>
            ) : (
              <p className={classes.soft}>Not known: {e.vulnerabilities_unknown || e.unknown}</p>
            )}
          </Sheet>
        </>
      )}
    </Loaded>
  );
}

function Checks({ of: c }: { of?: Schemas['ReleaseChecks'] }) {
  if (!c) {
    return (
      <Sheet title="Checks" id="checks">
        <p className={classes.soft}>
          No signed results are attached to the image. waybill build runs the checks and signs what they find.
        </p>
      </Sheet>
    );
  }
  const shown = (c.findings ?? []).filter((f) => !f.accepted);
  return (
    <Sheet
      title="Checks"
      id="checks"
      aside={
        <State
          said={
            c.skipped
              ? { tone: 'wait', text: 'skipped' }
              : c.errors
                ? { tone: 'bad', text: 'failed' }
                : { tone: 'good', text: 'passed' }
          }
        />
      }
    >
      <p className={classes.soft}>
        {c.skipped ||
          `${count(c.ran, 'check')} on ${count(c.modules, 'module')}: ${count(c.errors, 'error')}, ${count(c.warnings, 'warning')}, ${count(c.notes, 'note')}, ${c.accepted} accepted`}
      </p>
      <ul className={classes.said}>
        {shown.slice(0, 20).map((f, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: one place may have several
          <li key={i}>
            <Sign tone={f.severity === 'error' ? 'bad' : f.severity === 'warning' ? 'wait' : 'none'} />
            <div>
              {f.message} <span className={classes.soft}>({f.severity})</span>
              <p className={classes.soft}>
                <code>{f.place}</code> {f.fix}
              </p>
            </div>
          </li>
        ))}
      </ul>
      {shown.length > 20 && <p className={classes.soft}>and {shown.length - 20} more</p>}
    </Sheet>
  );
}
