package promotion

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// street is a real router in front of two pools that answer as they are told to, and users.
type street struct {
	t       *testing.T
	store   *store.Store // of the step that was judged last
	control router.Control
	url     string
	pools   map[string]*httptest.Server
	every   atomic.Int64                             // of how many requests to the new pool one fails; 0: none does
	slow    atomic.Int64                             // nanoseconds that the new pool takes
	asked   atomic.Int64                             // requests to the new pool
	asking  bool                                     // it ends with a question
	tell    func(pool string) (bridge.Signals, bool) // what a pool's business does; nil: the images know no signals
}

// streetRuntime is as much of a runtime as judging a step asks for.
type streetRuntime struct {
	runtime.Runtime
	*street
}

func (s streetRuntime) Router(string) router.Control { return s.control }

func (s streetRuntime) Pool(_ context.Context, _, pool string) (runtime.PoolState, error) {
	return runtime.PoolState{Name: pool, Running: true, Bridge: s.pools[pool].URL}, nil
}

// startRouter runs a real router with no table yet, and gives its address and the way to tell it one.
func startRouter(t testing.TB) (url string, control router.Control) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wbs") // short, for the socket's name
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- router.Run(ctx, router.Config{HTTP: address, Admin: filepath.Join(dir, "a.sock"), State: filepath.Join(dir, "state"), Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	return "http://" + address, router.Dial(filepath.Join(dir, "a.sock"))
}

func newStreet(t *testing.T, weight int) *street {
	t.Helper()
	s := &street{t: t, pools: map[string]*httptest.Server{}}
	for _, name := range []string{"old", "new"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasPrefix(r.URL.Path, "/waybill/v1/ready"):
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"ready": true}`)
			case strings.HasPrefix(r.URL.Path, "/waybill/v1/flows"):
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"flows": [{"name": "sell", "outcome": "passed"}]}`)
			case strings.HasPrefix(r.URL.Path, "/waybill/v1/signals"):
				told, ok := bridge.Signals{}, false
				if s.tell != nil {
					told, ok = s.tell(name)
				}
				if !ok {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(told)
			case name == "new":
				n := s.asked.Add(1)
				select { // a slow answer, not a wait for something to happen
				case <-time.After(time.Duration(s.slow.Load())):
				case <-r.Context().Done():
				}
				if every := s.every.Load(); every > 0 && n%every == 0 {
					http.Error(w, "picking is broken", http.StatusInternalServerError)
				}
			}
		}))
		t.Cleanup(server.Close)
		s.pools[name] = server
	}
	s.url, s.control = startRouter(t)
	upstream := func(pool string) router.Upstream {
		address := s.pools[pool].Listener.Addr().String()
		return router.Upstream{Pool: pool, Web: address, Websocket: address}
	}
	canary := upstream("new")
	bounded, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	require.NoError(t, poll(bounded, 10*time.Millisecond, func() (bool, error) {
		err := s.control.Apply(bounded, router.Table{Environment: "test", Generation: 1, Tenants: []router.Tenant{{
			Name: "acme", Hosts: []string{"acme.example"}, Mode: router.Open, Stable: upstream("old"), Canary: &canary, Weight: weight,
		}}})
		return err == nil, err
	}))
	return s
}

// work lets users send requests, each from a new session, until the test ends or stop is called.
func (s *street) work(users int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var session atomic.Int64
	for range users {
		group.Go(func() {
			for ctx.Err() == nil {
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/web", nil)
				request.Host = "acme.example"
				request.AddCookie(&http.Cookie{Name: "session_id", Value: strconv.FormatInt(session.Add(1), 10)})
				if response, err := http.DefaultClient.Do(request); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				select { // so that two cores are left for others
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	s.t.Cleanup(stop)
	return stop
}

// judged runs one step of a shift by the engine, and gives how it ended.
func (s *street) judged(rollout estate.Rollout) (r store.Rollout, detail string, memory Memory) {
	s.t.Helper()
	folder := s.t.TempDir()
	secrets, err := keys.Open(folder)
	require.NoError(s.t, err)
	b := setup(s.t, Step{Name: "shift", Do: func(ctx context.Context, w *Work) (string, error) {
		w.rooms.Keys, w.place = secrets, Place{Runtime: streetRuntime{street: s}}
		w.env.Environment.Rollout = rollout
		w.memory.OldPool, w.memory.NewPool = "old", "new"
		var err error
		detail, err = w.judgeStep(ctx, 50)
		memory = w.memory
		return detail, err
	}})
	s.store = b.store
	require.NoError(s.t, b.store.PutPool(s.t.Context(), store.Pool{Environment: b.kind, Name: "old", Group: "shared"}))
	e, _ := b.engine("a")
	until := ended
	if s.asking {
		until = waiting
	}
	return b.until(b.start(e), until), detail, memory
}

var demanding = estate.Rollout{Requests: 40, MaxErrorRate: .01, StepDeadline: 25 * time.Second}

func TestShiftGoesOnWhenNothingFails(t *testing.T) {
	s := newStreet(t, 50)
	s.work(3)
	r, detail, memory := s.judged(demanding)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Contains(t, detail, "none failed")
	require.GreaterOrEqual(t, s.asked.Load(), int64(40))
	require.NotNil(t, memory.Shift.Compared)
	require.Positive(t, memory.Shift.Compared.Used.Canary.Requests, "the evidence is kept")
}

func TestShiftGoesBackWithinSecondsOfFail(t *testing.T) {
	s := newStreet(t, 50)
	s.every.Store(3)
	s.work(3)
	began := time.Now()
	r, _, memory := s.judged(demanding)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "at 50 % of the traffic: ")
	require.Contains(t, r.Reason, "on the new release")
	require.Contains(t, r.Reason, "a good release looks so bad in fewer than")
	require.GreaterOrEqual(t, memory.Shift.Compared.EValue(), 1/judge.Alpha)
	require.Less(t, time.Since(began), 5*time.Second+flowsEvery)
	t.Log(time.Since(began), r.Reason)
}

func TestShiftWithoutTrafficNeverPromotes(t *testing.T) {
	s := newStreet(t, 50)
	quiet := demanding
	quiet.StepDeadline = time.Second
	r, _, _ := s.judged(quiet)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "Without evidence nothing goes on")
	require.Contains(t, r.Reason, "nothing is known yet")
}

func TestShiftTellsThatAnswersAreSlower(t *testing.T) {
	long.Test(t)
	s := newStreet(t, 50)
	s.slow.Store(int64(40 * time.Millisecond))
	s.work(8)
	long := demanding
	long.Requests = 400
	r, detail, _ := s.judged(long)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Contains(t, detail, "slower, which is recorded and no reason to go back")
	t.Log(detail)
}

// The evidence goes from weight to weight and from server to server; the counts do not.
func TestBaseline(t *testing.T) {
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	read := func(b *baseline, n int, router time.Time) *baseline {
		now := bothPools{Old: counts{int64(10 * n), 0}, New: counts{int64(10 * n), int64(n)}}
		at = at.Add(time.Second)
		if !b.begun(router) {
			return b.begin(at, router, now)
		}
		b.Compared.Read(at, judge.Pair{Canary: judge.Counts(now.New), Stable: judge.Counts(now.Old)})
		return b
	}
	kept := func(b *baseline) *baseline {
		raw, err := json.Marshal(b)
		require.NoError(t, err)
		var again *baseline
		require.NoError(t, json.Unmarshal(raw, &again))
		return again
	}
	first, second := time.Unix(1, 0).UTC(), time.Unix(2, 0).UTC()
	var b *baseline
	for n := range 10 {
		b = kept(read(b, n, first))
	}
	require.Equal(t, counts{}, b.New)
	since, e := b.Since, b.Compared.EValue()
	require.Greater(t, e, 1.0)

	b = read(b, 2, second) // the router restarted, and has counted again
	require.Equal(t, since, b.Since, "the deadline stays")
	require.Equal(t, counts{20, 2}, b.New)
	require.Equal(t, e, b.Compared.EValue(), "no evidence out of thin air")
	b = read(b, 3, second)
	require.Greater(t, b.Compared.EValue(), e)

	e = b.Compared.EValue()
	b = read(kept(b.next()), 20, second) // the next weight
	require.True(t, b.Since.After(since))
	require.Equal(t, counts{200, 20}, b.New)
	require.Equal(t, e, b.Compared.EValue())

	// One that an older server has kept.
	old := &baseline{Since: since, RouterStarted: first, New: counts{5, 0}}
	require.False(t, old.begun(first))
	require.Equal(t, since, read(old, 1, first).Since)
	require.Nil(t, old.next())
	require.Nil(t, (*baseline)(nil).next())
}
