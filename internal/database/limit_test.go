package database

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestLimitConnections(t *testing.T) {
	b := setup(t)
	b.login("Pool-Limited")
	_, err := b.SetAccess(t.Context(), b.db, []string{"Pool-Limited"})
	require.NoError(t, err)
	limit := func(most int, want bool) {
		changed, err := b.LimitConnections(t.Context(), b.db, most)
		require.NoError(t, err)
		require.Equal(t, want, changed)
	}
	limit(0, false)
	limit(2, true)
	limit(2, false)
	b.connect("Pool-Limited", b.db)
	b.connect("Pool-Limited", b.db)
	_, err = pgx.Connect(t.Context(), b.urlAs("Pool-Limited", b.db))
	require.ErrorContains(t, err, "too many connections for database")
	ours, err := b.Server.connect(t.Context(), b.db)
	require.NoError(t, err, "Waybill itself gets in")
	require.NoError(t, ours.Close(context.Background()))
	limit(0, true)
	b.connect("Pool-Limited", b.db)

	_, err = b.LimitConnections(t.Context(), "no-such-database", 5)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = b.LimitConnections(t.Context(), "postgres", 5)
	require.ErrorIs(t, err, ErrName)
}
