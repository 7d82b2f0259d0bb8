import { Button, NativeSelect, TextInput } from '@mantine/core';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Fragment, useEffect, useState } from 'react';
import { Link } from 'wouter';
import { api, ask, type Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { ledger, newestEntry, status } from '../../api/queries';
import { useMay } from '../../shell/session';
import { Digest } from '../../ui/Digest';
import { ownZone } from '../../ui/days';
import { Empty, Failure, Loaded, Loading } from '../../ui/Empty';
import { Filters, Search } from '../../ui/Filters';
import { IconDownload, IconSearch } from '../../ui/icons';
import { Facts, Page, Sheet, Table } from '../../ui/Page';
import { Note } from '../../ui/State';
import { queryOf, useFilter } from '../../ui/useFilter';
import { When } from '../../ui/When';
import { count } from '../../ui/words';
import classes from './Audit.module.css';
import { asked, names } from './asked';
import { kinds, says } from './says';

/** The ledger: who did what, and when. */
export default function Audit() {
  const may = useMay();
  return (
    <Page
      title="Audit"
      lead="Who did what, and when: the ledger, to which entries are added and in which none is ever changed."
    >
      {may('ledger.read') ? (
        <Ledger />
      ) : (
        <Empty title="The ledger is not open to your roles">
          It tells of all environments and people, so it takes the role security, auditor or admin in all environments.
          What was done to a promotion that you may see stands on the promotion’s own page.
        </Empty>
      )}
    </Page>
  );
}

function Ledger() {
  const [filter, set] = useFilter(names);
  const zone = ownZone();
  const query = asked(filter, zone);
  const found = useInfiniteQuery(ledger(query));
  const fresh = useNewer(query, found);
  const environments = useQuery(status()).data?.environments ?? [];
  const rows = found.data?.pages.flatMap((p) => p.items);
  const narrowed = Object.keys(query).length > 0;
  return (
    <>
      <Filters label="Look for entries">
        <Search
          label="Text"
          placeholder="reason, release, step …"
          leftSection={<IconSearch />}
          value={filter.text}
          set={(text) => set({ text })}
        />
        <Search label="Who" placeholder="name" value={filter.actor} set={(actor) => set({ actor })} />
        <NativeSelect
          label="What"
          value={filter.kind}
          onChange={(e) => set({ kind: e.currentTarget.value })}
          data={kinds.some((k) => k.value === filter.kind) ? kinds : [...kinds, filter.kind]}
        />
        <NativeSelect
          label="Environment"
          value={filter.environment}
          onChange={(e) => set({ environment: e.currentTarget.value })}
          data={[{ value: '', label: 'all' }, ...environments.map((e) => e.name)]}
        />
        <Search label="Tenant" placeholder="name" value={filter.tenant} set={(tenant) => set({ tenant })} />
        <Search
          label="Promotion"
          placeholder="its ID"
          value={filter.promotion}
          set={(promotion) => set({ promotion })}
        />
        <TextInput
          type="date"
          label="From"
          value={filter.from}
          max={filter.to || undefined}
          onChange={(e) => set({ from: e.currentTarget.value })}
        />
        <TextInput
          type="date"
          label="To"
          value={filter.to}
          min={filter.from || undefined}
          onChange={(e) => set({ to: e.currentTarget.value })}
        />
        {narrowed && (
          <Button
            variant="default"
            onClick={() => set(Object.fromEntries(names.map((n) => [n, ''])) as Record<(typeof names)[number], string>)}
          >
            Show all
          </Button>
        )}
      </Filters>
      <Sheet
        title="Entries"
        id="entries"
        aside={
          <div className={classes.export}>
            <span className={classes.soft}>Days and times in {zone}</span>
            <Button
              component="a"
              href={`/api/v1/ledger/csv${queryOf(query)}`}
              download
              variant="default"
              size="sm"
              leftSection={<IconDownload />}
            >
              CSV
            </Button>
            <Button
              component="a"
              href={`/api/v1/ledger/jsonl${queryOf(query)}`}
              download
              variant="default"
              size="sm"
              leftSection={<IconDownload />}
            >
              JSON
            </Button>
          </div>
        }
      >
        {fresh.newer && (
          <Button fullWidth variant="light" mb="sm" onClick={fresh.show}>
            There are newer entries: show them
          </Button>
        )}
        <Loaded query={{ data: rows, error: found.error, refetch: found.refetch }} what="Reading the ledger">
          {(list) =>
            list.length === 0 ? (
              narrowed ? (
                <Empty title="No entry is like this">
                  Names and IDs must be whole; the text may stand anywhere in an entry, in either case.
                </Empty>
              ) : (
                <Empty title="The ledger is empty" command="waybill ledger list">
                  The first entry is written when the server starts, and chained a moment later.
                </Empty>
              )
            ) : (
              <>
                <Entries of={list} />
                {found.hasNextPage && (
                  <Button
                    mt="md"
                    variant="default"
                    loading={found.isFetchingNextPage}
                    onClick={() => void found.fetchNextPage()}
                  >
                    Show earlier ones
                  </Button>
                )}
                {found.error && <Failure cause={found.error} retry={() => void found.fetchNextPage()} />}
              </>
            )
          }
        </Loaded>
      </Sheet>
      <Proof />
    </>
  );
}

/** What came in since the list was read. While only its first part is shown it is simply read anew; whoever has gone
 * further back is asked, so that nothing moves under their eyes. */
function useNewer(query: ReturnType<typeof asked>, found: ReturnType<typeof useInfiniteQuery>) {
  const cache = useQueryClient();
  const newest = useQuery({ ...newestEntry(query), refetchInterval: useAskAgain() }).data ?? 0;
  const pages = (found.data as { pages: { items: Schemas['LedgerEntry'][] }[] } | undefined)?.pages;
  const top = pages?.[0]?.items[0]?.sequence ?? 0;
  const newer = pages !== undefined && !found.isPlaceholderData && newest > top;
  const short = (pages?.length ?? 0) <= 1;
  const { refetch, isFetching } = found;
  useEffect(() => {
    if (newer && short && !isFetching) void refetch();
  }, [newer, short, isFetching, refetch]);
  return {
    newer: newer && !short,
    show: () => void cache.resetQueries({ queryKey: ledger(query).queryKey, exact: true }),
  };
}

function Entries({ of: list }: { of: Schemas['LedgerEntry'][] }) {
  const [open, setOpen] = useState<number>();
  return (
    <Table label="Entries of the ledger" head={['Entry', 'When', 'Who', 'What', 'Where', 'Says']}>
      {list.map((e) => {
        const shown = open === e.sequence;
        return (
          <Fragment key={e.sequence}>
            <tr>
              <td>
                <button
                  type="button"
                  className={classes.number}
                  aria-expanded={shown}
                  aria-label={`Entry ${e.sequence}: ${shown ? 'hide' : 'show'} what it holds`}
                  onClick={() => setOpen(shown ? undefined : e.sequence)}
                >
                  {e.sequence.toLocaleString('en')}
                </button>
              </td>
              <td className={classes.when}>
                <When at={e.time} only="absolute" />
              </td>
              <td>{e.actor}</td>
              <td>
                <code>{e.kind}</code>
              </td>
              <td>
                {[e.environment, e.tenant].filter(Boolean).join('/') || '–'}
                {e.promotion && (
                  <div>
                    <Link href={`/promotions/${e.promotion}`} className={classes.id}>
                      {e.promotion}
                    </Link>
                  </div>
                )}
              </td>
              <td className={classes.says}>{says(e.payload)}</td>
            </tr>
            {shown && (
              <tr>
                <td colSpan={6} className={classes.whole}>
                  <Whole of={e} />
                </td>
              </tr>
            )}
          </Fragment>
        );
      })}
    </Table>
  );
}

/** All that an entry holds. */
function Whole({ of: e }: { of: Schemas['LedgerEntry'] }) {
  return (
    <div className={classes.holds}>
      <Facts
        of={[
          ['Written', <When key="at" at={e.time} />],
          [
            'Release',
            e.release && <Link href={`/releases/${encodeURIComponent(e.release)}`}>{e.release.slice(0, 19)}</Link>,
          ],
          ['Rollout', e.rollout],
          ['Hash', <Digest key="hash" of={e.hash} />],
          ['Hash of the entry before', <Digest key="previous" of={e.previous} />],
        ]}
      />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className={classes.payload} tabIndex={0} aria-label={`What entry ${e.sequence} holds`}>
        <pre>{JSON.stringify(e.payload, null, 2)}</pre>
      </section>
    </div>
  );
}

/** Whether anybody has touched the ledger. */
function Proof() {
  const [asks, ask1] = useState(false);
  const verified = useQuery({
    queryKey: ['ledger verification'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/ledger/verification', { signal })),
    enabled: asks,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Sheet title="Was it touched?" id="proof">
      <p className={classes.proof}>
        Each entry holds the hash of the one before, and heads of the chain are signed: whoever alters, removes, moves
        or inserts an entry is found. The server checks with its own keys; whoever does not trust the server takes the
        whole ledger and checks it elsewhere with <code>waybill ledger verify --file</code>.
      </p>
      <div className={classes.export}>
        <Button
          variant="default"
          loading={verified.isFetching}
          onClick={() => (asks ? void verified.refetch() : ask1(true))}
        >
          Verify the whole ledger
        </Button>
        <Button
          component="a"
          href="/api/v1/ledger/export"
          download="waybill-ledger-whole.jsonl"
          variant="default"
          leftSection={<IconDownload />}
        >
          Take the whole ledger
        </Button>
      </div>
      <div aria-live="polite" className={classes.verdict}>
        {verified.isFetching ? (
          <Loading what="Reading every entry" />
        ) : verified.error ? (
          <Failure cause={verified.error} />
        ) : verified.data ? (
          <Verdict of={verified.data} />
        ) : null}
      </div>
    </Sheet>
  );
}

function Verdict({ of: r }: { of: Schemas['LedgerReport'] }) {
  return r.ok ? (
    <Note tone="good">
      Nothing was touched: {count(r.entries, 'entry', 'entries')} and {count(r.heads, 'signed head')} fit.
    </Note>
  ) : (
    <Note tone="bad">
      <strong>The ledger was touched.</strong> It is good up to entry {r.entries.toLocaleString('en')}.
      {r.problem && (
        <div>
          {r.problem.fault}: {r.problem.detail}
        </div>
      )}
      <div>What to do: docs/ledger.md.</div>
    </Note>
  );
}
