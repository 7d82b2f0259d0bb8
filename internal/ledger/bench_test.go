package ledger

import (
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// BenchmarkLedger (make bench-ledger) tells how many entries are appended and verified in a second, beside
// plain INSERTs of the same rows, in transactions of the same size, into a table without a chain.
func BenchmarkLedger(b *testing.B) {
	const rounds, transactions, rows = 5, 400, 10
	for range b.N {
		s := setup(b)
		s.exec("create table plain (like ledger_outbox including all)")
		event := func(i int) Event {
			return Event{Actor: "ann", Kind: RolloutStep, Environment: "production", Tenant: fmt.Sprintf("t%d", i%300), Promotion: fmt.Sprintf("p%d", i/1000),
				Rollout: fmt.Sprintf("r%d", i%900), Release: "sha256:abc", Payload: map[string]any{"step": "update", "outcome": "done", "detail": "updated sale, stock in 12.3 s; flows passed", "number": i}}
		}
		timed := func(f func()) time.Duration {
			start := time.Now()
			f()
			return time.Since(start)
		}
		var plain, recorded, chained time.Duration
		for round := range rounds { // by turns, so that what slows the machine down slows both
			plain += timed(func() {
				for t := range transactions {
					require.NoError(b, pgx.BeginFunc(b.Context(), s.store.Pool, func(tx pgx.Tx) error {
						for i := range rows {
							e := event((round*transactions+t)*rows + i)
							payload, err := encode(e.Payload)
							if err != nil {
								return err
							}
							if _, err := tx.Exec(b.Context(), `insert into plain (actor, kind, environment, tenant, promotion, rollout, release, payload)
								values ($1, $2, $3, $4, $5, $6, $7, $8)`, e.Actor, e.Kind, e.Environment, e.Tenant, e.Promotion, e.Rollout, e.Release, string(payload)); err != nil {
								return err
							}
						}
						return nil
					}))
				}
			})
			recorded += timed(func() {
				for t := range transactions {
					require.NoError(b, pgx.BeginFunc(b.Context(), s.store.Pool, func(tx pgx.Tx) error {
						for i := range rows {
							if err := Record(b.Context(), tx, event((round*transactions+t)*rows+i)); err != nil {
								return err
							}
						}
						return nil
					}))
				}
			})
			chained += timed(func() { s.cover() })
		}
		n := rounds * transactions * rows
		s.exec(`insert into ledger_outbox (actor, kind, environment, tenant, promotion, rollout, release, payload)
			select actor, kind, environment, tenant, promotion, rollout, release, payload from plain, generate_series(1, $1)`, 100_000/n-1)
		bulk := timed(func() { s.cover() })
		verified := timed(func() {
			r, err := Verification{Lines: func() iter.Seq2[Line, error] { return s.ledger.Lines(b.Context()) }, Keys: s.keys()}.Verify()
			require.NoError(b, err)
			require.True(b, r.OK)
			require.Equal(b, int64(100_000), r.Entries)
		})
		read := timed(func() { require.NoError(b, Write(io.Discard, s.ledger.Lines(b.Context()))) })
		second := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
		b.ReportMetric(second(n, plain), "plain/s")
		b.ReportMetric(second(n, recorded), "recorded/s")
		b.ReportMetric(second(n, recorded+chained), "appended/s")
		b.ReportMetric(second(100_000, verified), "verified/s")
		fmt.Printf("\nledger, %d rows in transactions of %d, entries a second:\n", n, rows)
		fmt.Printf("  plain INSERT, no chain         %10.0f\n", second(n, plain))
		fmt.Printf("  recorded (in the act's own)    %10.0f   %.2f of plain: what an act waits for\n", second(n, recorded), plain.Seconds()/recorded.Seconds())
		fmt.Printf("  recorded, chained and signed   %10.0f   %.2f of plain\n", second(n, recorded+chained), plain.Seconds()/(recorded+chained).Seconds())
		fmt.Printf("  chained, from a full outbox    %10.0f\n", second(100_000-n, bulk))
		fmt.Printf("  verified, of 100000            %10.0f\n", second(100_000, verified))
		fmt.Printf("  exported, of 100000            %10.0f\n\n", second(100_000, read))
	}
}
