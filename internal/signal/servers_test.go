package signal

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

// folder is a short-named folder that an unprivileged server can reach (t.TempDir is closed to it).
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wbsig")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestPostgres: a pool whose sessions wait for a lock is seen as such, and only that pool.
func TestPostgres(t *testing.T) {
	cluster := postgrestest.Shared(postgres.Options{})(t)
	admin, err := pgxpool.New(t.Context(), cluster.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(admin.Close)
	for _, sql := range []string{"CREATE TABLE shelf (id int)", "CREATE ROLE old LOGIN PASSWORD 'x'", "CREATE ROLE new LOGIN PASSWORD 'x'", "CREATE ROLE blind LOGIN PASSWORD 'x'", "GRANT ALL ON shelf TO old, new"} {
		_, err := admin.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	as := func(role string) *pgx.Conn {
		config, err := pgx.ParseConfig(cluster.URL("postgres"))
		require.NoError(t, err)
		config.User, config.Password = role, "x"
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	collector := NewCollector(nil, FromPostgres(admin, "postgres", "old", "new"))
	look := func() (values [2]map[string]float64) {
		r := collector.Collect(t.Context(), .5)
		require.Empty(t, r.Problems)
		values = [2]map[string]float64{{}, {}}
		for _, o := range r.Observations {
			values[o.Pool][o.Signal] = o.Value
		}
		for _, g := range r.Gauges {
			require.Equal(t, "postgres.connections_used", g.Name, "there are no replicas")
			require.Positive(t, g.Value)
		}
		return values
	}
	quiet := map[string]float64{PostgresWaiting: 0, PostgresTransaction: 0, PostgresConnections: 0}
	require.Equal(t, [2]map[string]float64{quiet, quiet}, look(), "a pool without sessions has none, which is known")

	holder, waiter := as("old"), as("new")
	holding, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = holding.Exec(t.Context(), "LOCK TABLE shelf IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "SELECT * FROM shelf")
		done <- err
	}()
	var seen [2]map[string]float64
	require.Eventually(t, func() bool { seen = look(); return seen[judge.Canary][PostgresWaiting] == 1 }, time.Minute, 5*time.Millisecond)
	assert.Zero(t, seen[judge.Stable][PostgresWaiting], "it holds the lock, and waits for nobody")
	assert.Positive(t, seen[judge.Stable][PostgresTransaction])
	assert.Equal(t, 1.0, seen[judge.Canary][PostgresConnections])
	require.NoError(t, holding.Rollback(t.Context()))
	require.NoError(t, <-done)

	r := NewCollector(nil, FromPostgres(as("blind"), "postgres", "old", "new")).Collect(t.Context(), .5)
	require.Empty(t, r.Observations, "not seeing sessions is not the same as there being none")
	require.Len(t, r.Problems, 2)
	assert.Contains(t, r.Problems[0], "pg_read_all_stats")
}

// TestRedis: a real server that has too little room evicts, and both are seen.
func TestRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it: hack/setup.sh packages redis")
	dir := folder(t)
	socket := filepath.Join(dir, "redis.sock")
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, binary, "--port", "0", "--unixsocket", socket, "--save", "", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", "--dir", dir)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		cancel()
		_ = server.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	t.Cleanup(func() { _ = client.Close() })
	collector := NewCollector(nil, FromRedis(client))
	look := func() map[string]float64 {
		r := collector.Collect(t.Context(), .5)
		require.Empty(t, r.Problems)
		values := map[string]float64{}
		for _, g := range r.Gauges {
			values[g.Name] = g.Value
		}
		return values
	}
	before := look()
	require.Zero(t, before["redis.evicted"])
	require.Positive(t, before["redis.memory"])
	batch := client.Pipeline()
	for i := range 400 {
		batch.Set(t.Context(), "k"+string(rune(0x100+i)), make([]byte, 10_000), 0)
	}
	_, err = batch.Exec(t.Context())
	require.NoError(t, err)
	after := look()
	assert.Positive(t, after["redis.evicted"])
	assert.Greater(t, after["redis.memory"], before["redis.memory"])
	assert.InDelta(t, .9, after["redis.memory_used"], .2)

	cancel()
	_ = server.Wait()
	r := collector.Collect(t.Context(), .5)
	require.Empty(t, r.Gauges)
	require.Len(t, r.Problems, 1)
	assert.Contains(t, r.Problems[0], "Redis: ask "+socket)
}
