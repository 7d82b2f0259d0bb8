package server

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// Every use of a secret is in the ledger by its name, without its value; one that is read over and over is counted.
func TestSecretReadsAreRecorded(t *testing.T) {
	s := &server{store: storetest.Open(t, cluster(t)), log: slog.New(slog.DiscardHandler)}
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "git"), []byte("hunter2\n"), 0o600))
	for range 3 {
		value, err := s.secret(t.Context(), root, "file:git", "the estate's repository")
		require.NoError(t, err)
		require.Equal(t, "hunter2", value)
	}
	_, err := s.secret(t.Context(), root, "file:mail", "target mail")
	require.ErrorContains(t, err, "file:mail")
	rows, err := s.store.Pool.Query(t.Context(), "select kind, payload::text from ledger_outbox order by id")
	require.NoError(t, err)
	var told []string
	for rows.Next() {
		var kind, payload string
		require.NoError(t, rows.Scan(&kind, &payload))
		require.Equal(t, ledger.SecretRead, kind)
		require.NotContains(t, payload, "hunter2")
		told = append(told, payload)
	}
	require.NoError(t, rows.Err())
	require.Len(t, told, 2, "one entry for each use")
	require.JSONEq(t, `{"secret": "file:git", "for": "the estate's repository", "found": true}`, told[0])
	require.JSONEq(t, `{"secret": "file:mail", "for": "target mail", "found": false}`, told[1])
}

func TestSecretReadsAreCounted(t *testing.T) {
	var r secretReads
	use, now := secretUse{"env:X", "target chat", true}, time.Now()
	var log []string
	for _, after := range []time.Duration{0, time.Minute, 59 * time.Minute, time.Hour, 90 * time.Minute, 2 * time.Hour} {
		since, write := r.count(use, now.Add(after))
		log = append(log, fmt.Sprintf("%s: %v, %d", after, write, since))
	}
	require.Equal(t, []string{"0s: true, 0", "1m0s: false, 0", "59m0s: false, 0", "1h0m0s: true, 2", "1h30m0s: false, 0", "2h0m0s: true, 1"}, log)
	_, write := r.count(secretUse{"env:X", "target chat", false}, now)
	require.True(t, write, "that it was missing is another use")
}

// The password of a Redis server is no part of its address, is read when it is needed, and that is recorded.
func TestRedisOfAnEnvironment(t *testing.T) {
	s := &server{store: storetest.Open(t, cluster(t)), log: slog.New(slog.DiscardHandler)}
	s.config.Estate = t.TempDir()
	options, err := s.redis(t.Context(), estate.Environment{Name: "production"})
	require.NoError(t, err)
	require.Nil(t, options, "there is none")
	there := estate.Environment{Name: "production", Redis: estate.Redis{URL: "redis://redis.example:6380/1", Password: "file:redis"}}
	_, err = s.redis(t.Context(), there)
	require.ErrorContains(t, err, "environment production: redis.password: ")
	require.NoError(t, os.WriteFile(filepath.Join(s.config.Estate, "redis"), []byte("hunter2\n"), 0o600))
	options, err = s.redis(t.Context(), there)
	require.NoError(t, err)
	require.Equal(t, [2]string{"redis.example:6380", "hunter2"}, [2]string{options.Addr, options.Password})
	require.Equal(t, 1, options.DB)
	var told int
	require.NoError(t, s.store.Pool.QueryRow(t.Context(), "select count(*) from ledger_outbox where payload::json->>'for' = 'the Redis server of production'").Scan(&told))
	require.Equal(t, 2, told, "that it was not found, and that it was")
	_, err = s.redis(t.Context(), estate.Environment{Name: "production", Redis: estate.Redis{URL: "http://redis.example"}})
	require.ErrorContains(t, err, "environment production: redis.url does not parse")
}
