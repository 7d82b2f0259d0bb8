package baseline

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

var server = postgrestest.Shared(postgres.Options{TCP: true, Settings: map[string]string{"lock_timeout": "5s"}})

// TestARealPostgres: what a server, a database, a role and a session say is told apart.
func TestARealPostgres(t *testing.T) {
	long.Test(t)
	url := server(t).URL("postgres")
	own, err := GatherPostgres(t.Context(), url)
	require.NoError(t, err)
	own.Own = true
	for _, d := range own.Of() { // what this test's server is started with, and nothing that Waybill starts its own with
		require.True(t, d.Advice || d.Name == "timeouts" || d.Name == "durability", "%s: %s", d.Name, d.Says())
	}
	admin, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	for _, sql := range []string{
		"create role owner_of_east", "create role pool login in role owner_of_east", "create role reports login", "create database east owner owner_of_east",
		"alter role pool set statement_timeout = '30s'", "alter role reports set statement_timeout = '5s'",
		"alter database east set idle_in_transaction_session_timeout = '1min'",
	} {
		_, err := admin.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	p, err := GatherPostgres(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, Direct, p.Pooler)
	require.WithinDuration(t, time.Now(), p.Now, time.Minute)
	require.Equal(t, []Override{{"", "pool", "statement_timeout", "30s"}, {"east", "", "idle_in_transaction_session_timeout", "1min"}}, p.Overrides)
	require.Equal(t, "5000", p.Settings["lock_timeout"])
	p.Demand = 1000
	found := p.Of()
	said := map[string]Deviation{}
	for _, d := range found {
		said[d.Name] = d
	}
	require.Contains(t, said, "max_connections")
	require.Contains(t, said["timeouts"].Is, "lock_timeout is 5s")
	require.Contains(t, said["timeouts"].Is, "statement_timeout is 30s for role pool")
	require.Contains(t, said["timeouts"].Is, "idle_in_transaction_session_timeout is 1min in database east")
	require.NotContains(t, said, "role")

	refused := "postgres://nobody:hunter2@127.0.0.1:" + strconv.Itoa(server(t).Port()) + "/none"
	_, err = GatherPostgres(t.Context(), refused)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = GatherPostgres(t.Context(), "postgres://u:hunter2@[x/none")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

// TestARealPgBouncer: its modes are told apart by what it does, not by what its port is.
func TestARealPgBouncer(t *testing.T) {
	long.Test(t)
	binary, err := exec.LookPath("pgbouncer")
	require.NoError(t, err, "install it: hack/setup.sh packages checks")
	behind, err := pgx.ParseConfig(server(t).URL("postgres"))
	require.NoError(t, err)
	for mode, want := range map[string]Pooler{"session": SessionPooler, "transaction": SharingPooler, "statement": SharingPooler} {
		t.Run(mode, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "wbpgb")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			require.NoError(t, os.Chmod(dir, 0o777))
			free, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			port := free.Addr().(*net.TCPAddr).Port
			require.NoError(t, free.Close())
			conf := filepath.Join(dir, "pgbouncer.ini")
			require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "[databases]\n* = host=%s port=%d user=%s password=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\ndefault_pool_size = 3\nignore_startup_parameters = extra_float_digits\n",
				behind.Host, behind.Port, behind.User, behind.Password, port, mode), 0o644))
			run := exec.Command(binary, "-q", conf)
			if os.Geteuid() == 0 { // it refuses to be root
				run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			run.Stderr = os.Stderr
			require.NoError(t, run.Start())
			t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
			require.Eventually(t, func() bool {
				conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			}, time.Minute, 10*time.Millisecond)
			p, err := GatherPostgres(t.Context(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&default_query_exec_mode=exec", port))
			require.NoError(t, err)
			require.Equal(t, want, p.Pooler)
		})
	}
}

// TestARealRedis: one that keeps everything is fit, and one that keeps nothing is not.
func TestARealRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it: hack/setup.sh packages redis")
	look := func(t *testing.T, arguments ...string) Redis {
		t.Helper()
		dir := t.TempDir()
		socket := filepath.Join(dir, "s")
		server := exec.Command(binary, append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir}, arguments...)...)
		require.NoError(t, server.Start())
		t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
		t.Cleanup(func() { _ = client.Close() })
		require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, time.Minute, 10*time.Millisecond)
		r, err := GatherRedis(t.Context(), client)
		require.NoError(t, err)
		r.Sessions = true
		return r
	}
	require.Empty(t, look(t, "--appendonly", "yes", "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru").Of())
	require.Equal(t, []string{"eviction policy", "persistence"}, names(look(t, "--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-random").Of()))
	require.Equal(t, []string{"maxmemory", "persistence"}, names(look(t).Of()), "as Debian starts it")
	refuses := look(t, "--rename-command", "CONFIG", "", "--maxmemory", "64mb")
	require.Nil(t, refuses.Save)
	require.Equal(t, []string{"persistence"}, names(refuses.Of()))
}
