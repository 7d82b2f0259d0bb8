package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// However many ask at once, each gets their own, as it is after they have asked, and a handful of queries serve them all.
func TestGather(t *testing.T) {
	var version, queries atomic.Int64
	g := &gathering[int64]{read: func(_ context.Context, ids []string) (map[string]int64, error) {
		queries.Add(1)
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
	}}
	var all sync.WaitGroup
	const people, times = 100, 50
	for i := range people {
		all.Go(func() {
			for range times {
				before := version.Add(1)
				got, err := g.one(t.Context(), fmt.Sprint(i))
				require.NoError(t, err)
				require.GreaterOrEqual(t, got, before, "what was written before one asked")
			}
		})
	}
	all.Wait()
	require.Less(t, queries.Load(), int64(people*times))
	t.Log(queries.Load(), "queries for", people*times)

	_, err := g.one(t.Context(), "nobody")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = g.one(t.Context(), "broken")
	require.ErrorContains(t, err, "away")
	got, err := g.one(t.Context(), "again")
	require.NoError(t, err, "a failure is not kept")
	require.Equal(t, version.Load(), got)
}

// Who goes away while others wait takes nothing from them.
func TestGatherIsLeft(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	g := &gathering[string]{read: func(ctx context.Context, ids []string) (map[string]string, error) {
		enter <- struct{}{}
		<-leave
		return map[string]string{"a": "A"}, ctx.Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := g.one(ctx, "a"); gone <- err }()
	<-enter
	go func() { _, err := g.one(t.Context(), "a"); stays <- err }()
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	leave <- struct{}{}
	<-enter
	leave <- struct{}{}
	require.NoError(t, <-stays)
}
