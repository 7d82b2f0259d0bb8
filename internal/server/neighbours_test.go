package server

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/neighbour"
)

// People are told once of each that begins to be too much, whichever of two servers sees it first.
func TestNoisyNeighboursAreTold(t *testing.T) {
	long.Test(t)
	s := isolated(t)
	one, other := map[string]bool{}, map[string]bool{}
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	tell := func(seen map[string]bool, at time.Time, noisy bool) {
		shares := []neighbour.Share{{Tenant: "east", Pool: "r-1", OfUsed: .83, Noisy: noisy}, {Tenant: "west", Pool: "r-1", OfUsed: .17}}
		require.NoError(t, s.tellNoisy(t.Context(), "production", shares, seen, at))
	}
	told := func() []string {
		rows, err := s.store.Pool.Query(t.Context(), "select data->>'title' from notices where event = 'noisy' order by id")
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return list
	}
	tell(one, at, false)
	require.Empty(t, told())
	tell(one, at, true)
	tell(one, at.Add(time.Minute), true)
	tell(other, at.Add(time.Minute), true)
	require.Equal(t, []string{"production/east: takes most of what its pool can do"}, told())
	tell(one, at.Add(2*time.Minute), false)
	tell(one, at.Add(2*time.Hour), true)
	require.Len(t, told(), 2)
}
