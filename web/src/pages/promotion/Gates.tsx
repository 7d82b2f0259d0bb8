import { useQuery } from '@tanstack/react-query';
import type { Schemas } from '../../api/client';
import { gates } from '../../api/queries';
import { Loaded } from '../../ui/Empty';
import { Sheet } from '../../ui/Page';
import { Sign } from '../../ui/State';
import { When } from '../../ui/When';
import { gateStanding } from '../../ui/words';
import classes from './Gates.module.css';

const order = ['deny', 'wait', 'warn', 'excepted', 'skipped', 'allow'];

/** What the gates said of a promotion: each rule, whether it holds, and why. */
export function Gates({ of: p, tenant }: { of: Schemas['Promotion']; tenant?: string }) {
  const asked = useQuery(gates(p.id));
  if (p.kind !== 'promote' && p.kind !== 'configuration') return null;
  return (
    <Sheet title="Gates" id="gates">
      <Loaded query={asked} what="Reading the gates">
        {(list) => {
          const shown = tenant ? list.filter((g) => g.tenant === tenant) : list;
          if (shown.length === 0) {
            return (
              <p className={classes.soft}>
                {p.finished ? 'No gate was asked.' : 'Not asked yet.'} Policies, approvals and calendars stand in the
                estate: docs/gates.md.
              </p>
            );
          }
          return shown.map((g) => <Answer key={g.tenant} of={g} named={shown.length > 1} />);
        }}
      </Loaded>
    </Sheet>
  );
}

function Answer({ of: g, named }: { of: Schemas['Gate']; named: boolean }) {
  const rules = [...(g.answer.rules ?? [])].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  return (
    <div className={classes.answer}>
      {named && <h3>{g.tenant}</h3>}
      <p className={classes.soft}>
        {g.standing ? 'Waits here. ' : ''}Asked <When at={g.answer.at} />
        {g.answer.from && (
          <>
            ; if nothing else changes, open <When at={g.answer.from} />
          </>
        )}
      </p>
      <ul className={classes.rules}>
        {rules.map((r) => (
          <Rule key={`${r.policy}/${r.rule}`} of={r} />
        ))}
      </ul>
    </div>
  );
}

function Rule({ of: r }: { of: Schemas['RuleResult'] }) {
  const said = gateStanding(r.verdict);
  return (
    <li className={classes.rule}>
      <Sign tone={said.tone} />
      <div>
        <strong>
          {r.policy}/{r.rule}
        </strong>{' '}
        {said.text}
        {r.verdict !== 'allow' && (
          <>
            {r.message && <p>{r.message}</p>}
            {r.need?.text && <p>{r.need.text}</p>}
            {r.reason && <p>{r.reason}</p>}
            {r.from && (
              <p>
                holds by itself <When at={r.from} />
              </p>
            )}
            {r.why && <p className={classes.soft}>Why: {r.why}</p>}
          </>
        )}
      </div>
    </li>
  );
}
