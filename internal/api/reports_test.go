package api

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/report"
	"github.com/waybill-dev/waybill/internal/store"
)

// ended writes a promotion with one rollout that has ended.
func (b *bench) ended(id, environment, tenant, release, outcome string, at time.Time) {
	b.t.Helper()
	ctx := b.t.Context()
	require.NoError(b.t, b.state.In(ctx, func(tx pgx.Tx) error {
		return b.state.CreatePromotion(ctx, tx, store.Promotion{ID: id, Kind: "promote", Environment: environment, Release: release, ReleaseName: "r1", RequestedBy: "anna",
			Options: json.RawMessage("{}"), Estate: json.RawMessage("{}")}, []store.Rollout{{ID: id + "/" + tenant, Tenant: tenant, Memory: json.RawMessage("{}")}})
	}))
	for _, sql := range []string{"update rollouts set state = 'done', outcome = $2, finished_at = $3, reason = 'why' where promotion_id = $1", "update promotions set outcome = $2, finished_at = $3 where id = $1"} {
		_, err := b.state.Pool.Exec(ctx, sql, id, outcome, at)
		require.NoError(b.t, err)
	}
}

func TestReportOfWhatOneMaySee(t *testing.T) {
	b := setup(t)
	b.declare(user("tess", estate.RoleViewer, "test"))
	token := b.token("tess")
	past := time.Date(2019, 5, 7, 12, 0, 0, 0, time.UTC) // where no other test counts
	b.ended("report-1", "production", "=cmd", "sha256:report", store.Promoted, past)
	b.ended("report-2", "test", "acme", "sha256:report", store.RolledBack, past)
	period := "from=2019-05-06&to=2019-05-12"
	rate := func(token, query string) report.Figure {
		var r report.Report
		b.ask(token, "GET", "/api/v1/reports/releases?"+query, nil).into(t, &r)
		f, ok := report.Find(r.Total, report.SuccessRate)
		require.True(t, ok)
		return f
	}
	require.Equal(t, 2, rate("the-owner's", period).N)
	require.Equal(t, "1 of 1", rate("the-owner's", period+"&environment=production").Counts)
	require.Equal(t, "0 of 1", rate("the-owner's", period+"&tenant=acme").Counts, "a tenant's part alone")
	require.Equal(t, "0 of 1", rate(token, period).Counts, "without an environment, of those that one may see")
	require.Equal(t, 403, b.ask(token, "GET", "/api/v1/reports/releases?environment=production", nil).status)
	require.Zero(t, rate("the-owner's", "from=2019-05-08&to=2019-05-12").N)
	require.Equal(t, 2, rate("the-owner's", "from=2019-05-07T12:00:00Z&to=2019-05-07T12:00:01Z").N)

	for _, bad := range []string{"from=yesterday", "to=2019-13-01", "zone=Mars/Olympus", "by=colour", "bucket=day", "from=2019-05-07&to=2019-05-06", "from=0001-01-01", "from=1990-01-01&to=2019-01-01"} {
		said := b.ask("the-owner's", "GET", "/api/v1/reports/releases?"+bad, nil)
		require.Equal(t, 422, said.status, bad+": "+said.text)
	}
	said := b.ask("the-owner's", "GET", "/api/v1/reports/releases/csv?by=tenant&zone=Europe/Berlin&"+period, nil)
	require.Equal(t, 200, said.status, said.text)
	require.Equal(t, "text/csv; charset=utf-8; header=present", said.header.Get("Content-Type"))
	require.Contains(t, said.header.Get("Content-Disposition"), "attachment")
	lines, err := csv.NewReader(strings.NewReader(said.text)).ReadAll()
	require.NoError(t, err)
	require.NotContains(t, said.text, ",=cmd", "no cell is a formula")
	require.Contains(t, said.text, "'=cmd")
	require.Greater(t, len(lines), 3*len(report.Definitions()))
}

// What the ledger tells of one object until it is as applied again is one drift.
func TestDriftIsReported(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	b.declare(user("rita", estate.RoleViewer, "drifting"))
	for _, e := range []struct{ kind, environment, object string }{
		{ledger.DriftFound, "drifting", "Deployment a/web"},
		{ledger.DriftFound, "drifting", "Deployment a/web"}, // it was changed further
		{ledger.DriftFound, "drifting", "Service a/web"},
		{ledger.DriftHealed, "drifting", "Deployment a/web"},
		{ledger.DriftMended, "drifting", "Deployment a/web"},
		{ledger.DriftFound, "drifting", "Deployment a/web"}, // and again
		{ledger.DriftFound, "", "ValidatingAdmissionPolicy waybill"},
	} {
		require.NoError(t, ledger.Record(ctx, b.state.Pool, ledger.Event{Kind: e.kind, Environment: e.environment, Payload: map[string]any{"object": e.object}}))
	}
	b.ask("the-owner's", "GET", "/api/v1/ledger/heads", nil) // chains what is in the outbox
	for _, c := range []struct {
		token, query  string
		found, lasted int
	}{{"the-owner's", "environment=drifting", 3, 1}, {b.token("rita"), "", 3, 1}, {"the-owner's", "", 4, 1}, {"the-owner's", "tenant=acme", 0, 0}, {"the-owner's", "environment=drifting&to=2020-01-01", 0, 0}} {
		var r report.Report
		b.ask(c.token, "GET", "/api/v1/reports/releases?"+c.query, nil).into(t, &r)
		f, _ := report.Find(r.Total, report.Drifted)
		require.InDelta(t, c.found, *f.Value, 1e-9, c.query)
		f, _ = report.Find(r.Total, report.DriftLasted)
		require.Equal(t, c.lasted, f.N, c.query)
	}
}

func TestTenantsAndRings(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	b.declare(user("tess", estate.RoleViewer, "test"))
	// What other tests have left under way.
	_, err := b.state.Pool.Exec(ctx, "delete from tenants where environment in ('test', 'production')")
	require.NoError(t, err)
	require.NoError(t, b.state.PutTenant(ctx, store.Tenant{Environment: "test", Name: "acme", Database: "acme_test", Hosts: []string{"test.acme.example"}, Group: "g"}))
	_, err = b.state.ChangeTenant(ctx, "test", "acme", store.Lease{}, func(t *store.Tenant) {
		t.ServingRelease, t.SchemaRelease, t.Live.Stable, t.Live.Suspended = "sha256:one", "sha256:two", "pool", true
	})
	require.NoError(t, err)
	b.ended("tenancy-1", "test", "acme", "sha256:two", store.RolledBack, time.Now())
	var found []Tenancy
	b.ask(b.token("tess"), "GET", "/api/v1/tenants", nil).into(t, &found)
	require.Len(t, found, 1, "what one may not see is left out")
	require.Len(t, found[0].Tenants, 1)
	x := found[0].Tenants[0]
	require.Equal(t, []any{"acme", "suspended", Ill, "shared"}, []any{x.Name, x.Mode, x.Health, x.Hosting})
	var risks []string
	for _, r := range x.Risks {
		risks = append(risks, r.Text)
	}
	require.Equal(t, []string{"it is closed to its people", "the last promotion went back: why", "its database was updated to sha256:two, and sha256:one serves: a route went back"}, risks, "the worst first")
	require.Equal(t, "tenancy-1", x.Last.ID)
	require.Nil(t, x.Window, "no calendar is about it")
	token := b.token("tess")
	var one Tenancy
	b.ask(token, "GET", "/api/v1/tenants/test/acme", nil).into(t, &one)
	require.Equal(t, []TenantStanding{x}, one.Tenants)
	require.Equal(t, 404, b.ask(token, "GET", "/api/v1/tenants/test/nobody", nil).status)
	require.Equal(t, 403, b.ask(token, "GET", "/api/v1/tenants/production/acme", nil).status)

	b.ended("tenancy-2", "test", "acme", "sha256:three", store.Promoted, time.Now())
	require.Equal(t, 403, b.ask(token, "GET", "/api/v1/tenants/production/acme/promotions", nil).status)
	var ids []string
	for next := ""; ; {
		var part []store.TenantPromotion
		said := b.ask(token, "GET", "/api/v1/tenants/test/acme/promotions?limit=1&cursor="+next, nil)
		said.into(t, &part)
		for _, p := range part {
			ids = append(ids, p.ID+" "+p.Outcome+" "+p.Reason)
		}
		if next = said.header.Get("Next-Cursor"); next == "" {
			break
		}
	}
	require.Equal(t, []string{"tenancy-2 promoted why", "tenancy-1 rolled_back why"}, ids[:2], "the newest first, each once")
	b.ask("the-owner's", "GET", "/api/v1/tenants", nil).into(t, &found)
	require.Equal(t, []string{"nothing serves it"}, []string{found[1].Tenants[0].Risks[0].Text})
	require.Equal(t, Watch, found[1].Tenants[0].Health)
}

func TestCalendarOfTheEstate(t *testing.T) {
	b := setup(t)
	b.declare(user("tess", estate.RoleViewer, "test"))
	b.calendars = []estate.Calendar{{Name: "work", Timezone: "Europe/Berlin",
		Windows: []estate.CalendarEntry{{Name: "evenings", RRule: "FREQ=DAILY", From: "20:00", To: "22:00", Applies: estate.CalendarScope{Environments: []string{"production"}}}},
		Freezes: []estate.CalendarEntry{{Name: "stocktaking", From: "2026-11-04", To: "2026-11-04"}}}}
	ask := func(token, query string) (c CalendarPeriod) {
		b.ask(token, "GET", "/api/v1/calendar?"+query, nil).into(t, &c)
		return c
	}
	c := ask("the-owner's", "from=2026-11-02&to=2026-11-08&zone=Europe/Berlin")
	require.True(t, c.Declared)
	require.Equal(t, "2026-11-02T00:00:00+01:00", c.From.Format(time.RFC3339))
	require.Len(t, c.Alike, 2, "test is bound by the freeze alone")
	require.Len(t, c.Occurrences, 7+1, "the window of Wednesday stands there too, and the freeze wins")
	var open float64
	for _, a := range c.Alike {
		if a.Subjects[0] == "production/acme" {
			for _, s := range a.Stretches {
				if s.State == "open" {
					open += s.End.Sub(s.Start).Hours()
				}
			}
		}
	}
	require.InDelta(t, 6*2, open, 1e-9)
	require.Len(t, ask("the-owner's", "from=2026-11-02&to=2026-11-08&environment=test&tenant=acme").Occurrences, 1)
	require.Empty(t, ask("the-owner's", "from=2026-11-02&to=2026-11-08&tenant=nobody").Alike)
	c = ask(b.token("tess"), "from=2026-11-02&to=2026-11-08")
	require.Len(t, c.Alike, 1)
	require.Len(t, c.Occurrences, 1)
	for _, bad := range []string{"from=2026-01-01&to=2026-12-31", "from=x", "zone=x"} {
		require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/calendar?"+bad, nil).status, bad)
	}
	require.Equal(t, 403, b.ask(b.token("tess"), "GET", "/api/v1/calendar?environment=production", nil).status)
}

func TestPlanned(t *testing.T) {
	now := time.Now()
	soon, later := now.Add(time.Hour), now.AddDate(100, 0, 0)
	list := planned([]store.WaitingRollout{
		{Promotion: "p1", Environment: "production", Tenant: "a", WaitsFor: "the window", WakeAt: &soon},
		{Promotion: "p1", Environment: "production", Tenant: "b", WaitsFor: "the window", WakeAt: &soon},
		{Promotion: "p1", Environment: "production", Tenant: "c", WaitsFor: "an approval", WakeAt: &later},
		{Promotion: "p2", Environment: "test", Tenant: "a", WaitsFor: "the window", WakeAt: &soon},
	}, now, func(environment, _ string) bool { return environment == "production" })
	require.Len(t, list, 2)
	require.Equal(t, []string{"a", "b"}, list[0].Tenants)
	require.Equal(t, &soon, list[0].At)
	require.Nil(t, list[1].At, "what wakes in a hundred years waits for an event")
}

func TestLedgerIsSearchedAndExported(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	for _, e := range []ledger.Event{
		{Actor: "audit-anna", Kind: "promotion.asked", Environment: "production", Tenant: "acme", Payload: map[string]any{"release_name": "R9"}},
		{Actor: "audit-bert", Kind: "approval.given", Environment: "production", Payload: map[string]any{"reason": "=1+1, \"quoted\"\nsecond line"}},
		{Actor: "audit-bert", Kind: "approval.given", Environment: "test", Payload: map[string]any{"reason": "50% of_it"}},
	} {
		require.NoError(t, ledger.Record(ctx, b.state.Pool, e))
	}
	b.ask("the-owner's", "GET", "/api/v1/ledger/heads", nil) // chains what is in the outbox
	for query, want := range map[string]int{
		"actor=audit-bert": 2, "actor=audit-bert&environment=test": 1, "actor=audit-anna&tenant=acme": 1, "actor=audit-anna&tenant=other": 0, "actor=audit-anna&text=r9": 1,
		"actor=audit-bert&text=" + url.QueryEscape("50% OF_it"): 1, "actor=audit-bert&text=" + url.QueryEscape("50x"): 0, "actor=audit-anna&to=2020-01-01": 0, "actor=audit-anna&from=2020-01-01": 1, "actor=audit-bert&kind=approval.": 2,
	} {
		said := b.ask("the-owner's", "GET", "/api/v1/ledger/csv?"+query, nil)
		require.Equal(t, 200, said.status, said.text)
		lines, err := csv.NewReader(strings.NewReader(said.text)).ReadAll()
		require.NoError(t, err)
		require.Len(t, lines, 1+want, query)
		var listed []LedgerEntry
		b.ask("the-owner's", "GET", "/api/v1/ledger?"+query, nil).into(t, &listed)
		require.Len(t, listed, want, query)
		said = b.ask("the-owner's", "GET", "/api/v1/ledger/jsonl?"+query, nil)
		require.Equal(t, 200, said.status, said.text)
		require.Equal(t, want, strings.Count(said.text, "\n"), query)
		for i, line := range strings.SplitAfter(said.text, "\n")[:want] {
			var e LedgerEntry
			require.NoError(t, json.Unmarshal([]byte(line), &e))
			require.Equal(t, listed[i], e)
		}
	}
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/ledger/csv?from=never", nil).status)
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/ledger?from=never", nil).status)
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/ledger/jsonl?text=a%00b", nil).status)
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/ledger/csv?text=a%00b", nil).status)
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/reports/releases?environment=a%00b", nil).status)
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/ledger/csv?to=never", nil).status)
	said := b.ask("the-owner's", "GET", "/api/v1/ledger/csv?actor=audit-bert", nil)
	require.Equal(t, 200, said.status)
	lines, err := csv.NewReader(strings.NewReader(said.text)).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 3)
	require.Equal(t, "test", lines[1][4], "the newest first")
	var r struct{ OK bool }
	b.ask("the-owner's", "GET", "/api/v1/ledger/verification", nil).into(t, &r)
	require.True(t, r.OK)
}
