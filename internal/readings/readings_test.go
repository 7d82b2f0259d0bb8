package readings

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Whoever asks while a reading goes on gets the next one, and all who wait for that get the same.
func TestSharedReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New()
		var state, begun atomic.Int64
		goOn := make(chan struct{})
		read := func(context.Context) (int64, error) {
			begun.Add(1)
			seen := state.Load()
			<-goOn
			return seen, nil
		}
		var all sync.WaitGroup
		ask := func(least int64) {
			all.Go(func() {
				v, err := Shared(t.Context(), r, "key", read)
				require.NoError(t, err)
				require.GreaterOrEqual(t, v, least, "what was there when it was asked for")
			})
		}
		ask(0)
		synctest.Wait() // it reads
		state.Store(1)
		for range 100 {
			ask(1)
		}
		synctest.Wait()
		require.EqualValues(t, 1, begun.Load(), "the others wait")
		goOn <- struct{}{}
		synctest.Wait()
		require.EqualValues(t, 2, begun.Load(), "one more for a hundred")
		state.Store(2)
		ask(2)
		goOn <- struct{}{}
		synctest.Wait()
		require.EqualValues(t, 3, begun.Load())
		goOn <- struct{}{}
		all.Wait()
		synctest.Wait()
		require.Empty(t, r.of, "nothing is kept")
	})
}

// Who goes away, fails or panics takes nobody along.
func TestSharedReadingsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New()
		goOn := make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		ask := func(ctx context.Context, want error) {
			all.Go(func() {
				_, err := Shared(ctx, r, "key", func(ctx context.Context) (int, error) {
					<-goOn
					return 1, ctx.Err()
				})
				require.ErrorIs(t, err, want)
			})
		}
		ask(ctx, context.Canceled)
		synctest.Wait()
		ask(t.Context(), nil)
		leave()
		synctest.Wait()
		close(goOn)
		all.Wait()

		broken := errors.New("broken")
		_, err := Shared(t.Context(), r, "fails", func(context.Context) (string, error) { return "", broken })
		require.ErrorIs(t, err, broken)
		require.PanicsWithValue(t, "in the request's own goroutine", func() {
			_, _ = Shared(t.Context(), r, "panics", func(context.Context) (string, error) { panic("in the request's own goroutine") })
		})
		v, err := Shared(t.Context(), r, "panics", func(context.Context) (string, error) { return "works", nil })
		require.NoError(t, err)
		require.Equal(t, "works", v)
	})
}
