package promotion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

func TestMain(m *testing.M) {
	leaseTime, heartbeat, sweepEvery = 1500*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond // hundreds of servers die here
	if url := os.Getenv(serverEnv); url != "" {
		if err := serveAsOneOfTwo(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pauses = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	os.Exit(m.Run())
}

// bench is a store with one tenant, and a procedure of steps that write down what is done to them.
type bench struct {
	t     *testing.T
	store *store.Store
	kind  string

	mu   sync.Mutex
	done []string
}

func setup(t *testing.T, steps ...Step) *bench {
	t.Helper()
	b := &bench{t: t, store: storetest.Shared(t, cluster(t)), kind: strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
	for i := range steps {
		steps[i] = b.written(steps[i])
	}
	procedures[b.kind] = steps
	t.Cleanup(func() { delete(procedures, b.kind) })
	return b
}

// written makes a step note its calls.
func (b *bench) written(s Step) Step {
	name, do, undo := s.Name, s.Do, s.Undo
	s.Do = func(ctx context.Context, w *Work) (string, error) {
		b.note("do " + name)
		if do == nil {
			return "", nil
		}
		return do(ctx, w)
	}
	s.Undo = func(ctx context.Context, w *Work) (string, error) {
		b.note("undo " + name)
		if undo == nil {
			return "", nil
		}
		return undo(ctx, w)
	}
	return s
}

func (b *bench) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = append(b.done, what)
}

func (b *bench) noted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.done)
}

// engine runs one server until the test ends or stop is called.
func (b *bench) engine(holder string) (e *Engine, stop func()) {
	b.t.Helper()
	rooms := Rooms{Store: b.store, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}
	e, err := New(rooms, holder, slog.New(slog.DiscardHandler), nil)
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(b.t, <-ended)
	})
	b.t.Cleanup(stop)
	return e, stop
}

func (b *bench) request() (*estate.Estate, Request) {
	return &estate.Estate{Environments: []estate.Environment{{Name: b.kind}}, Tenants: []estate.Tenant{{Name: "acme", Environment: b.kind, Database: b.kind, Hosts: []string{"acme.example"}}}},
		Request{Kind: b.kind, Environment: b.kind, By: "somebody"}
}

func (b *bench) start(e *Engine) string {
	b.t.Helper()
	declared, q := b.request()
	id, err := e.Start(b.t.Context(), declared, q)
	require.NoError(b.t, err)
	return id
}

// until waits for the rollout to be as asked for.
func (b *bench) until(promotion string, so func(store.Rollout) bool) store.Rollout {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	var r store.Rollout
	require.NoError(b.t, poll(ctx, 10*time.Millisecond, func() (bool, error) {
		found, err := b.store.Rollouts(b.t.Context(), promotion) // not ctx: its end says where the rollout stands, and no more
		if err != nil {
			return false, err
		}
		r = found[0]
		return so(r), fmt.Errorf("the rollout is %s at step %d: %s; done so far: %v", r.State, r.Step, r.Reason, b.noted())
	}))
	return r
}

func ended(r store.Rollout) bool   { return r.State == store.Done }
func waiting(r store.Rollout) bool { return r.State == store.Waiting }

func step(name string) Step { return Step{Name: name} }

func (b *bench) outcomes(rollout string) []string {
	b.t.Helper()
	steps, err := b.store.Steps(b.t.Context(), rollout)
	require.NoError(b.t, err)
	var out []string
	for _, s := range steps {
		require.NotNil(b.t, s.FinishedAt, "step %s is left open", s.Name)
		name := s.Name
		if s.Undo {
			name = "undo " + name
		}
		out = append(out, name+": "+s.Outcome)
	}
	return out
}

func TestForward(t *testing.T) {
	never := Step{Name: "never", When: func(*Work) (bool, string) { return false, "not for this one" }}
	b := setup(t, step("one"), never, step("two"))
	e, _ := b.engine("a")
	id := b.start(e)
	r := b.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Equal(t, []string{"do one", "do two"}, b.noted())
	require.Equal(t, []string{"one: done", "never: skipped", "two: done"}, b.outcomes(r.ID))
	p, err := b.store.Promotion(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, store.Promoted, p.Outcome)
	require.NotNil(t, p.FinishedAt)
}

func TestFailureUndoesInReverse(t *testing.T) {
	broken := Step{Name: "three", Do: func(context.Context, *Work) (string, error) { return "", failed("picking is broken") }}
	b := setup(t, step("one"), step("two"), broken, step("four"))
	e, _ := b.engine("a")
	r := b.until(b.start(e), ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Equal(t, "three: picking is broken", r.Reason)
	require.Equal(t, []string{"do one", "do two", "do three", "undo three", "undo two", "undo one"}, b.noted(), "the failed step is undone too: it may be half done")
}

func TestTransient(t *testing.T) {
	tries := 0
	flaky := Step{Name: "flaky", Do: func(context.Context, *Work) (string, error) {
		if tries++; tries < 3 {
			return "", errors.New("connection refused")
		}
		return "", nil
	}}
	b := setup(t, flaky)
	e, _ := b.engine("a")
	r := b.until(b.start(e), ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Equal(t, []string{"flaky: retried", "flaky: retried", "flaky: done"}, b.outcomes(r.ID))
}

func TestTransientForever(t *testing.T) {
	b := setup(t, step("one"), Step{Name: "two", Do: func(context.Context, *Work) (string, error) { return "", errors.New("connection refused") }})
	e, _ := b.engine("a")
	r := b.until(b.start(e), ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Equal(t, "two: connection refused", r.Reason)
	require.Equal(t, []string{"undo two", "undo one"}, b.noted()[len(b.noted())-2:])
}

func TestMemoryOutlivesAStep(t *testing.T) {
	var seen string
	b := setup(t,
		Step{Name: "one", Do: func(_ context.Context, w *Work) (string, error) { w.memory.Checkpoint = "c1"; return "", nil }},
		Step{Name: "two", Do: func(_ context.Context, w *Work) (string, error) { seen = w.memory.Checkpoint; return "", nil }})
	e, _ := b.engine("a")
	b.until(b.start(e), ended)
	require.Equal(t, "c1", seen)
}

func TestNeedsPerson(t *testing.T) {
	asked := false
	ask := Step{Name: "ask", Do: func(context.Context, *Work) (string, error) {
		if asked {
			return "", nil
		}
		asked = true
		return "", &NeedsPerson{Reason: "two ways", Choices: []string{"left", "right"}}
	}}
	t.Run("resume", func(t *testing.T) {
		asked = false
		b := setup(t, step("one"), ask, step("two"))
		e, _ := b.engine("a")
		id := b.start(e)
		r := b.until(id, waiting)
		require.Equal(t, store.WaitingForPerson, r.Outcome)
		require.Contains(t, r.Reason, "left; or right")
		p, err := b.store.Promotion(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "waiting", p.Outcome)
		require.NoError(t, e.Resume(t.Context(), id, "somebody"))
		require.Equal(t, store.Promoted, b.until(id, ended).Outcome)
	})
	t.Run("go back", func(t *testing.T) {
		asked = false
		b := setup(t, step("one"), ask)
		e, _ := b.engine("a")
		id := b.start(e)
		r := b.until(id, waiting)
		require.NoError(t, b.store.Abort(t.Context(), r.ID, "no", false))
		r = b.until(id, ended)
		require.Equal(t, store.RolledBack, r.Outcome)
		require.Contains(t, r.Reason, "no")
		require.Equal(t, []string{"undo ask", "undo one"}, b.noted()[len(b.noted())-2:])
	})
}

func TestAbortEndsAStepUnderWay(t *testing.T) {
	began := make(chan string, 1)
	b := setup(t, step("one"), Step{Name: "long", Do: func(ctx context.Context, w *Work) (string, error) {
		began <- w.rollout.ID
		<-ctx.Done()
		return "", ctx.Err()
	}})
	e, _ := b.engine("a")
	id := b.start(e)
	require.NoError(t, b.store.Abort(t.Context(), <-began, "stop it", false))
	r := b.until(id, ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Equal(t, []string{"do one", "do long", "undo long", "undo one"}, b.noted())
}

func TestPointOfNoReturn(t *testing.T) {
	b := setup(t,
		Step{Name: "release", Do: func(_ context.Context, w *Work) (string, error) {
			w.memory.NoReturn, w.memory.FenceCheckpoint = true, "c7"
			return "", nil
		}},
		Step{Name: "bake", Do: func(context.Context, *Work) (string, error) { return "", failed("errors") }})
	e, _ := b.engine("a")
	id := b.start(e)
	r := b.until(id, waiting)
	require.Contains(t, r.Reason, "--accept-loss")
	require.Contains(t, r.Reason, "c7")
	require.NotContains(t, b.noted(), "undo bake", "nothing is undone before a person has said so")
	require.NoError(t, b.store.Abort(t.Context(), r.ID, "lose it", true))
	require.Equal(t, store.RolledBack, b.until(id, ended).Outcome)
}

func TestUndoIsTriedAgain(t *testing.T) {
	tries := 0
	b := setup(t, Step{Name: "one",
		Do: func(context.Context, *Work) (string, error) { return "", failed("no") },
		Undo: func(context.Context, *Work) (string, error) {
			if tries++; tries < 3 {
				return "", errors.New("not yet")
			}
			return "", nil
		}})
	e, _ := b.engine("a")
	r := b.until(b.start(e), ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Equal(t, []string{"one: failed", "undo one: retried", "undo one: retried", "undo one: done"}, b.outcomes(r.ID))
}

// A server that stops gives its step back at once, and the next one does it again.
func TestStopHandsOver(t *testing.T) {
	began := make(chan struct{}, 2)
	first := true
	b := setup(t, Step{Name: "long", Do: func(ctx context.Context, _ *Work) (string, error) {
		began <- struct{}{}
		if first {
			first = false
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "", nil
	}})
	e, stop := b.engine("a")
	id := b.start(e)
	<-began
	stop()
	b.engine("b")
	r := b.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Equal(t, []string{"long: interrupted", "long: done"}, b.outcomes(r.ID))
}

// A server that was killed holds a lease that nobody prolongs. Another one goes on within 10 s.
func TestGoesOnAfterAKill(t *testing.T) {
	b := setup(t, step("one"))
	rooms := Rooms{Store: b.store, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}
	dead, err := New(rooms, "dead", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	id := b.start(dead)
	found, err := b.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	_, ok, err := b.store.Acquire(t.Context(), found[0].ID, 0, "dead", leaseTime)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = b.store.BeginStep(t.Context(), store.Lease{Rollout: found[0].ID, Epoch: 1}, "one", false, 0)
	require.NoError(t, err)

	began := time.Now()
	b.engine("b")
	r := b.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Less(t, time.Since(began), 10*time.Second)
	require.Equal(t, []string{"one: interrupted", "one: done"}, b.outcomes(r.ID))
}

// Whoever lost the lease can neither decide nor record anything.
func TestFencing(t *testing.T) {
	b := setup(t, step("one"))
	idle, err := New(Rooms{Store: b.store}, "idle", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	id := b.start(idle)
	found, err := b.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	r, ok, err := b.store.Acquire(t.Context(), found[0].ID, 0, "slow", -time.Second) // has run out already
	require.NoError(t, err)
	require.True(t, ok)
	slow := store.Lease{Rollout: r.ID, Epoch: r.Epoch}
	_, ok, err = b.store.Acquire(t.Context(), r.ID, r.Epoch, "quick", time.Minute)
	require.NoError(t, err)
	require.True(t, ok)

	_, err = b.store.ChangeTenant(t.Context(), b.kind, "acme", slow, func(tenant *store.Tenant) { tenant.Live.Weight = 50 })
	require.ErrorIs(t, err, store.ErrFenced)
	require.ErrorIs(t, b.store.SaveMemory(t.Context(), slow, Memory{}), store.ErrFenced)
	_, err = b.store.Heartbeat(t.Context(), slow, time.Minute)
	require.ErrorIs(t, err, store.ErrFenced)
	_, err = b.store.BeginStep(t.Context(), slow, "one", false, 0)
	require.ErrorIs(t, err, store.ErrFenced)
	_, ok, err = b.store.Acquire(t.Context(), r.ID, r.Epoch+1, "third", time.Minute)
	require.NoError(t, err)
	require.False(t, ok, "a lease that lives is nobody else's")
	require.NoError(t, b.store.Abort(t.Context(), r.ID, "end of test", false))
}

func TestOnePromotionATenant(t *testing.T) {
	hold := make(chan struct{})
	b := setup(t, Step{Name: "one", Do: func(ctx context.Context, _ *Work) (string, error) {
		select {
		case <-hold:
			return "", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}})
	e, _ := b.engine("a")
	id := b.start(e)
	declared, q := b.request()
	_, err := e.Start(t.Context(), declared, q)
	require.ErrorIs(t, err, store.ErrTenantBusy)
	close(hold)
	b.until(id, ended)
}

func TestBadRequests(t *testing.T) {
	b := setup(t, step("one"))
	e, _ := b.engine("a")
	declared, q := b.request()
	for name, change := range map[string]func(*Request){
		"environment": func(q *Request) { q.Environment = "moon" },
		"tenant":      func(q *Request) { q.Tenants = []string{"nobody"} },
		"release":     func(q *Request) { q.Release = "r99" },
	} {
		bad := q
		change(&bad)
		_, err := e.Start(t.Context(), declared, bad)
		require.ErrorIs(t, err, ErrBadRequest, name)
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "wb_production_acme_update", updateRole("production", "acme"))
	long := roleName(strings.Repeat("e", 40), strings.Repeat("t", 40))
	require.LessOrEqual(t, len(long), 63)
	require.NotEqual(t, long, roleName(strings.Repeat("e", 40), strings.Repeat("t", 39)+"u"))
	seen := map[string]bool{}
	for _, fence := range []bool{true, false} {
		for _, id := range []string{"ongi4ykrmq", "rongi4ykrm", "fsgi4ykrmq"} { // whatever letters an ID begins with
			restored, replaced := besides(strings.Repeat("d", 50), id, fence)
			require.LessOrEqual(t, max(len(restored), len(replaced)), 63)
			require.False(t, seen[restored] || seen[replaced] || restored == replaced, "%s %s", restored, replaced)
			seen[restored], seen[replaced] = true, true
		}
	}
	r := release.Release{Digest: "sha256:0123456789abcdef"}
	require.Equal(t, "r-0123456789", poolName("shared", r, 0))
	require.Equal(t, "acme-0123456789", poolName("acme", r, 0))
	require.Equal(t, "acme-0123456789-k2", poolName("acme", r, 2))
	east, west := strings.Repeat("a", 35)+"-east", strings.Repeat("a", 35)+"-west"
	require.NotEqual(t, poolName(east, r, 0), poolName(west, r, 0), "each dedicated tenant has a pool of its own")
	require.LessOrEqual(t, len(poolName(east, r, 0)), 30+1+10)
}
