import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { releases, status } from '../../api/queries';
import { Digest } from '../../ui/Digest';
import { Empty, Loaded } from '../../ui/Empty';
import { Page, Sheet, Table } from '../../ui/Page';
import { When } from '../../ui/When';
import { count } from '../../ui/words';

/** All releases, the newest first, and where each serves. */
export default function Releases() {
  const list = useQuery(releases());
  const now = useQuery(status());
  const where = (digest: string) =>
    (now.data?.environments ?? [])
      .map((e) => ({ name: e.name, tenants: (e.tenants ?? []).filter((t) => t.serving_digest === digest).length }))
      .filter((e) => e.tenants > 0);
  return (
    <Page title="Releases" lead="Each is one image that never changes, built from one commit.">
      <Loaded query={list} what="Reading releases">
        {(found) =>
          found.length === 0 ? (
            <Empty title="There is no release yet" command="waybill build ./addons --name r1">
              A release is built from a commit of your addons: byte for byte the same wherever it is built, checked as
              Odoo would load it, and signed.
            </Empty>
          ) : (
            <Sheet>
              <Table label="Releases" head={['Release', 'Digest', 'Odoo', 'Modules', 'Commit', 'Of', 'Serves']}>
                {found.map((r) => (
                  <tr key={r.digest}>
                    <td>
                      <Link href={`/releases/${encodeURIComponent(r.digest ?? '')}`}>{r.name}</Link>
                    </td>
                    <td>
                      <Digest of={r.digest ?? ''} />
                    </td>
                    <td>{r.series}</td>
                    <td>{r.modules?.length ?? 0}</td>
                    <td>
                      <code>{r.commit.slice(0, 10)}</code>
                      {r.dirty && ' with uncommitted changes'}
                    </td>
                    <td>
                      <When at={r.created} />
                    </td>
                    <td>
                      {where(r.digest ?? '').map((e) => (
                        <div key={e.name}>
                          {e.name}: {count(e.tenants, 'tenant')}
                        </div>
                      ))}
                    </td>
                  </tr>
                ))}
              </Table>
            </Sheet>
          )
        }
      </Loaded>
    </Page>
  );
}
