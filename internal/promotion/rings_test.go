package promotion

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// fleet is a bench with tenants in rings, whose only work is under way until it is told how it ends.
type fleet struct {
	*gated
	e     *Engine
	rings []estate.Ring

	mu   sync.Mutex
	ends map[string]chan error
	bad  map[string]bool // whose data the release cannot take
}

func newFleet(t *testing.T, rings []estate.Ring, tenants ...string) *fleet {
	t.Helper()
	f := &fleet{rings: rings, ends: map[string]chan error{}, bad: map[string]bool{}}
	f.gated = &gated{bench: setup(t, Step{Name: "admit", Do: func(_ context.Context, w *Work) (string, error) {
		w.memory.Release, w.memory.Plan = w.promotion.Release, Plan{Class: estate.Compatible}
		return "", nil
	}},
		Step{Name: "gates", When: guarded, Do: gates},
		Step{Name: "update", Do: func(ctx context.Context, w *Work) (string, error) {
			select {
			case err := <-f.end(w.tenant.Name):
				return "", err
			case <-ctx.Done():
				f.note("cut off")
				return "", ctx.Err()
			}
		}})}
	require.NoError(t, f.store.PutRelease(t.Context(), release.Release{Digest: f.digest(), Repository: "acme", Name: "r2", Created: time.Now()}))
	for _, name := range tenants {
		ring, tenant := name[:1], name
		f.tenants = append(f.tenants, estate.Tenant{Name: tenant, Environment: f.kind, Database: tenant, Hosts: []string{tenant + ".example"}, Ring: ring})
	}
	f.e = f.engine()
	return f
}

func (f *fleet) end(tenant string) chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ends[tenant] == nil {
		f.ends[tenant] = make(chan error)
	}
	return f.ends[tenant]
}

// finish ends a tenant's work, which has to have begun or to begin soon.
func (f *fleet) finish(tenant string, err error) {
	f.t.Helper()
	select {
	case f.end(tenant) <- err:
	case <-time.After(30 * time.Second):
		f.t.Fatalf("%s never came to work", tenant)
	}
}

func (f *fleet) promote() string {
	f.t.Helper()
	id, err := f.e.Start(f.t.Context(), &estate.Estate{Environments: []estate.Environment{{Name: f.kind, Rings: f.rings}}, Tenants: f.tenants},
		Request{Kind: f.kind, Environment: f.kind, Release: f.digest(), By: "ann"})
	require.NoError(f.t, err)
	return id
}

// picture is where each tenant is: "a1 works", "a2 waits: why", "b1 promoted" and so on.
func (f *fleet) picture(promotion string) (list []string) {
	rollouts, err := f.store.Rollouts(context.WithoutCancel(f.t.Context()), promotion)
	require.NoError(f.t, err)
	for _, r := range rollouts {
		says := r.State
		switch {
		case r.State == store.Done:
			says = r.Outcome
		case r.State == store.Waiting:
			says = "asks"
		case r.Step == 2 && r.LeaseUntil != nil:
			says = "works"
		case r.WaitsFor != "":
			says = "waits: " + r.WaitsFor
		}
		list = append(list, r.Tenant+" "+says)
	}
	return list
}

func (f *fleet) becomes(promotion string, want ...string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	var now []string
	if err := poll(ctx, 10*time.Millisecond, func() (bool, error) {
		now = f.picture(promotion)
		return slices.Equal(now, want), nil
	}); err != nil {
		rollouts, _ := f.store.Rollouts(context.WithoutCancel(f.t.Context()), promotion)
		for _, r := range rollouts {
			f.t.Log(r.Tenant, r.Reason)
		}
		require.Equal(f.t, want, now)
	}
}

func (f *fleet) ended(promotion, outcome string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	require.NoError(f.t, poll(ctx, 10*time.Millisecond, func() (bool, error) {
		p, err := f.store.Promotion(ctx, promotion)
		return p.FinishedAt != nil && p.Outcome == outcome, fmt.Errorf("the promotion is %q: %v %w", p.Outcome, f.picture(promotion), err)
	}))
}

var inTurn = []estate.Ring{{Name: "a", AtOnce: 1}, {Name: "b", After: []string{"a"}, AtOnce: 2}, {Name: "c", After: []string{"b"}, AtOnce: 5}}

// A good release goes through ring by ring, and never to more tenants at once than may be.
func TestRingByRing(t *testing.T) {
	f := newFleet(t, inTurn, "a1", "a2", "b1", "b2", "b3", "c1")
	id := f.promote()
	const a, b = "waits: ring a comes first", "waits: ring b comes first"
	rollouts := f.picture(id)
	require.Len(t, rollouts, 6)
	// Who comes first within a ring is who is ready first.
	first, second := "a1", "a2"
	require.Eventually(t, func() bool {
		now := f.picture(id)
		if slices.Contains(now, "a2 works") {
			first, second = "a2", "a1"
		}
		return slices.Contains(now, first+" works") && slices.Contains(now, second+" waits: one tenant is under way in ring a, and no more may be at once")
	}, time.Minute, 10*time.Millisecond)
	f.finish(first, nil)
	f.becomes(id, sorted(first+" promoted", second+" works", "b1 "+a, "b2 "+a, "b3 "+a, "c1 "+b)...)
	f.finish(second, nil)
	working := func() (names []string) {
		for _, line := range f.picture(id) {
			if name, is := cutSuffix(line, " works"); is {
				names = append(names, name)
			}
		}
		return names
	}
	require.Eventually(t, func() bool { return len(working()) == 2 }, time.Minute, 10*time.Millisecond)
	two := working()
	f.finish(two[0], nil)
	f.finish(two[1], nil)
	third := ""
	require.Eventually(t, func() bool {
		now := working()
		if len(now) == 1 && !slices.Contains(two, now[0]) {
			third = now[0]
		}
		return third != ""
	}, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool { return f.picture(id)[5] == "c1 "+b }, time.Minute, 10*time.Millisecond)
	f.finish(third, nil)
	f.becomes(id, "a1 promoted", "a2 promoted", "b1 promoted", "b2 promoted", "b3 promoted", "c1 works")
	f.finish("c1", nil)
	f.ended(id, store.Promoted)
}

func sorted(lines ...string) []string { slices.Sort(lines); return lines }

func cutSuffix(s, end string) (string, bool) {
	if len(s) > len(end) && s[len(s)-len(end):] == end {
		return s[:len(s)-len(end)], true
	}
	return s, false
}

// A release that fails on one tenant's data goes no further; mended and resumed, it begins with that one again.
func TestRingStopsAndIsResumed(t *testing.T) {
	f := newFleet(t, inTurn, "a1", "b1", "c1")
	id := f.promote()
	f.becomes(id, "a1 works", "b1 waits: ring a comes first", "c1 waits: ring b comes first")
	f.finish("a1", nil)
	f.becomes(id, "a1 promoted", "b1 works", "c1 waits: ring b comes first")
	f.finish("b1", failed("the data of b1 cannot be taken over"))
	f.becomes(id, "a1 promoted", "b1 rolled_back", "c1 asks")
	p, err := f.store.Promotion(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, store.WaitingForPerson, p.Outcome)
	rollouts, err := f.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "ring b has stopped: 1 of its 1 tenants went back, none may; c1 and those that wait with it keep their release — choose: "+
		"mend what is wrong and try again, those that went back first: waybill promotion resume "+id+"; or leave it at that: waybill promotion abandon "+id, rollouts[2].Reason)

	require.NoError(t, f.e.Resume(t.Context(), id, "bert"))
	f.becomes(id, "a1 promoted", "b1 works", "c1 waits: ring b comes first")
	require.ErrorIs(t, f.e.Resume(t.Context(), id, "bert"), ErrNothingToDo)
	f.finish("b1", nil)
	f.becomes(id, "a1 promoted", "b1 promoted", "c1 works")
	f.finish("c1", nil)
	f.ended(id, store.Promoted)
	require.ErrorIs(t, f.e.Resume(t.Context(), id, "bert"), ErrNothingToDo)
}

// Left at that, those that had no turn keep their release, and the release is not shut out because of them.
func TestRingStopsAndIsAbandoned(t *testing.T) {
	f := newFleet(t, inTurn, "a1", "b1", "b2", "c1")
	id := f.promote()
	f.finish("a1", nil)
	f.becomes(id, "a1 promoted", "b1 works", "b2 works", "c1 waits: ring b comes first")
	f.finish("b1", failed("no"))
	f.becomes(id, "a1 promoted", "b1 rolled_back", "b2 works", "c1 asks")
	f.finish("b2", nil) // what is under way comes to its end
	f.becomes(id, "a1 promoted", "b1 rolled_back", "b2 promoted", "c1 asks")
	require.NoError(t, f.e.Abandon(t.Context(), id, "next week", "bert"))
	f.ended(id, "halted")
	rollouts, err := f.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, store.RolledBack, rollouts[3].Outcome)
	require.Equal(t, "a person asked to go back: abandoned by bert: next week", rollouts[3].Reason)
	require.ErrorIs(t, f.e.Abandon(t.Context(), id, "again", "bert"), ErrNothingToDo)
}

// A ring begins when the one before has soaked, and not before.
func TestRingSoaks(t *testing.T) {
	f := newFleet(t, []estate.Ring{{Name: "a", AtOnce: 1, Soak: 2 * time.Second}, {Name: "b", After: []string{"a"}, AtOnce: 1}}, "a1", "b1")
	id := f.promote()
	f.finish("a1", nil)
	f.finish("b1", nil)
	f.ended(id, store.Promoted)
	rollouts, err := f.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	require.GreaterOrEqual(t, rollouts[1].TurnAt.Sub(*rollouts[0].FinishedAt), 2*time.Second)
}

// Failures within the budget stop nothing.
func TestRingBudget(t *testing.T) {
	f := newFleet(t, []estate.Ring{{Name: "a", AtOnce: 2, Failures: 1}, {Name: "b", After: []string{"a"}, AtOnce: 1}}, "a1", "a2", "b1")
	id := f.promote()
	f.finish("a1", failed("no"))
	f.finish("a2", nil)
	f.becomes(id, "a1 rolled_back", "a2 promoted", "b1 works")
	f.finish("b1", nil)
	f.ended(id, "halted")
}

// A server that dies with turns taken and turns waited for loses none: the next one goes on with them.
func TestRingsOutliveTheServer(t *testing.T) {
	f := newFleet(t, inTurn, "a1", "b1")
	id := f.promote()
	f.becomes(id, "a1 works", "b1 waits: ring a comes first")
	require.Eventually(t, func() bool { return slices.Contains(f.noted(), "do update") }, time.Minute, 10*time.Millisecond)
	_, err := f.store.Pool.Exec(t.Context(), "update rollouts set lease_until = now() - interval '1 second', epoch = epoch + 1 where promotion_id = $1 and tenant = 'a1'", id) // as if its server had died in the update
	require.NoError(t, err)
	require.Eventually(t, func() bool { return slices.Contains(f.noted(), "cut off") }, time.Minute, 10*time.Millisecond, "the server notices")
	f.finish("a1", nil)
	f.becomes(id, "a1 promoted", "b1 works")
	f.finish("b1", nil)
	f.ended(id, store.Promoted)
}
