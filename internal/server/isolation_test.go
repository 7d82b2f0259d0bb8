package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/isolation"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

func isolated(t *testing.T) *server {
	t.Helper()
	dir := folder(t)
	secrets, err := keys.Open(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	s := &server{config: Config{Data: filepath.Join(dir, "data"), Estate: declared(t)}, log: slog.New(slog.DiscardHandler), keys: secrets,
		store: storetest.Open(t, cluster(t)), address: "127.0.0.1:8800"}
	s.engine, err = promotion.New(promotion.Rooms{Store: s.store, Keys: secrets, Place: func(context.Context, estate.Environment) (promotion.Place, error) {
		return promotion.Place{}, assert.AnError // nothing runs here
	}}, "test", s.log, nil)
	require.NoError(t, err)
	return s
}

// end makes a run that ends with such attempts.
func end(t *testing.T, s *server, attempts ...isolation.Attempt) isolation.Examination {
	t.Helper()
	run, begun, err := s.store.BeginIsolation(t.Context(), "production", "somebody", 0)
	require.NoError(t, err)
	require.True(t, begun)
	report := isolation.Judge([]string{"production/r1"}, attempts, 0)
	run.Verdict, run.Says = string(report.Verdict), report.Says
	run.Report, err = json.Marshal(report)
	require.NoError(t, err)
	require.NoError(t, s.store.In(t.Context(), func(tx pgx.Tx) error { return s.endIsolation(t.Context(), tx, run, report) }))
	return report
}

// TestIsolationIncident: what is reached is an incident until a run passes; one that proves nothing mends nothing. People are told
// once of each.
func TestIsolationIncident(t *testing.T) {
	long.Test(t)
	s := isolated(t)
	own := isolation.Attempt{Pool: "production/r1", Door: bridge.DoorConnect, Control: true, Outcome: bridge.Reached}
	refused := isolation.Attempt{Pool: "production/r1", Door: bridge.DoorConnect, Target: "database fern", Outcome: bridge.Refused}
	reached, unknown := refused, refused
	reached.Outcome, unknown.Outcome = bridge.Reached, bridge.Unknown

	told := func() (notices, entries []string) {
		for _, q := range []struct {
			sql  string
			list *[]string
		}{{"select data->>'title' from notices order by id", &notices}, {"select kind from ledger_outbox union all select kind from ledger order by 1", &entries}} {
			rows, err := s.store.Pool.Query(t.Context(), q.sql)
			require.NoError(t, err)
			*q.list, err = pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
		}
		return notices, entries
	}
	_, err := s.tenantsApart(t.Context())
	require.NoError(t, err, "nothing was tried yet")

	end(t, s, own, unknown)
	_, err = s.tenantsApart(t.Context())
	require.ErrorContains(t, err, "prove nothing")
	end(t, s, own, refused)
	says, err := s.tenantsApart(t.Context())
	require.NoError(t, err)
	require.Equal(t, "apart in production", says)
	notices, entries := told()
	require.Empty(t, notices)
	require.Empty(t, entries)

	end(t, s, own, reached)
	end(t, s, own, reached)
	end(t, s, own, unknown)
	_, err = s.tenantsApart(t.Context())
	require.ErrorContains(t, err, "reached what belongs to others", "it counts for more than that the last run proved nothing")
	notices, entries = told()
	require.Equal(t, []string{"production: tenants are not apart"}, notices)
	require.Equal(t, []string{ledger.IsolationBroken}, entries)

	end(t, s, own, refused)
	_, err = s.tenantsApart(t.Context())
	require.NoError(t, err)
	end(t, s, own, refused)
	notices, _ = told()
	require.Equal(t, []string{"production: tenants are not apart", "production: tenants are apart again"}, notices)

	end(t, s, own, reached)
	notices, entries = told()
	require.Len(t, notices, 3, "another incident")
	require.Equal(t, []string{ledger.IsolationBroken, ledger.IsolationBroken, ledger.IsolationMended}, entries)
}

// TestIsolationBegins: one run at a time, as often as is due, whoever asks; one whose server was killed does not stop the next for ever.
func TestIsolationBegins(t *testing.T) {
	s := isolated(t)
	begin := func(by string, every time.Duration) (store.IsolationRun, bool) {
		run, begun, err := s.store.BeginIsolation(t.Context(), "production", by, every)
		require.NoError(t, err)
		return run, begun
	}
	first, begun := begin("", time.Hour)
	require.True(t, begun)
	require.Zero(t, first.Turn)
	_, begun = begin("", 0)
	require.False(t, begun, "one is under way")
	_, _, err := s.store.BeginIsolation(t.Context(), "production", "somebody", 0)
	require.ErrorIs(t, err, store.ErrIsolationRuns)
	_, begun, err = s.store.BeginIsolation(t.Context(), "uat", "", time.Hour)
	require.NoError(t, err)
	require.True(t, begun, "another environment is another matter")

	_, err = s.store.Pool.Exec(t.Context(), "update isolation_runs set started_at = now() - interval '31 minutes'")
	require.NoError(t, err)
	second, begun := begin("", time.Hour)
	require.True(t, begun, "nobody will ever end the first")
	require.Equal(t, 1, second.Turn)
	second.Verdict = "PASS"
	require.NoError(t, s.store.In(t.Context(), func(tx pgx.Tx) error { return s.store.EndIsolation(t.Context(), tx, second) }))
	_, begun = begin("", time.Hour)
	require.False(t, begun, "it is not due")
	_, begun = begin("somebody", 0)
	require.True(t, begun, "but may be asked for")
}

// TestIsolationIsDue: where something serves, it is tried without anybody asking; where it cannot be, that is said.
func TestIsolationIsDue(t *testing.T) {
	s := isolated(t)
	s.config.IsolationLook = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.watchIsolation(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })

	require.NoError(t, s.store.PutTenant(t.Context(), store.Tenant{Environment: "production", Name: "east", Database: "east", Hosts: []string{"east.example"}, Group: "shared"}))
	_, err := s.store.ChangeTenant(t.Context(), "production", "east", store.Lease{}, func(t *store.Tenant) { t.Live.Stable = "r1" })
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		run, err := s.store.IsolationRun(t.Context(), "production", 0)
		return err == nil && run.Verdict == string(isolation.Inconclusive) && run.Says != ""
	}, time.Minute, 10*time.Millisecond)
	runs, err := s.store.IsolationRuns(t.Context(), "production", 10)
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Contains(t, runs[0].Says, assert.AnError.Error())
}
