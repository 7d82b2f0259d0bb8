package server

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/store"
)

func TestLevels(t *testing.T) {
	for _, test := range []struct {
		share        float64
		before, want int
	}{
		{.1, 0, 0}, {.79, 0, 0}, {.8, 0, 1}, {.99, 0, 1}, {1, 0, 2}, {1.5, 0, 2},
		{.78, 1, 1}, {.74, 1, 0}, {.96, 2, 2}, {.94, 2, 1}, {.76, 2, 1}, {.5, 2, 0},
		{.98, 1, 1}, // it never was beyond
	} {
		assert.Equal(t, test.want, levelOf(test.share, test.before), "%v after %d", test.share, test.before)
	}
}

// TestStorageIsTold: once as a tenant comes near its limit, once as it goes beyond, and again only after it had room.
func TestStorageIsTold(t *testing.T) {
	s := isolated(t)
	note := func(used int64) {
		require.NoError(t, s.noteUsage(t.Context(), store.TenantUsage{Environment: "production", Tenant: "east", DatabaseBytes: used, FilesBytes: 10, LimitBytes: 1000}))
	}
	told := func() []string {
		rows, err := s.store.Pool.Query(t.Context(), "select data->>'title' from notices order by id")
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return list
	}
	note(500)
	require.Empty(t, told())
	near, beyond := "production/east: takes nearly as much storage as it may", "production/east: takes more storage than it may"
	note(800)
	note(780)
	note(820)
	require.Equal(t, []string{near}, told())
	note(1100)
	note(1200)
	require.Equal(t, []string{near, beyond}, told())
	note(900) // it has made room for some
	require.Len(t, told(), 2)
	note(1100)
	require.Equal(t, []string{near, beyond, beyond}, told())
	usage, err := s.store.Usage(t.Context(), "production")
	require.NoError(t, err)
	require.Len(t, usage, 1)
	require.Equal(t, 2, usage[0].Level)
	require.NoError(t, s.store.ForgetUsage(t.Context(), "production", "east"))
}
