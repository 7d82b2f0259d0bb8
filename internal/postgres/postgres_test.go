package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// folder is a short-named folder that an unprivileged server can reach (t.TempDir is closed to it).
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wbpg")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func options(dir string) Options {
	return Options{Dir: dir, Name: "test", Password: "s3cret", Settings: map[string]string{"shared_buffers": "16MB"}}
}

func started(t *testing.T, o Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Start(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, c.Stop(ctx))
	})
	return c
}

func query(t *testing.T, c *Cluster, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var out string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&out))
	return out
}

func postmaster(t *testing.T, c *Cluster) int {
	t.Helper()
	lock, running, err := c.running(t.Context())
	require.NoError(t, err)
	require.True(t, running)
	return lock.PID
}

func TestLife(t *testing.T) {
	dir := folder(t)
	ctx := t.Context()
	c := started(t, options(dir))
	require.NotEmpty(t, c.Version)
	require.Equal(t, "on", query(t, c, "SHOW data_checksums"))
	require.Equal(t, "on", query(t, c, "SHOW fsync"))
	require.Equal(t, "", query(t, c, "SHOW listen_addresses"))
	require.Equal(t, "16MB", query(t, c, "SHOW shared_buffers"))
	require.Equal(t, "É", query(t, c, "SELECT upper('é')"))
	hba, err := os.ReadFile(filepath.Join(dir, "data", "pg_hba.conf"))
	require.NoError(t, err)
	require.NotContains(t, string(hba), "trust\n")

	// Adopted, not started again, with a changed setting reloaded.
	pid := postmaster(t, c)
	o := options(dir)
	o.Settings["work_mem"] = "5MB"
	again := started(t, o)
	require.Equal(t, pid, postmaster(t, again))
	require.Eventually(t, func() bool { return query(t, again, "SHOW work_mem") == "5MB" }, time.Minute, 20*time.Millisecond)

	// Another port on the same folder: restarted with it.
	o.Port = 6001
	moved := started(t, o)
	require.NotEqual(t, pid, postmaster(t, moved))
	require.Equal(t, "6001", query(t, moved, "SHOW port"))

	require.NoError(t, moved.Restart(ctx))
	require.NoError(t, moved.Stop(ctx))
	require.NoError(t, moved.Stop(ctx), "stopping twice is fine")
	_, running, err := moved.running(ctx)
	require.NoError(t, err)
	require.False(t, running)

	o.Password = "other"
	_, err = Start(ctx, o)
	require.ErrorIs(t, err, ErrPassword)
	require.NotContains(t, err.Error(), "other\"")
}

func TestAfterAKilledServer(t *testing.T) {
	long.Test(t)
	c := started(t, options(folder(t)))
	query(t, c, "SELECT pg_create_restore_point('x')::text") // something to recover
	pid := postmaster(t, c)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	c = started(t, c.opts)
	require.NotEqual(t, pid, postmaster(t, c))
}

// A lock file whose number now belongs to a process of the same user that is no server: what a
// rebooted machine or container leaves.
func TestStaleLockOfALivingStranger(t *testing.T) {
	long.Test(t)
	c := started(t, options(folder(t)))
	lock, err := os.ReadFile(filepath.Join(c.dataDir(), "postmaster.pid"))
	require.NoError(t, err)
	require.NoError(t, c.Stop(t.Context()))

	stranger := exec.Command("sleep", "600")
	c.user.apply(stranger)
	require.NoError(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	lines := strings.SplitN(string(lock), "\n", 2)
	stale := strconv.Itoa(stranger.Process.Pid) + "\n" + lines[1]
	for _, path := range []string{filepath.Join(c.dataDir(), "postmaster.pid"), c.opts.socketFile() + ".lock"} {
		require.NoError(t, os.WriteFile(path, []byte(stale), 0o600))
		require.NoError(t, c.user.own(path))
	}
	started(t, c.opts)
}

func TestRefusals(t *testing.T) {
	long.Test(t)
	ctx := t.Context()
	t.Run("other major version", func(t *testing.T) {
		dir := folder(t)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9\n"), 0o600))
		_, err := Start(ctx, options(dir))
		require.ErrorIs(t, err, ErrOtherVersion)
		require.ErrorContains(t, err, "apt-get install postgresql-9")
	})
	t.Run("foreign folder", func(t *testing.T) {
		dir := folder(t)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "photo.jpg"), nil, 0o600))
		_, err := Start(ctx, options(dir))
		require.ErrorContains(t, err, "is not empty")
	})
	t.Run("socket path", func(t *testing.T) {
		o := options(folder(t))
		o.SocketDir = filepath.Join(o.Dir, strings.Repeat("x", 100))
		_, err := Start(ctx, o)
		require.ErrorIs(t, err, ErrSocketPath)
	})
	t.Run("TCP port", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		o := options(folder(t))
		o.TCP, o.Port = true, l.Addr().(*net.TCPAddr).Port
		_, err = Start(ctx, o)
		require.ErrorIs(t, err, ErrPortInUse)
	})
	t.Run("socket of another server", func(t *testing.T) {
		a := started(t, options(folder(t)))
		o := options(folder(t))
		o.SocketDir = a.SocketDir()
		_, err := Start(ctx, o)
		require.ErrorIs(t, err, ErrPortInUse)
		require.ErrorContains(t, err, a.dataDir())
	})
	t.Run("closed folder", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Log("not root: the server runs as ourselves and nothing can be closed to it alone")
			return
		}
		dir := folder(t)
		require.NoError(t, os.Chmod(dir, 0o700))
		_, err := Start(ctx, options(filepath.Join(dir, "pg")))
		require.ErrorContains(t, err, "chmod o+x "+dir)
	})
	t.Run("bad setting", func(t *testing.T) {
		o := options(folder(t))
		o.Settings["shared_buffers"] = "lots"
		_, err := Start(ctx, o)
		require.ErrorContains(t, err, "shared_buffers", "the server's own words are in the message")
	})
}

// The server outlives the process that started it, even when that one's whole group is killed.
func TestOutlivesItsStarter(t *testing.T) {
	long.Test(t)
	const env = "WAYBILL_TEST_START_IN"
	if dir := os.Getenv(env); dir != "" {
		_, err := Start(context.Background(), options(dir))
		fmt.Println("STARTED", err)
		select {}
	}
	dir := folder(t)
	child := exec.Command(os.Args[0], "-test.run=^TestOutlivesItsStarter$")
	child.Env = append(os.Environ(), env+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line := make([]byte, 256)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.Contains(t, string(line[:n]), "STARTED <nil>")
	require.NoError(t, syscall.Kill(-child.Process.Pid, syscall.SIGKILL))
	_ = child.Wait()

	before, err := readLock(filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, err)
	c := started(t, options(dir))
	require.Equal(t, before.PID, postmaster(t, c), "adopted")
}

func TestFindClient(t *testing.T) {
	server, err := FindServer(t.Context())
	require.NoError(t, err)
	b, err := FindClient(t.Context(), server.Major)
	require.NoError(t, err)
	require.Equal(t, server.Major, b.Major)
	_, err = FindClient(t.Context(), 99)
	require.True(t, errors.Is(err, ErrNotInstalled))
	require.ErrorContains(t, err, "apt-get install postgresql-client-99")
}
