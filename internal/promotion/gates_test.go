package promotion

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// gated is a bench whose procedure stands at the gates between a plan and a last step.
type gated struct {
	*bench
	rooms    Gates
	policies []estate.Policy
	fault    func(string)
	tenants  []estate.Tenant

	calendars []estate.Calendar
	emergency *estate.Emergency
	open      atomic.Bool // the calendar of atGlass
}

func atGates(t *testing.T, rules ...estate.PolicyRule) *gated {
	t.Helper()
	g := &gated{bench: setup(t,
		Step{Name: "plan", Do: func(_ context.Context, w *Work) (string, error) {
			w.memory.Release, w.memory.Plan = w.promotion.Release, Plan{Class: estate.Compatible}
			return "", nil
		}},
		Step{Name: "gates", When: guarded, Do: gates}, step("last"))}
	require.NoError(t, g.store.PutRelease(t.Context(), release.Release{Digest: g.digest(), Repository: "acme", Name: "r2", Created: time.Now().Add(-time.Hour)}))
	if len(rules) > 0 {
		g.policies = []estate.Policy{{Name: "p", Rules: rules}}
	}
	g.tenants = []estate.Tenant{{Name: "acme", Environment: g.kind, Database: g.kind, Hosts: []string{"acme.example"}}}
	return g
}

func (g *gated) digest() string { return "sha256:" + g.kind }
func (g *gated) before() string { return g.kind + "-uat" }

func (g *gated) engine() *Engine {
	g.t.Helper()
	rooms := Rooms{Store: g.store, Gates: g.rooms, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}
	e, err := New(rooms, "a", slog.New(slog.DiscardHandler), g.fault)
	require.NoError(g.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	ended := make(chan error, 1)
	var before int64
	require.NoError(g.t, g.store.Pool.QueryRow(ctx, "select coalesce(max(id), 0) from river_job").Scan(&before))
	go func() { ended <- e.Run(ctx) }()
	g.t.Cleanup(sync.OnceFunc(func() {
		cancel()
		require.NoError(g.t, <-ended)
	}))
	// A server that starts looks at all gates once. What comes after is about events alone.
	require.Eventually(g.t, func() bool {
		var looked bool
		require.NoError(g.t, g.store.Pool.QueryRow(ctx, "select exists (select from river_job where id > $1 and kind = 'gates' and finalized_at is not null)", before).Scan(&looked))
		return looked
	}, 60*time.Second, 5*time.Millisecond)
	return e
}

func (g *gated) ask(e *Engine) string {
	g.t.Helper()
	id, err := g.request(e, Request{})
	require.NoError(g.t, err)
	return id
}

func (g *gated) request(e *Engine, q Request) (string, error) {
	q.Kind, q.Environment, q.Release, q.By = g.kind, g.kind, g.digest(), "ann"
	return e.Start(g.t.Context(), &estate.Estate{
		Environments: []estate.Environment{{Name: g.before()}, {Name: g.kind, Emergency: g.emergency}}, Tenants: g.tenants, Policies: g.policies, Calendars: g.calendars,
	}, q)
}

// serves makes the environment before serve the release since some time.
func (g *gated) serves(since time.Duration) {
	g.t.Helper()
	ctx := g.t.Context()
	require.NoError(g.t, g.store.PutTenant(ctx, store.Tenant{Environment: g.before(), Name: "acme", Database: g.before(), Hosts: []string{"uat.example"}, Group: "shared"}))
	_, err := g.store.ChangeTenant(ctx, g.before(), "acme", store.Lease{}, func(t *store.Tenant) { t.ServingRelease = g.digest() })
	require.NoError(g.t, err)
	_, err = g.store.Pool.Exec(ctx, `insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, finished_at, outcome)
		values ($1, 'promote', $1, $2, 'r2', 'ann', '{}', '{}', '', $3, 'promoted') on conflict (id) do update set finished_at = excluded.finished_at`,
		g.before(), g.digest(), time.Now().Add(-since))
	require.NoError(g.t, err)
}

func waitsFor(words string) func(store.Rollout) bool {
	return func(r store.Rollout) bool { return r.LeaseUntil == nil && strings.Contains(r.WaitsFor, words) }
}

func soak(d string) estate.PolicyRule {
	return estate.PolicyRule{ID: "soak", Use: "soak", With: map[string]string{"for": d}}
}

func TestGatesWaitForTheEventThatConcernsThem(t *testing.T) {
	g := atGates(t, soak("24h"))
	e := g.engine()
	id := g.ask(e)
	g.until(id, waitsFor("the release has not been promoted in "+g.before()))

	g.serves(130 * time.Minute)
	require.NoError(t, e.Happened(t.Context(), ApprovalTopic(id), RehearsalTopic(g.kind, "acme")))
	require.NoError(t, e.Happened(t.Context(), EnvironmentTopic(g.before())))
	r := g.until(id, waitsFor("soaked 2 h 10 min of 24 h in "+g.before()))
	require.WithinDuration(t, time.Now().Add(24*time.Hour-130*time.Minute), *r.WakeAt, 10*time.Second, "nobody looks before")
	kept, err := g.store.GateOf(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, []string{EnvironmentTopic(g.before())}, kept.Topics)
	answer, err := Answer(kept)
	require.NoError(t, err)
	require.Equal(t, gate.Waits, answer.Verdict)

	g.serves(25 * time.Hour)
	require.NoError(t, e.Happened(t.Context(), EnvironmentTopic(g.before())))
	r = g.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Equal(t, []string{"plan: done", "gates: waits", "gates: done", "last: done"}, g.outcomes(r.ID), "in between only the answer was renewed")
	kept, err = g.store.GateOf(t.Context(), r.ID)
	require.NoError(t, err)
	require.Empty(t, kept.Topics, "nothing concerns it any more")
}

func TestGatesOpenByTimeAlone(t *testing.T) {
	long.Test(t)
	g := atGates(t, soak("24h"))
	e := g.engine()
	g.serves(24*time.Hour - 8*time.Second) // which even a starved machine does not need to come to the gates
	r := g.until(g.ask(e), ended)
	require.Equal(t, []string{"plan: done", "gates: waits", "gates: done", "last: done"}, g.outcomes(r.ID))
}

// TestEventWhileTheGatesAreAsked: what happens after the facts were gathered and before the rollout sleeps is not lost.
func TestEventWhileTheGatesAreAsked(t *testing.T) {
	g := atGates(t, soak("24h"))
	var e *Engine
	once := sync.OnceFunc(func() {
		g.serves(25 * time.Hour)
		require.NoError(t, e.reconsider(t.Context(), []string{EnvironmentTopic(g.before())}))
	})
	g.fault = func(point string) {
		if point == "inside:gates" {
			once()
		}
	}
	e = g.engine()
	r := g.until(g.ask(e), ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Equal(t, []string{"plan: done", "gates: waits", "gates: done", "last: done"}, g.outcomes(r.ID))
}

func TestGatesAreAskedAgainAfterARestart(t *testing.T) {
	g := atGates(t, soak("24h"))
	first := g.bench
	e, stop := first.engine("a")
	id := g.ask(e)
	r := g.until(id, waitsFor("has not been promoted"))
	stop()
	g.serves(25 * time.Hour) // and nobody tells
	g.engine()
	require.Equal(t, store.Promoted, g.until(id, ended).Outcome)
	require.NotEmpty(t, r.ID)
}

func TestGatesDeny(t *testing.T) {
	g := atGates(t, estate.PolicyRule{ID: "swap-only", Expr: `promotion.class == "swap"`, Message: "nothing may change", Why: "stocktaking"})
	r := g.until(g.ask(g.engine()), ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Equal(t, "gates: p/swap-only: nothing may change: the class is compatible, swap is needed", r.Reason)
	promotion, _, err := g.store.Quarantined(t.Context(), g.kind, g.digest())
	require.NoError(t, err)
	require.Empty(t, promotion, "being kept out says nothing of the release")
}

func TestPolicyThatCannotBeRead(t *testing.T) {
	g := atGates(t, estate.PolicyRule{ID: "r", Expr: `previous.soakd >= duration("24h")`})
	_, err := g.engine().Start(t.Context(), &estate.Estate{Environments: []estate.Environment{{Name: g.kind}}, Tenants: g.tenants, Policies: g.policies},
		Request{Kind: g.kind, Environment: g.kind, Release: g.digest(), By: "ann"})
	require.ErrorIs(t, err, ErrBadRequest)
	require.ErrorContains(t, err, "rules[0].expr: there is no fact previous.soakd (did you mean previous.soaked?)")
}

func TestGivingUpAtTheGates(t *testing.T) {
	g := atGates(t, soak("24h"))
	e := g.engine()
	id := g.ask(e)
	r := g.until(id, waitsFor("has not been promoted"))
	require.NoError(t, g.store.Abort(t.Context(), r.ID, "another day", false))
	r = g.until(id, ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.NoError(t, e.Happened(t.Context(), EnvironmentTopic(g.before())), "an event about it later does nothing")
}

func TestNothingIsAsked(t *testing.T) {
	g := atGates(t)
	r := g.until(g.ask(g.engine()), ended)
	require.Equal(t, []string{"plan: done", "last: done"}, g.outcomes(r.ID), "an estate without policies sees no gates")
}

func TestWindowAndApprovals(t *testing.T) {
	long.Test(t)
	g := atGates(t)
	var mu sync.Mutex
	have := 0
	g.calendars = []estate.Calendar{{Name: "night"}} // what it says is said below
	opens := time.Now().Add(time.Hour)
	g.rooms.Approvals = func(context.Context, string, string) (*Approvals, error) {
		mu.Lock()
		defer mu.Unlock()
		return &Approvals{Needed: 1, Have: have, Missing: "1 approval by approver"}, nil
	}
	g.rooms.Calendar = func(_ context.Context, _ string, _ estate.Tenant, at time.Time, _ time.Duration) (*gate.Calendar, error) {
		mu.Lock()
		defer mu.Unlock()
		if at.Before(opens) {
			return &gate.Calendar{Next: opens, Reason: "outside of window night"}, nil
		}
		return &gate.Calendar{Open: true, Until: opens.Add(time.Hour), Reason: "window night"}, nil
	}
	e := g.engine()
	id := g.ask(e)
	r := g.until(id, waitsFor("environment/approvals: 1 approval by approver · environment/window: outside of window night: from "))
	require.WithinDuration(t, opens, *r.WakeAt, time.Second)

	mu.Lock()
	have = 1
	mu.Unlock()
	require.NoError(t, g.store.In(t.Context(), func(tx pgx.Tx) error { return e.Changed(t.Context(), tx, ApprovalTopic(id)) }))
	g.until(id, func(r store.Rollout) bool { return strings.HasPrefix(r.WaitsFor, "environment/window: ") })

	mu.Lock()
	opens = time.Now().Add(-time.Second)
	mu.Unlock()
	require.NoError(t, e.Happened(t.Context(), CalendarTopic))
	require.Equal(t, store.Promoted, g.until(id, ended).Outcome)
}

// crowd makes rollouts that stand at their gates already, and returns an engine that runs no jobs.
func (g *gated) crowd(n int) *Engine {
	g.t.Helper()
	ctx := g.t.Context()
	e, err := New(Rooms{Store: g.store}, "a", slog.New(slog.DiscardHandler), nil)
	require.NoError(g.t, err)
	p := store.Promotion{ID: newID(), Kind: g.kind, Environment: g.kind, Release: g.digest(), ReleaseName: "r2", RequestedBy: "ann", Options: encode(Options{}), Estate: encode(Snapshot{Before: g.before()})}
	facts := gate.Facts{Now: time.Now().UTC(), Environment: gate.Environment{Name: g.kind}, Promotion: gate.Promotion{ID: p.ID, Class: "compatible"},
		Release: gate.Release{Digest: g.digest(), Signed: true}, Previous: gate.Previous{Environment: g.before()},
		Unknown: map[string]string{"previous.soaked": "", "previous.outcome": "", "previous.promoted_at": "", "previous.digest": ""}}
	var rollouts []store.Rollout
	for i := range n {
		rollouts = append(rollouts, store.Rollout{ID: newID(), Tenant: fmt.Sprintf("t%d", i), Memory: encode(Memory{})})
	}
	far := time.Now().Add(never)
	require.NoError(g.t, g.store.In(ctx, func(tx pgx.Tx) error {
		if err := g.store.CreatePromotion(ctx, tx, p, rollouts); err != nil {
			return err
		}
		var b pgx.Batch
		for _, r := range rollouts {
			facts.Tenant.Name = r.Tenant
			b.Queue("insert into gates (rollout_id, topics, policies, facts) values ($1, $2, $3, $4)", r.ID, []string{EnvironmentTopic(g.before())}, encode(g.policies), encode(facts))
			b.Queue("update rollouts set wake_at = $2, waits_for = 'x' where id = $1", r.ID, far)
		}
		return tx.SendBatch(ctx, &b).Close()
	}))
	return e
}

var crowded = []estate.PolicyRule{soak("24h"), {ID: "same", Use: "same-digest"}, {ID: "signed", Use: "signed"}, {ID: "four", Use: "four-eyes-for-breaking"}}

// TestThousandGates: one event renews the answers of a thousand gates, and opens them.
func TestThousandGates(t *testing.T) {
	long.Test(t)
	const n = 1000
	g := atGates(t, crowded...)
	e := g.crowd(n)
	count := func(condition string, args ...any) (found int) {
		require.NoError(t, g.store.Pool.QueryRow(t.Context(), "select count(*) from rollouts r where environment = '"+g.kind+"' and "+condition, args...).Scan(&found))
		return found
	}
	g.serves(2 * time.Hour)
	began := time.Now()
	require.NoError(t, e.reconsider(t.Context(), []string{EnvironmentTopic("another")}))
	require.Equal(t, n, count("wakes = 0"), "the event of another environment concerns none of them")
	require.NoError(t, e.reconsider(t.Context(), []string{EnvironmentTopic(g.before())}))
	took := time.Since(began)
	require.Equal(t, n, count("waits_for like '%soaked 2 h of 24 h%' and wake_at between now() + interval '21 hours' and now() + interval '23 hours'"))

	g.serves(25 * time.Hour)
	began = time.Now()
	require.NoError(t, e.reconsider(t.Context(), []string{EnvironmentTopic(g.before())}))
	t.Logf("%d gates: answers renewed in %s, opened in %s", n, took, time.Since(began))
	require.Equal(t, n, count("wake_at is null and exists (select from river_job where kind = 'advance' and args->>'rollout' = r.id)"), "each has a job")
	_, err := g.store.Pool.Exec(t.Context(), "update rollouts set state = 'done' where environment = $1", g.kind)
	require.NoError(t, err)
	_, err = g.store.Pool.Exec(t.Context(), "delete from river_job where kind = 'advance'")
	require.NoError(t, err)
}

// Two events at once, each of which satisfies half of what is asked: neither is lost, whichever is written down last.
func TestTwoEventsAtOnce(t *testing.T) {
	for range 5 {
		a := asksPeople(t, soak("24h"))
		id := a.promote()
		a.until(id, waitsFor("1 approval"))
		a.serves(25 * time.Hour)
		var both sync.WaitGroup
		both.Go(func() {
			_, err := a.decide(id, "bert", true)
			assert.NoError(t, err)
		})
		both.Go(func() { assert.NoError(t, a.e.Happened(t.Context(), EnvironmentTopic(a.before()))) })
		both.Wait()
		require.Equal(t, store.Promoted, a.until(id, ended).Outcome)
	}
}
