package database

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
)

func TestSurvey(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("Surveyed")
	_, err := b.SetAccess(ctx, b.db, []string{"Surveyed"})
	require.NoError(t, err)
	all, err := b.Survey(ctx, 0)
	require.NoError(t, err)
	require.Greater(t, all[b.db].Bytes, int64(1<<20))
	require.Equal(t, Surveyed{Bytes: all[b.db].Bytes}, all[b.db])
	require.NotContains(t, all, "template1")

	conn := b.connect("Surveyed", b.db) // calls itself waybill, and is not
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "select pg_advisory_lock($1, $2)", int32(bridge.LockClass), int32(bridge.LockKey))
	require.NoError(t, err)
	all, err = b.Survey(ctx, 0)
	require.NoError(t, err)
	require.True(t, all[b.db].Updating)
	require.Equal(t, 1, all[b.db].Long)
	require.Positive(t, all[b.db].Oldest)
	all, err = b.Survey(ctx, time.Hour)
	require.NoError(t, err)
	require.Zero(t, all[b.db].Long)
	require.NoError(t, tx.Rollback(ctx))
}

func TestWorked(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("Worker")
	_, err := b.SetAccess(ctx, b.db, []string{"Worker"})
	require.NoError(t, err)
	before, err := b.Worked(ctx)
	require.NoError(t, err)
	conn := b.connect("Worker", b.db)
	_, err = conn.Exec(ctx, "select pg_sleep(0.3)")
	require.NoError(t, err)
	require.NoError(t, conn.Close(ctx)) // a session that ends has told what it did
	require.NoError(t, poll(ctx, func() (bool, error) {
		now, err := b.Worked(ctx)
		return now[b.db]-before[b.db] >= 300*time.Millisecond, err
	}))
}
