import { Link } from 'wouter';
import type { Schemas } from '../../api/client';
import { Empty } from '../../ui/Empty';
import { Table } from '../../ui/Page';
import { State } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import { count, standing, title } from '../../ui/words';

/** Promotions, a row each. */
export function Lately({ of }: { of: Schemas['Promotion'][] }) {
  if (of.length === 0) {
    return (
      <Empty
        title="Nothing has been promoted yet"
        command="waybill build ./addons --name r1 && waybill promote r1 test"
      >
        Build a release, then promote it into the first environment. Each promotion stands here with its outcome, and
        has a waybill of its own.
      </Empty>
    );
  }
  return (
    <Table label="Promotions" head={['What', 'Outcome', 'Class', 'People waited', 'Asked by', 'Begun', 'Took']}>
      {of.map((p) => {
        const held = Math.max(0, ...(p.rollouts ?? []).map((r) => r.held_seconds));
        return (
          <tr key={p.id}>
            <td>
              <Link href={`/promotions/${p.id}`}>{title(p)}</Link>
              {(p.rollouts?.length ?? 0) > 1 && <small> · {count(p.rollouts?.length ?? 0, 'tenant')}</small>}
            </td>
            <td>
              <State said={standing(p)} />
            </td>
            <td>{p.class || '–'}</td>
            <td>{held > 0 ? length(held) : 'not at all'}</td>
            <td>{p.requested_by}</td>
            <td>
              <When at={p.created} />
            </td>
            <td>{p.finished ? length((Date.parse(p.finished) - Date.parse(p.created)) / 1000) : '–'}</td>
          </tr>
        );
      })}
    </Table>
  );
}
