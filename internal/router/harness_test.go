package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be a router of its own, to be killed.
func TestMain(m *testing.M) {
	if config := os.Getenv("ROUTER_TEST_CONFIG"); config != "" {
		var c Config
		if err := json.Unmarshal([]byte(config), &c); err != nil {
			panic(err)
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Run(ctx, c); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	host     = "acme.test"
	patience = time.Minute
)

// rig is a running router, controlled over its socket as by the Waybill server.
type rig struct {
	t          *testing.T
	server     *server
	control    Control
	generation int64
	stop       func() error
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	dir := shortDir(t)
	c := Config{HTTP: "127.0.0.1:0", Admin: filepath.Join(dir, "admin.sock"), State: filepath.Join(dir, "state"), Log: testLog(t)}
	for _, f := range change {
		f(&c)
	}
	s, err := start(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.wait(ctx) }()
	stopped := false
	r := &rig{t: t, server: s, control: Dial(c.Admin)}
	r.stop = func() error { cancel(); stopped = true; return <-ended }
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, r.stop())
		}
	})
	return r
}

// shortDir is a temporary folder whose path leaves room for a Unix socket's name.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "wbr")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		_, _ = os.Stderr.WriteString(w.t.Name() + ": " + string(p))
	}
	return len(p), nil
}

func testLog(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(logWriter{t}, nil)) }

func (r *rig) url(path string) string { return "http://" + r.server.http.Addr().String() + path }

// apply puts a table with one tenant in force.
func (r *rig) apply(tenant Tenant) {
	r.t.Helper()
	r.generation++
	if tenant.Name == "" {
		tenant.Name = "acme"
	}
	if tenant.Hosts == nil {
		tenant.Hosts = []string{host}
	}
	if tenant.Mode == "" {
		tenant.Mode = Open
	}
	table := Table{Environment: "test", Generation: r.generation, Tenants: []Tenant{tenant}}
	require.NoError(r.t, r.control.Apply(r.t.Context(), table))
}

func (r *rig) stats() TenantStats {
	r.t.Helper()
	s, err := r.control.Stats(context.Background())
	require.NoError(r.t, err)
	require.Len(r.t, s.Tenants, 1)
	return s.Tenants[0]
}

func (r *rig) pool(name string) PoolStats {
	r.t.Helper()
	for _, p := range r.stats().Pools {
		if p.Pool == name {
			return p
		}
	}
	r.t.Fatalf("no counts of pool %s", name)
	return PoolStats{}
}

func (r *rig) eventually(what string, is func() bool) {
	r.t.Helper()
	require.Eventually(r.t, is, patience, 5*time.Millisecond, what)
}

// upstream makes a pool out of a handler; it says its name in the header Pool.
func upstream(t *testing.T, name string, h http.HandlerFunc) Upstream {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Pool", name)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	address := strings.TrimPrefix(s.URL, "http://")
	return Upstream{Pool: name, Web: address, Websocket: address}
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// answerOf is an answer that was read to its end.
type answerOf struct {
	status int
	header http.Header
	pool   string
	body   string
	err    error
}

func (r *rig) do(method, path, body string, change ...func(*http.Request)) answerOf {
	req, err := http.NewRequest(method, r.url(path), strings.NewReader(body))
	if err != nil {
		return answerOf{err: err}
	}
	req.Host = host
	for _, f := range change {
		f(req)
	}
	res, err := client1.Do(req)
	if err != nil {
		return answerOf{err: err}
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return answerOf{res.StatusCode, res.Header, res.Header.Get("Pool"), string(data), err}
}

var client1 = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

func (r *rig) get(path string, change ...func(*http.Request)) answerOf {
	return r.do(http.MethodGet, path, "", change...)
}

func withBucket(n int) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: BucketCookie, Value: strconv.Itoa(n)}) }
}

func asPerson(r *http.Request) { r.Header.Set("Accept", "text/html,*/*;q=0.8") }

// raw sends bytes as they are and returns what comes back until the router closes.
func (r *rig) raw(request string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.http.Addr().String())
	require.NoError(r.t, err)
	defer conn.Close()
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, request)
	require.NoError(r.t, err)
	var out bytes.Buffer
	_, err = io.Copy(&out, conn)
	require.NoError(r.t, err)
	return out.String()
}
