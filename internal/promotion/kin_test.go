package promotion

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

func TestEldest(t *testing.T) {
	list := []relative{
		{"large", Kin{Set: "s", Bytes: 900}}, // and without a checkpoint
		{"by hand", Kin{Set: "s", Bytes: 800, Young: true, Own: "1 view made by hand"}},
		{"b", Kin{Set: "s", Bytes: 500, Young: true}},
		{"a", Kin{Set: "s", Bytes: 500, Young: true}},
		{"other", Kin{Set: "t", Bytes: 999, Young: true}},
		{"unknown", Kin{}},
	}
	require.Equal(t, "a", list[eldest(list, "s")].Tenant, "the largest of those that can be rehearsed, the first by name")
	require.Equal(t, "large", list[eldest(list[:2], "s")].Tenant)
	require.Equal(t, -1, eldest(list[1:2], "s"))
	require.Equal(t, -1, eldest(list, ""), "of those that nothing is known of nobody stands for another")
}

func TestSetOf(t *testing.T) {
	facts := func() odoo.Facts {
		return odoo.Facts{Modules: []odoo.InstalledModule{{Name: "base", Version: "1", State: "installed"}, {Name: "acme", Version: "1", State: "installed"}}, Checksums: map[string]string{"base": "b", "acme": "a", "gone": "g"}}
	}
	plan := Plan{Update: []string{"acme", "base"}, Transactional: true}
	set := setOf(facts(), "r1", "r1", plan)
	same := facts()
	slices.Reverse(same.Modules)
	delete(same.Checksums, "gone")
	require.Equal(t, set, setOf(same, "r1", "r1", Plan{Update: []string{"base", "acme"}, Transactional: true}), "neither order nor what is left of a module that is gone counts")
	for name, other := range map[string]func(*odoo.Facts, *Plan){
		"version":  func(f *odoo.Facts, _ *Plan) { f.Modules[1].Version = "2" },
		"state":    func(f *odoo.Facts, _ *Plan) { f.Modules[1].State = "to upgrade" },
		"checksum": func(f *odoo.Facts, _ *Plan) { f.Checksums["acme"] = "patched" },
		"module":   func(f *odoo.Facts, _ *Plan) { f.Modules = append(f.Modules, odoo.InstalledModule{Name: "more"}) },
		"plan":     func(_ *odoo.Facts, p *Plan) { p.Install = []string{"more"} },
		"way":      func(_ *odoo.Facts, p *Plan) { p.Transactional = false },
	} {
		f, p := facts(), plan
		other(&f, &p)
		require.NotEqual(t, set, setOf(f, "r1", "r1", p), name)
	}
	require.NotEqual(t, set, setOf(facts(), "r0", "r1", plan))
	require.NotEqual(t, set, setOf(facts(), "r1", "r0", plan))
}

// family is a promotion into tenants that are admitted as is said of them, and then rehearsed.
type family struct {
	*bench
	kin    map[string]Kin
	bucket *checkpoint.Store
	plans  chan struct{} // who is late is planned once this is closed; nil: nobody is
	late   string

	mu        sync.Mutex
	asked     []string
	ids       map[string]string
	cancelled []string
}

func newFamily(t *testing.T, kin map[string]Kin) *family {
	t.Helper()
	f := &family{kin: kin, ids: map[string]string{}}
	f.bench = setup(t,
		Step{Name: "admit", Do: func(ctx context.Context, w *Work) (string, error) {
			if w.tenant.Name == f.late {
				select {
				case <-f.plans:
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}
			w.memory.Release, w.memory.OldRelease, w.memory.OldSchema = w.promotion.Release, "old", "old"
			w.memory.Plan = Plan{Class: estate.Breaking, ClassReason: "assumed", Update: []string{"acme"}, Transactional: true}
			k := f.kin[w.tenant.Name]
			return "", w.joinKin(ctx, &k)
		}},
		Step{Name: rehearseStep, Do: rehearse}, step("last"))
	require.NoError(t, f.store.PutRelease(t.Context(), release.Release{Digest: "sha256:" + f.bench.kind, Repository: "acme", Name: "r2", Created: time.Now()}))
	var err error
	f.bucket, err = checkpoint.Open(t.Context(), "file://"+t.TempDir(), nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.bucket.Close() })
	return f
}

// Ask keeps a rehearsal, which ends when end says so.
func (f *family) Ask(ctx context.Context, q rehearsal.Request) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := newID()
	f.asked, f.ids[q.Tenant] = append(f.asked, q.Tenant), id
	return id, f.store.PutRehearsal(ctx, store.Rehearsal{ID: id, Environment: q.Environment, Tenant: q.Tenant, Release: q.Release, OldRelease: "old"})
}

func (f *family) Cancel(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = append(f.cancelled, id)
	return nil
}

// run starts a server.
func (f *family) run(holder string) (e *Engine, stop func()) {
	f.t.Helper()
	rooms := Rooms{Store: f.store, Checkpoints: f.bucket, Rehearsals: f, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}
	e, err := New(rooms, holder, slog.New(slog.DiscardHandler), nil)
	require.NoError(f.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(f.t, <-ended)
	})
	f.t.Cleanup(stop)
	return e, stop
}

func (f *family) promote(e *Engine, mode estate.Rehearsal) string {
	f.t.Helper()
	declared := &estate.Estate{Environments: []estate.Environment{{Name: f.bench.kind, Rehearsal: mode}}}
	for name := range f.kin {
		declared.Tenants = append(declared.Tenants, estate.Tenant{Name: name, Environment: f.bench.kind, Database: name, Hosts: []string{name + ".example"}})
	}
	id, err := e.Start(f.t.Context(), declared, Request{Kind: f.bench.kind, Environment: f.bench.kind, Release: "sha256:" + f.bench.kind, By: "ann"})
	require.NoError(f.t, err)
	return id
}

func (f *family) rehearsing() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.asked))
}

// asks waits until these tenants, and no others, have been rehearsed or are being.
func (f *family) asks(tenants ...string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return slices.Equal(f.rehearsing(), tenants) }, time.Minute, 10*time.Millisecond, "%v, and it is %v", tenants, f.rehearsing())
}

// end ends the rehearsal of a tenant.
func (f *family) end(tenant, outcome string) {
	f.t.Helper()
	f.mu.Lock()
	id := f.ids[tenant]
	f.mu.Unlock()
	report := rehearsal.Report{ID: id, Tenant: tenant, Schema: "old", RecoveryPoint: time.Now(), Outcome: outcome, Transactional: true, Plan: rehearsal.Plan{Update: []string{"acme"}}, PredictedSeconds: 3, RecoverySeconds: 9}
	if outcome == rehearsal.Proven {
		report.Class, report.Cause = estate.Compatible, "r1 works on the result"
	} else {
		report.Failure = "it does not work"
	}
	require.NoError(f.t, f.store.EndRehearsal(f.t.Context(), "", id, outcome, "", report))
}

// now is the rollout of a tenant, with what it remembers.
func (f *family) now(promotion, tenant string) (r store.Rollout, m Memory) {
	f.t.Helper()
	rollouts, err := f.store.Rollouts(context.WithoutCancel(f.t.Context()), promotion)
	require.NoError(f.t, err)
	i := slices.IndexFunc(rollouts, func(r store.Rollout) bool { return r.Tenant == tenant })
	require.GreaterOrEqual(f.t, i, 0, tenant)
	require.NoError(f.t, json.Unmarshal(rollouts[i].Memory, &m))
	return rollouts[i], m
}

func (f *family) waits(promotion, tenant, why string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { r, _ := f.now(promotion, tenant); return r.LeaseUntil == nil && r.WaitsFor == why }, time.Minute, 10*time.Millisecond, tenant)
}

// ends waits until a tenant has ended, by the rehearsal of whom.
func (f *family) ends(promotion, tenant, outcome, on string) Memory {
	f.t.Helper()
	require.Eventually(f.t, func() bool { r, _ := f.now(promotion, tenant); return r.State == store.Done }, time.Minute, 10*time.Millisecond, tenant)
	r, m := f.now(promotion, tenant)
	require.Equal(f.t, outcome, r.Outcome, "%s: %s", tenant, r.Reason)
	f.mu.Lock()
	defer f.mu.Unlock()
	if on != "" {
		require.Equal(f.t, f.ids[on], m.Plan.Rehearsal, tenant)
	} else {
		require.Empty(f.t, m.Plan.Rehearsal, tenant)
	}
	return m
}

const onB = "it is rehearsed on b, the largest of those with the same modules"

func young(set string, bytes int64) Kin { return Kin{Set: set, Bytes: bytes, Young: true} }

// Of those with the same modules the largest is rehearsed, and the others say whose evidence they take. Who is like nobody else, or was changed
// by hand, is rehearsed itself.
func TestOneRehearsalForKin(t *testing.T) {
	byHand := young("s", 900)
	byHand.Own = "1 view made by hand"
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": {Set: "s", Bytes: 300}, "d": young("t", 10), "e": byHand})
	e, _ := f.run("a")
	id := f.promote(e, estate.RehearsalRequired)
	f.asks("b", "d", "e")
	f.waits(id, "a", onB)
	f.waits(id, "c", onB)
	f.end("d", rehearsal.Proven)
	f.ends(id, "d", store.Promoted, "d")
	f.end("b", rehearsal.Proven)
	b := f.ends(id, "b", store.Promoted, "b")
	require.Empty(t, b.Plan.RehearsedOn)
	for _, tenant := range []string{"a", "c"} {
		m := f.ends(id, tenant, store.Promoted, "b")
		require.Equal(t, "b", m.Plan.RehearsedOn)
		require.Equal(t, estate.Compatible, m.Plan.Class)
		require.Equal(t, "rehearsal "+m.Plan.Rehearsal+" on b, which has the same modules: r1 works on the result", m.Plan.ClassReason)
	}
	f.end("e", rehearsal.Proven)
	f.ends(id, "e", store.Promoted, "e")
	f.asks("b", "d", "e")
}

// Where one of them fails, data decide: so each of the others is rehearsed itself, and none takes that evidence.
func TestKinOfOneThatFails(t *testing.T) {
	long.Test(t)
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": young("s", 50)})
	e, _ := f.run("a")
	id := f.promote(e, estate.RehearsalAuto)
	f.asks("b")
	f.waits(id, "a", onB)
	f.waits(id, "c", onB)
	f.end("b", rehearsal.Fails)
	f.ends(id, "b", store.RolledBack, "")
	f.asks("a", "b", "c")
	f.end("a", rehearsal.Proven)
	f.ends(id, "a", store.Promoted, "a")
	f.end("c", rehearsal.Fails)
	f.ends(id, "c", store.RolledBack, "")
}

// A rehearsal that comes to nothing says nothing: the next one is rehearsed for the others.
func TestKinOfOneThatComesToNothing(t *testing.T) {
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": young("s", 50)})
	e, _ := f.run("a")
	id := f.promote(e, estate.RehearsalAuto)
	f.asks("b")
	f.end("b", rehearsal.Unfinished)
	require.Equal(t, estate.Breaking, f.ends(id, "b", store.Promoted, "").Plan.Class, "as if it had not been rehearsed")
	f.asks("a", "b")
	f.end("a", rehearsal.Proven)
	f.ends(id, "a", store.Promoted, "a")
	f.ends(id, "c", store.Promoted, "a")
}

// Where none of them can be rehearsed, none is.
func TestKinWithoutCheckpoints(t *testing.T) {
	nobody := newFamily(t, map[string]Kin{"a": {Set: "s", Bytes: 1}, "b": {Set: "s", Bytes: 2}})
	e, _ := nobody.run("b")
	id := nobody.promote(e, estate.RehearsalRequired)
	nobody.ends(id, "a", store.RolledBack, "")
	nobody.ends(id, "b", store.RolledBack, "")
	require.Empty(t, nobody.rehearsing(), "nobody has a checkpoint")
}

// Nobody is chosen before all are planned: the largest may be the last.
func TestKinWaitForTheLastPlan(t *testing.T) {
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": young("s", 50)})
	f.late, f.plans = "b", make(chan struct{})
	e, _ := f.run("a")
	id := f.promote(e, estate.RehearsalAuto)
	const all = "whose rehearsal stands for whom is known once all tenants of the promotion are planned"
	f.waits(id, "a", all)
	f.waits(id, "c", all)
	require.Empty(t, f.rehearsing())
	close(f.plans)
	f.asks("b")
	f.end("b", rehearsal.Proven)
	f.ends(id, "a", store.Promoted, "b")
	f.ends(id, "b", store.Promoted, "b")
	f.ends(id, "c", store.Promoted, "b")
}

// One that a person takes out of the promotion stands for nobody any more.
func TestKinOfOneThatIsTakenBack(t *testing.T) {
	long.Test(t)
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": young("s", 50)})
	e, _ := f.run("a")
	id := f.promote(e, estate.RehearsalAuto)
	f.asks("b")
	f.waits(id, "a", onB)
	r, _ := f.now(id, "b")
	require.NoError(t, f.store.Abort(t.Context(), r.ID, "not today", false))
	f.ends(id, "b", store.RolledBack, "")
	f.asks("a", "b")
	require.Len(t, f.cancelled, 1)
	f.end("a", rehearsal.Proven)
	f.ends(id, "a", store.Promoted, "a")
	f.ends(id, "c", store.Promoted, "a")
}

// A server that dies while one is rehearsed for others: the next one goes on with that rehearsal, and asks for no other.
func TestKinAfterAKill(t *testing.T) {
	long.Test(t)
	f := newFamily(t, map[string]Kin{"a": young("s", 100), "b": young("s", 200), "c": young("s", 50)})
	e, stop := f.run("a")
	id := f.promote(e, estate.RehearsalAuto)
	f.asks("b")
	f.waits(id, "a", onB)
	f.waits(id, "c", onB)
	stop()
	f.end("b", rehearsal.Proven) // while nobody looks
	f.run("b")
	f.ends(id, "a", store.Promoted, "b")
	f.ends(id, "b", store.Promoted, "b")
	f.ends(id, "c", store.Promoted, "b")
	f.asks("b")
}
