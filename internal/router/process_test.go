package router

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a router of its own, as in its container.
type process struct {
	config Config
	cmd    *exec.Cmd
	ended  chan error
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func startProcess(t *testing.T, c Config) *process {
	t.Helper()
	c.Log = nil
	data, err := json.Marshal(c)
	require.NoError(t, err)
	p := &process{config: c, cmd: exec.Command(os.Args[0]), ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), "ROUTER_TEST_CONFIG="+string(data))
	p.cmd.Stderr = os.Stderr
	require.NoError(t, p.cmd.Start())
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	require.Eventually(t, func() bool {
		_, err := Dial(c.Admin).Stats(context.Background())
		return err == nil
	}, patience, 5*time.Millisecond)
	return p
}

func (p *process) get(t *testing.T, path string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+p.config.HTTP+path, nil)
	require.NoError(t, err)
	req.Host = host
	res, err := client1.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestKilledRouterServesItsLastRoutes(t *testing.T) {
	dir := shortDir(t)
	c := Config{HTTP: freeAddress(t), Admin: filepath.Join(dir, "a.sock"), State: filepath.Join(dir, "state")}
	old, fresh := upstream(t, "old", hello), upstream(t, "new", hello)
	table := Table{Environment: "test", Generation: 41, Tenants: []Tenant{{Name: "acme", Hosts: []string{host}, Mode: Open, Stable: old}}}

	p := startProcess(t, c)
	require.NoError(t, Dial(c.Admin).Apply(t.Context(), table))
	table.Generation, table.Tenants[0].Canary, table.Tenants[0].Weight = 42, &fresh, 100
	require.NoError(t, Dial(c.Admin).Apply(t.Context(), table))
	before, err := Dial(c.Admin).Stats(t.Context())
	require.NoError(t, err)
	info, err := os.Stat(c.Admin)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	// Its state is its own while it lives.
	_, err = start(Config{HTTP: "127.0.0.1:0", Admin: filepath.Join(dir, "b.sock"), State: c.State})
	require.ErrorContains(t, err, "another router runs")

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, <-p.ended)
	_, err = Dial(c.Admin).Stats(t.Context())
	require.ErrorIs(t, err, ErrNotRunning)

	p = startProcess(t, c) // nobody tells it anything
	res, err := p.get(t, "/")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "new", res.Header.Get("Pool"))
	after, err := Dial(c.Admin).Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 42, after.Generation)
	require.True(t, after.Started.After(before.Started), "a restart can be told")
	require.NoError(t, Dial(c.Admin).Apply(t.Context(), table), "the same again is still a repetition")
	table.Generation = 41
	var stale *StaleError
	require.ErrorAs(t, Dial(c.Admin).Apply(t.Context(), table), &stale)
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	dir := shortDir(t)
	c := Config{HTTP: freeAddress(t), Admin: filepath.Join(dir, "a.sock"), State: filepath.Join(dir, "state")}
	begun, let := make(chan struct{}), make(chan struct{})
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) { close(begun); <-let; hello(w, q) })
	p := startProcess(t, c)
	require.NoError(t, Dial(c.Admin).Apply(t.Context(), Table{Environment: "test", Generation: 1, Tenants: []Tenant{{Name: "acme", Hosts: []string{host}, Mode: Open, Stable: old}}}))
	answers := make(chan int, 1)
	go func() {
		res, err := p.get(t, "/report")
		if err != nil {
			answers <- 0
			return
		}
		answers <- res.StatusCode
	}()
	<-begun
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", c.HTTP)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, patience, 5*time.Millisecond, "no more connections are accepted")
	s, err := Dial(c.Admin).Stats(t.Context())
	require.NoError(t, err, "the server can still talk to it")
	require.Equal(t, 1, s.Tenants[0].InFlight)
	close(let)
	require.Equal(t, http.StatusOK, <-answers)
	require.NoError(t, <-p.ended, "exit code 0")
	_, err = os.Stat(c.Admin)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestStartIsRefused(t *testing.T) {
	dir := shortDir(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	good := Config{HTTP: "127.0.0.1:0", Admin: filepath.Join(dir, "a.sock"), State: filepath.Join(dir, "state")}
	for _, c := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no address", func(c *Config) { c.HTTP = "" }, "an address to listen on"},
		{"port in use", func(c *Config) { c.HTTP = busy.Addr().String() }, "is in use by another program"},
		{"HTTPS without certificate", func(c *Config) { c.HTTPS = "127.0.0.1:0" }, "needs a certificate"},
		{"certificate is missing", func(c *Config) { c.HTTPS, c.Cert, c.Key = "127.0.0.1:0", dir+"/c", dir+"/k" }, "give a PEM certificate"},
		{"certificate is none", func(c *Config) { c.HTTPS, c.Cert, c.Key = "127.0.0.1:0", file, file }, "give a PEM certificate"},
		{"no state", func(c *Config) { c.State = "" }, "a state folder"},
		{"state is a file", func(c *Config) { c.State = file }, "state folder"},
		{"no socket", func(c *Config) { c.Admin = "" }, "admin socket"},
		{"socket is a file", func(c *Config) { c.Admin = file }, "is no socket"},
		{"socket path too long", func(c *Config) { c.Admin = dir + "/" + string(make([]byte, 200)) }, "choose a shorter folder"},
		{"negative limit", func(c *Config) { c.MaxHeld = -1 }, "must not be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good
			c.change(&config)
			_, err := start(config)
			require.ErrorContains(t, err, c.says)
		})
	}
	s, err := start(good) // nothing of the failures is left that would be in the way
	require.NoError(t, err)
	s.close()
}
