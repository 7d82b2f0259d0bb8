package database

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// An owner role goes once nothing is its own any more and nobody acts as it, and not before.
func TestDropOwner(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("Last-Login")
	gone, err := b.DropOwner(ctx, b.owner)
	require.NoError(t, err)
	require.False(t, gone, "a database is its own")
	other := b.db + "-other"
	require.NoError(t, b.Create(ctx, other, b.owner))
	t.Cleanup(func() { require.NoError(t, b.Drop(context.Background(), other)) })
	require.NoError(t, b.Drop(ctx, b.db))
	logins, err := b.LoginsOf(ctx, b.owner)
	require.NoError(t, err)
	require.Equal(t, []string{"Last-Login"}, logins)
	require.NoError(t, b.DropLogin(ctx, "Last-Login"))
	gone, err = b.DropOwner(ctx, b.owner)
	require.NoError(t, err)
	require.False(t, gone, "another one is")
	require.NoError(t, b.Drop(ctx, other))
	for range 2 {
		gone, err = b.DropOwner(ctx, b.owner)
		require.NoError(t, err)
		require.True(t, gone)
	}
	_, err = b.DropOwner(ctx, "postgres")
	require.ErrorIs(t, err, ErrName)
	require.NoError(t, b.EnsureOwner(ctx, b.owner))
	b.login("Stays")
	gone, err = b.DropOwner(ctx, b.owner)
	require.NoError(t, err)
	require.False(t, gone, "somebody acts as it")
}
