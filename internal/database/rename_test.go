package database

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A name that somebody else has taken meanwhile stays theirs, and what was made aside stays as it was.
func TestRename(t *testing.T) {
	b, ctx := setup(t), t.Context()
	aside, name := b.db+"__n1", b.db+"-made"
	t.Cleanup(func() { _ = b.Drop(context.Background(), aside); _ = b.Drop(context.Background(), name) })
	require.ErrorIs(t, b.Rename(ctx, aside, name, "ours"), ErrNotFound)
	require.NoError(t, b.Create(ctx, aside, b.owner))
	require.ErrorIs(t, b.Rename(ctx, aside, b.db, "ours"), ErrExists)
	comment, err := b.Comment(ctx, b.db)
	require.NoError(t, err)
	require.Empty(t, comment)

	conn, err := b.Server.connect(ctx, aside) // a session in it does not keep it from its name
	require.NoError(t, err)
	defer conn.Close(ctx)
	require.NoError(t, b.Rename(ctx, aside, name, "it's ours"))
	comment, err = b.Comment(ctx, name)
	require.NoError(t, err)
	require.Equal(t, "it's ours", comment)
	exists, err := b.Exists(ctx, aside)
	require.NoError(t, err)
	require.False(t, exists)
}
