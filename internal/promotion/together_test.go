package promotion

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTogether(t *testing.T) {
	t.Run("one is under way, and one comes next for all", func(t *testing.T) {
		var shared together
		before, first, leads := shared.join("a")
		require.True(t, leads)
		require.Nil(t, before)
		before, second, leads := shared.join("a")
		require.True(t, leads)
		require.Same(t, first, before)
		for range 3 {
			_, third, leads := shared.join("a")
			require.False(t, leads)
			require.Same(t, second, third)
		}
		shared.end("a", first)
		before, third, leads := shared.join("a")
		require.True(t, leads)
		require.Same(t, second, before, "which has its turn by now, and may have begun")
		shared.end("a", second)
		shared.end("a", third)
		require.Empty(t, shared.now)
	})

	t.Run("who asks while it is done shares the next", func(t *testing.T) {
		var shared together
		began, let := make(chan struct{}), make(chan struct{})
		var calls atomic.Int64
		slow := func(context.Context) (int64, error) {
			n := calls.Add(1)
			if n == 1 {
				close(began)
			}
			<-let
			return n, nil
		}
		var all sync.WaitGroup
		all.Go(func() {
			n, err := shared.do(t.Context(), "a", slow)
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
		})
		<-began
		for range 20 {
			all.Go(func() {
				n, err := shared.do(t.Context(), "a", slow)
				require.NoError(t, err)
				require.GreaterOrEqual(t, n, int64(2), "one that had begun before may have looked too early")
			})
		}
		other, err := shared.do(t.Context(), "b", func(context.Context) (int64, error) { return 7, nil })
		require.NoError(t, err)
		require.EqualValues(t, 7, other, "another thing waits for nobody")
		close(let)
		all.Wait()
		require.Empty(t, shared.now)
		require.Empty(t, shared.next)
	})

	t.Run("the end of one who leads is not that of the others", func(t *testing.T) {
		var shared together
		began, let := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			_, err := shared.do(t.Context(), "a", func(context.Context) (int64, error) {
				close(began)
				<-let
				return 1, nil
			})
			require.NoError(t, err)
		})
		<-began
		short, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			_, err := shared.do(short, "a", func(ctx context.Context) (int64, error) { return 0, ctx.Err() })
			require.ErrorIs(t, err, context.Canceled)
		})
		for { // until the one with the short time leads the next
			shared.mu.Lock()
			next := shared.next["a"]
			shared.mu.Unlock()
			if next != nil {
				break
			}
		}
		all.Go(func() {
			n, err := shared.do(t.Context(), "a", func(context.Context) (int64, error) { return 2, nil })
			require.NoError(t, err)
			require.EqualValues(t, 2, n)
		})
		cancel()
		close(let)
		all.Wait()
		require.Empty(t, shared.now)
		require.Empty(t, shared.next)
	})

	t.Run("an error is told to whoever did it, the others try themselves", func(t *testing.T) {
		var shared together
		_, err := shared.do(t.Context(), "a", func(context.Context) (int64, error) { return 0, errors.New("away") })
		require.EqualError(t, err, "away")
		n, err := shared.do(t.Context(), "a", func(context.Context) (int64, error) { return 3, nil })
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
	})
}
