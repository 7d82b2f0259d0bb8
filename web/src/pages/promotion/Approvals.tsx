import { Button, Modal, Textarea } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, ask, type Schemas } from '../../api/client';
import { approvals } from '../../api/queries';
import { useMay } from '../../shell/session';
import { Failure, Loaded } from '../../ui/Empty';
import { useFocusBack } from '../../ui/focus';
import { Facts, Sheet } from '../../ui/Page';
import { Sign, State } from '../../ui/State';
import { When } from '../../ui/When';
import classes from './Gates.module.css';

/** Who must agree, who has, and the way to say so. */
export function Approvals({ of: p }: { of: Schemas['Promotion'] }) {
  const state = useQuery(approvals(p.id));
  return (
    <Loaded query={state} what="Reading the approvals">
      {(s) => (s.needed > 0 || s.given?.length ? <Asked of={s} promotion={p} /> : null)}
    </Loaded>
  );
}

function Asked({ of: s, promotion: p }: { of: Schemas['State']; promotion: Schemas['Promotion'] }) {
  const [deciding, decide] = useState<'approve' | 'reject'>();
  const may = useMay();
  const open = !p.finished && !s.rejected && s.have < s.needed;
  return (
    <Sheet
      title="Approvals"
      id="approvals"
      aside={
        <State
          said={
            s.rejected
              ? { tone: 'bad', text: 'rejected' }
              : s.have >= s.needed
                ? { tone: 'good', text: 'given' }
                : { tone: 'wait', text: `${s.have} of ${s.needed}` }
          }
        />
      }
    >
      <ul className={classes.needs}>
        {s.needs?.map((n) => (
          <li key={`${n.what}${n.class}${n.roles?.join()}`} className={classes.rule}>
            <Sign tone={(n.by?.length ?? 0) >= n.required ? 'good' : 'wait'} />
            <span>
              {n.required} of {n.roles?.join(' or ')}
              {n.class && ` for class ${n.class}`}
              {n.by?.length ? `: ${n.by.join(', ')}` : ': nobody yet'}
            </span>
          </li>
        ))}
      </ul>
      <ul className={classes.given}>
        {s.given?.map((g) => (
          <li key={g.id} className={classes.rule}>
            <Sign tone={g.decision === 'reject' ? 'bad' : g.lapsed ? 'none' : 'good'} />
            <div>
              <strong>{g.by}</strong> {g.decision === 'reject' ? 'rejected it' : 'approved it'} <When at={g.at} />
              {g.reason && <p>“{g.reason}”</p>}
              {g.lapsed && <p className={classes.soft}>lapsed: {g.lapsed}</p>}
            </div>
          </li>
        ))}
      </ul>
      {open && (
        <>
          {s.why && <p className={classes.soft}>{s.why}</p>}
          <div className={classes.buttons}>
            {may('promotion.approve', p.environment) && (
              <Button onClick={() => decide('approve')} disabled={!s.planned}>
                Approve …
              </Button>
            )}
            {may('promotion.reject', p.environment) && (
              <Button variant="default" onClick={() => decide('reject')}>
                Reject …
              </Button>
            )}
          </div>
          {!s.planned && <p className={classes.soft}>It can be approved once it is known what would be done.</p>}
        </>
      )}
      {deciding && <Decide how={deciding} of={s} promotion={p} close={() => decide(undefined)} />}
    </Sheet>
  );
}

// At random, so that a decision that is sent twice is one.
const decisionID = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

function Decide({
  how,
  of: s,
  promotion: p,
  close,
}: {
  how: 'approve' | 'reject';
  of: Schemas['State'];
  promotion: Schemas['Promotion'];
  close: () => void;
}) {
  useFocusBack();
  const [reason, setReason] = useState('');
  const [id] = useState(decisionID);
  const [binding] = useState(s.binding ?? 'none'); // of what was looked at: another plan is refused
  const cache = useQueryClient();
  const decision = useMutation({
    mutationFn: () => {
      const request = { params: { path: { id: p.id } }, body: { id, reason, binding } };
      return ask(
        how === 'approve'
          ? api.POST('/api/v1/promotions/{id}/approve', request)
          : api.POST('/api/v1/promotions/{id}/reject', request),
      );
    },
    onSuccess: (state) => {
      cache.setQueryData(approvals(p.id).queryKey, state);
      void cache.invalidateQueries({ queryKey: ['promotion', p.id] });
      close();
    },
  });
  return (
    <Modal
      opened
      onClose={close}
      size="lg"
      title={
        how === 'approve'
          ? `Approve ${p.release_name} for ${p.environment}`
          : `Reject ${p.release_name} for ${p.environment}`
      }
    >
      <form
        className={classes.form}
        onSubmit={(e) => {
          e.preventDefault();
          decision.mutate();
        }}
      >
        {how === 'approve' ? (
          <>
            <p className={classes.soft}>You approve this very plan. When it changes, your approval lapses by itself.</p>
            {s.plans?.map((plan) => (
              <Facts
                key={plan.tenant}
                of={[
                  ['Tenant', plan.tenant],
                  ['Class', plan.class],
                  ['Updates', plan.update?.join(', ')],
                  ['Installs', plan.install?.join(', ')],
                  ['Rehearsal', plan.rehearsal ?? 'none'],
                ]}
              />
            ))}
          </>
        ) : (
          <p className={classes.soft}>
            The promotion ends, and nothing of it is done. The reason stands in its waybill.
          </p>
        )}
        <Textarea
          label={how === 'approve' ? 'Reason (may be left out)' : 'Reason'}
          required={how === 'reject'}
          maxLength={500}
          autosize
          minRows={2}
          value={reason}
          onChange={(e) => setReason(e.currentTarget.value)}
          data-autofocus
        />
        {decision.error && <Failure cause={decision.error} />}
        <div className={classes.buttons}>
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" color={how === 'reject' ? 'red' : undefined} loading={decision.isPending}>
            {how === 'approve' ? 'Approve' : 'Reject'}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
