import { useQuery } from '@tanstack/react-query';
import type { Schemas } from '../../api/client';
import { rehearsal } from '../../api/queries';
import { Empty, Loaded } from '../../ui/Empty';
import { Facts, Sheet } from '../../ui/Page';
import { Note, State } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import { Locks } from './Locks';
import classes from './Traffic.module.css';

/** What the rehearsal proved before anything was touched. */
export function RehearsalSheet({ of }: { of: Schemas['Rollout'] }) {
  if (!of.rehearsal) {
    return (
      <Sheet title="Rehearsal" id="rehearsal">
        <Empty
          title="This release was not rehearsed on this tenant’s data"
          command="waybill rehearse RELEASE ENVIRONMENT"
        >
          Without one its class is declared in the estate, or taken to be breaking. A rehearsal restores a checkpoint
          aside, runs the real update there, and proves the way back.
        </Empty>
      </Sheet>
    );
  }
  return <Rehearsed id={of.rehearsal} tenant={of.tenant} />;
}

function Rehearsed({ id, tenant }: { id: string; tenant: string }) {
  const found = useQuery(rehearsal(id));
  return (
    <Sheet
      title="Rehearsal"
      id="rehearsal"
      aside={
        <a href={`/api/v1/rehearsals/${id}/page`} target="_blank" rel="noreferrer">
          Whole report (new window)
        </a>
      }
    >
      <Loaded query={found} what="Reading the rehearsal">
        {(r) => (r.report ? <Report of={r.report} tenant={tenant} /> : <p>{r.progress}</p>)}
      </Loaded>
    </Sheet>
  );
}

function Report({ of: r, tenant }: { of: Schemas['Report']; tenant: string }) {
  return (
    <>
      <p>
        <State
          said={r.outcome === 'proven' ? { tone: 'good', text: `proven ${r.class}` } : { tone: 'bad', text: r.outcome }}
        />{' '}
        {r.cause || r.failure}
      </p>
      <Facts
        of={[
          ['People are predicted to wait', length(r.predicted_seconds)],
          ['A restore takes', length(r.recovery_seconds)],
          ['In one transaction', r.transactional ? 'yes' : `no: ${r.own_commit ?? ''}`],
          ['The old release afterwards', r.way_back && (r.way_back.works ? 'works' : 'does not work')],
          ['On the data of', `${r.tenant === tenant ? 'this tenant' : r.tenant}`],
          ['Recovery point', <When key="point" at={r.recovery_point} />],
        ]}
      />
      {r.timeline && <Locks of={r.timeline} modules={r.update?.modules ?? []} />}
      {r.advice?.map((a) => (
        <Note key={a.subject + a.problem} tone="wait">
          <strong>{a.subject}</strong>: {a.problem}
          <div className={classes.soft}>{a.mend}</div>
        </Note>
      ))}
    </>
  );
}
