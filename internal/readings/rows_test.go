package readings

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// However many ask at once, each gets their own, as it is after they have asked, and a handful of readings serve them all.
func TestRows(t *testing.T) {
	r := New()
	var version, readings atomic.Int64
	one := func(id string) (int64, bool, error) {
		return Row(t.Context(), r, "rows", id, func(_ context.Context, ids []string) (map[string]int64, error) {
			readings.Add(1)
			rows := map[string]int64{}
			for _, id := range ids {
				if id == "broken" {
					return nil, errors.New("the database is away")
				}
				if id != "nobody" {
					rows[id] = version.Load()
				}
			}
			return rows, nil
		})
	}
	var all sync.WaitGroup
	const people, times = 100, 50
	for i := range people {
		all.Go(func() {
			for range times {
				before := version.Add(1)
				got, found, err := one(fmt.Sprint(i))
				require.NoError(t, err)
				require.True(t, found)
				require.GreaterOrEqual(t, got, before, "what was written before one asked")
			}
		})
	}
	all.Wait()
	require.Less(t, readings.Load(), int64(people*times))
	t.Log(readings.Load(), "readings for", people*times)

	_, found, err := one("nobody")
	require.NoError(t, err)
	require.False(t, found)
	_, _, err = one("broken")
	require.ErrorContains(t, err, "away")
	got, found, err := one("again")
	require.NoError(t, err, "a failure is not kept")
	require.True(t, found)
	require.Equal(t, version.Load(), got)
}
