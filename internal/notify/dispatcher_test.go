package notify

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// outbox is the store, empty.
func outbox(t *testing.T) *store.Store {
	t.Helper()
	s := storetest.Shared(t, cluster(t))
	_, err := s.Pool.Exec(t.Context(), "truncate notices, deliveries")
	require.NoError(t, err)
	return s
}

// folder is an estate with targets, and more files.
func folder(t *testing.T, targets string, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"product.yaml": "kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [test]\n---\nkind: Environment\nname: test\nruntime: {docker: {http: \"127.0.0.1:8079\"}}\n---\n" +
			"kind: Tenant\nname: east\nenvironment: test\nhosts: [east.example]\n",
		"notifications.yaml": "kind: Notifications\ntargets:\n" + targets,
	}
	for name, content := range more {
		files[name] = content
	}
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func announce(t *testing.T, s *store.Store, key string) {
	t.Helper()
	m := sample
	m.Key, m.Environment = key, "test"
	notice, err := m.Notice()
	require.NoError(t, err)
	require.NoError(t, s.In(t.Context(), func(tx pgx.Tx) error { return s.Announce(t.Context(), tx, notice) }))
}

func dispatcher(s *store.Store, dir string) *Dispatcher {
	return &Dispatcher{Store: s, every: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Estate: func(ctx context.Context) (*estate.Estate, error) { return estate.Load(ctx, dir) }}
}

// running runs one until the test ends.
func running(t *testing.T, d *Dispatcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// hook is an endpoint that answers by a plan, then with 200.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	keys  []string
	came  chan string
	codes []int
}

func startHook(t *testing.T, codes ...int) *hook {
	h := &hook{came: make(chan string, 100), codes: codes}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		code := http.StatusOK
		if n := len(h.keys); n < len(h.codes) {
			code = h.codes[n]
		}
		h.keys = append(h.keys, r.Header.Get("Idempotency-Key"))
		w.WriteHeader(code)
		h.came <- r.Header.Get("Idempotency-Key")
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) next(t *testing.T) string {
	t.Helper()
	select {
	case key := <-h.came:
		return key
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 s")
		return ""
	}
}

// quick makes the pauses short.
func quick(t *testing.T, n int) {
	t.Helper()
	before := pauses
	pauses = slices.Repeat([]time.Duration{20 * time.Millisecond}, n)
	t.Cleanup(func() { pauses = before })
}

// state waits for the only delivery to be as asked for.
func state(t *testing.T, s *store.Store, so func(store.Delivery) bool) store.Delivery {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		rows, err := s.Pool.Query(t.Context(), "select * from deliveries")
		require.NoError(t, err)
		d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[store.Delivery])
		if err == nil && so(d) {
			return d
		}
		require.True(t, time.Now().Before(deadline), "after 30 s: %+v, %v", d, err)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// An endpoint that fails at first is told in the end, once; the same thing is not told twice.
func TestRetriedAndTold(t *testing.T) {
	long.Test(t)
	quick(t, 5)
	s := outbox(t)
	h := startHook(t, 503, 500, 429)
	dir := folder(t, "  - name: hook\n    url: file:secret\n", map[string]string{"secret": h.URL + "\n"})
	announce(t, s, "a")
	announce(t, s, "a")
	running(t, dispatcher(s, dir))
	for range 4 {
		require.Equal(t, "a", h.next(t))
	}
	d := state(t, s, func(d store.Delivery) bool { return d.Delivered != nil })
	require.Equal(t, 4, d.Attempts)
	require.Empty(t, d.LastError)
	announce(t, s, "a")
	announce(t, s, "b")
	require.Equal(t, "b", h.next(t), "a was told")
}

// After the last pause it is given up, with a record that holds no secret. What no target wants goes nowhere.
func TestGivenUp(t *testing.T) {
	long.Test(t)
	quick(t, 2)
	s := outbox(t)
	h := startHook(t, 503, 503, 503)
	dir := folder(t, "  - name: hook\n    url: file:secret\n  - name: freezes\n    url: file:secret\n    events: [freeze]\n", map[string]string{"secret": h.URL + "/T0KEN-T0KEN"})
	announce(t, s, "a")
	running(t, dispatcher(s, dir))
	for range 3 {
		h.next(t)
	}
	d := state(t, s, func(d store.Delivery) bool { return d.GaveUp != nil })
	require.Equal(t, "notify: tell hook by http: it answers 503 Service Unavailable", d.LastError)
	given, err := s.GivenUp(t.Context(), time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Len(t, given, 1)
	require.Equal(t, "hook", given[0].Target)
}

// A secret that is not there yet, and a target that is gone.
func TestSecretMissing(t *testing.T) {
	quick(t, 5000)
	s := outbox(t)
	h := startHook(t)
	dir := folder(t, "  - name: hook\n    url: file:secret\n", nil)
	announce(t, s, "a")
	running(t, dispatcher(s, dir))
	require.Contains(t, state(t, s, func(d store.Delivery) bool { return d.LastError != "" }).LastError, "file:secret")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(h.URL), 0o600))
	require.Equal(t, "a", h.next(t))
}

// dispatch is what the killed process does.
func dispatch() {
	s, err := store.Open(context.Background(), os.Getenv("NOTIFY_TEST_STORE"))
	if err != nil {
		panic(err)
	}
	d := dispatcher(s, os.Getenv("NOTIFY_TEST_ESTATE"))
	d.hold = time.Second
	panic(d.Run(context.Background()))
}

// A server that is killed while it tells somebody loses nothing: another one tells, once the hold is over.
func TestKilled(t *testing.T) {
	s := outbox(t)
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	told := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		first := false
		once.Do(func() { first = true; close(reached) })
		if first {
			<-release // the first one is never answered
			return
		}
		told <- r.Header.Get("Idempotency-Key")
	}))
	defer server.Close()
	defer close(release)
	dir := folder(t, "  - name: hook\n    url: file:secret\n", map[string]string{"secret": server.URL})
	announce(t, s, "a")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NOTIFY_TEST_ROLE=dispatcher", "NOTIFY_TEST_STORE="+s.Pool.Config().ConnString(), "NOTIFY_TEST_ESTATE="+dir)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Error("the dispatcher did not come")
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	running(t, dispatcher(s, dir))
	select {
	case key := <-told:
		require.Equal(t, "a", key)
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was told within 30 s of the kill")
	}
	require.Equal(t, 2, state(t, s, func(d store.Delivery) bool { return d.Delivered != nil }).Attempts)
}

// A mail server that is away when the notice comes.
func TestMailServerAway(t *testing.T) {
	quick(t, 5000)
	s := outbox(t)
	stopped := httptest.NewServer(http.NotFoundHandler()) // a port that nobody listens on: taken, then given back
	address := stopped.Listener.Addr().String()
	stopped.Close()
	dir := folder(t, "  - name: operators\n    url: file:secret\n    from: waybill@example.com\n    to: [ops@example.com]\n",
		map[string]string{"secret": "smtp://waybill:" + mailPassword + "@" + address})
	announce(t, s, "a")
	running(t, dispatcher(s, dir))
	require.Contains(t, state(t, s, func(d store.Delivery) bool { return d.LastError != "" }).LastError, "refused")
	server := startMail(t, address, false)
	require.Contains(t, server.next(t).Data, "order_confirm failed on 4 of 60")
	state(t, s, func(d store.Delivery) bool { return d.Delivered != nil })
}

// A freeze is announced a day before, once for each environment, and to whom it concerns.
func TestFreezes(t *testing.T) {
	s := outbox(t)
	dir := folder(t, "  - name: hook\n    url: file:secret\n", map[string]string{"calendar.yaml": `kind: Calendar
name: warehouse
timezone: Europe/Berlin
freezes:
  - {name: peak, from: 2026-12-14, to: 2027-01-03, process: promotions, reason: Christmas trade}
  - {name: elsewhere, from: 2026-12-14, reason: x, applies_to: {labels: {country: fr}}}
`})
	d := dispatcher(s, dir)
	for _, c := range []struct {
		now  string
		want int
	}{{"2026-12-12T22:00:00Z", 0}, {"2026-12-13T01:00:00Z", 1}, {"2026-12-13T02:00:00Z", 1}, {"2026-12-15T00:00:00Z", 1}} {
		now, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		d.now = func() time.Time { return now }
		require.NoError(t, d.freezes(t.Context()))
		var n int
		require.NoError(t, s.Pool.QueryRow(t.Context(), "select count(*) from notices").Scan(&n))
		require.Equal(t, c.want, n, c.now)
	}
	var title, text string
	require.NoError(t, s.Pool.QueryRow(t.Context(), "select data->>'title', data->>'text' from notices").Scan(&title, &text))
	require.Equal(t, `test: freeze "peak" begins Mon 2026-12-14 00:00 CET`, title)
	require.Equal(t, "Freeze \"peak\" (promotions) begins in 22 h and lasts until Mon 2027-01-04 00:00 CET. Promotions wait meanwhile.\nWhy: Christmas trade", text)
}
