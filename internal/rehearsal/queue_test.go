package rehearsal

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// errNoEstate ends a rehearsal of these tests, which are about who runs it.
var errNoEstate = errors.New("the estate is gone")

// peer is one of the servers that share a queue. What it takes up stays under way until it is let go on, or cancelled.
type peer struct {
	*Queue
	took  chan struct{}
	goOn  chan struct{}
	swept chan map[string]bool // what a sweep was told of the rehearsals "running" and "gone"
	ended chan string
}

func newPeer(t *testing.T, s *store.Store, holder string) *peer {
	p := &peer{took: make(chan struct{}, 9), goOn: make(chan struct{}), swept: make(chan map[string]bool, 9), ended: make(chan string, 9)}
	rooms := Rooms{Log: slog.New(slog.DiscardHandler), Sweep: func(ctx context.Context, over func(context.Context, string) (bool, error)) error {
		told := map[string]bool{}
		for _, id := range []string{"running", "gone"} {
			is, err := over(ctx, id)
			if err != nil {
				return err
			}
			told[id] = is
		}
		p.swept <- told
		return nil
	}}
	p.Queue = NewQueue(holder, New(t.TempDir(), rooms), s, func(ctx context.Context) (*estate.Estate, error) {
		p.took <- struct{}{}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.goOn:
			return nil, errNoEstate
		}
	}, nil, Limits{})
	p.Ended = func(_ context.Context, _, _, outcome string, _ time.Duration) { p.ended <- outcome }
	return p
}

// start has it serve until the end of the test.
func (p *peer) start(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
}

func take[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		require.FailNow(t, "nothing came", what)
		panic("unreachable")
	}
}

func put(t *testing.T, s *store.Store, ids ...string) {
	for _, id := range ids {
		require.NoError(t, s.PutRehearsal(t.Context(), store.Rehearsal{ID: id, Environment: "production", Tenant: "acme", Release: "sha256:2", OldRelease: "sha256:1"}))
	}
}

func kept(t *testing.T, s *store.Store, id string) store.Rehearsal {
	r, err := s.Rehearsal(t.Context(), id)
	require.NoError(t, err)
	return r
}

// Two servers share a queue: one that starts leaves alone what the other one runs, runs nothing beside it, and may cancel it.
func TestServersShareTheQueue(t *testing.T) {
	long.Test(t)
	s := storetest.Open(t, tenants(t))
	put(t, s, "running", "next", "last")
	a, b := newPeer(t, s, "a"), newPeer(t, s, "b")
	a.start(t)
	take(t, a.took, "a takes up the first")
	b.start(t)
	require.Equal(t, map[string]bool{"running": false, "gone": true}, take(t, b.swept, "b cleans up as it starts"))
	r := kept(t, s, "running")
	require.Equal(t, []string{store.RehearsalRuns, "a"}, []string{r.State, r.Holder}, "b ends nothing of a's")
	_, err := s.ClaimRehearsal(t.Context(), "b", lease)
	require.ErrorIs(t, err, store.ErrNotFound, "one at a time, whichever server")
	_, err = s.Pool.Exec(t.Context(), "update rehearsals set state = 'running' where id = 'next'")
	require.ErrorContains(t, err, "rehearsals_one_runs", "the database refuses it too")

	require.NoError(t, b.Cancel(t.Context(), "last"))
	r = kept(t, s, "last")
	require.Equal(t, []string{store.Rehearsed, Unfinished, "cancelled"}, []string{r.State, r.Outcome, r.Progress}, "nobody had taken it up")
	require.NotNil(t, r.FinishedAt)

	require.NoError(t, b.Cancel(t.Context(), "running"))
	require.Equal(t, Unfinished, take(t, a.ended, "a hears of it"))
	r = kept(t, s, "running")
	require.Equal(t, []string{store.Rehearsed, "cancelled"}, []string{r.State, r.Progress})
	var by *peer
	select { // either may be the next
	case <-a.took:
		by = a
	case <-b.took:
		by = b
	case <-time.After(time.Minute):
		require.FailNow(t, "nobody took up the next")
	}
	close(by.goOn)
	take(t, by.ended, "the next ends")
	require.Contains(t, kept(t, s, "next").Progress, errNoEstate.Error())
	require.NoError(t, a.Cancel(t.Context(), "next"))
	require.Contains(t, kept(t, s, "next").Progress, errNoEstate.Error(), "one that is done stays as it is")
}

// A server that died is followed by another: what it ran is over and swept, what waited goes on.
func TestADeadServersRehearsal(t *testing.T) {
	long.Test(t)
	for name, lease := range map[string]struct {
		holder string
		lasts  time.Duration
	}{
		"another server's, which is not renewed":  {"dead", time.Millisecond},
		"of this name, from before it was killed": {"here", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t, tenants(t))
			put(t, s, "running", "next")
			_, err := s.ClaimRehearsal(t.Context(), lease.holder, lease.lasts)
			require.NoError(t, err)
			p := newPeer(t, s, "here")
			p.start(t)
			take(t, p.took, "the next is taken up")
			r := kept(t, s, "running")
			require.Equal(t, []string{store.Rehearsed, Unfinished, "the server was stopped meanwhile; ask again"}, []string{r.State, r.Outcome, r.Progress})
			for over := false; !over; { // the sweep after it was found dead
				over = take(t, p.swept, "it is swept")["running"]
			}
			require.Equal(t, "here", kept(t, s, "next").Holder)
		})
	}
}

// A server that was taken for dead stops, and what it says afterwards counts for nothing.
func TestALostRehearsal(t *testing.T) {
	long.Test(t)
	s := storetest.Open(t, tenants(t))
	put(t, s, "running")
	p := newPeer(t, s, "slow")
	p.start(t)
	take(t, p.took, "it is taken up")
	n, err := s.EndLostRehearsals(t.Context(), "slow", "found dead")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, s.TellRehearsal(t.Context(), "slow", "running", "still here"))
	require.ErrorIs(t, s.EndRehearsal(t.Context(), "slow", "running", Proven, "", nil), store.ErrNotFound)
	put(t, s, "next")
	take(t, p.took, "it has let go of the first, and takes up the next")
	require.Equal(t, "found dead", kept(t, s, "running").Progress)
	require.Empty(t, p.ended, "who found it dead has told of its end")
}
