package router

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

type drained struct {
	cut int
	err error
}

func (r *rig) drain(limit time.Duration) <-chan drained {
	out := make(chan drained, 1)
	go func() {
		n, err := r.control.Drain(context.Background(), "acme", limit)
		out <- drained{n, err}
	}()
	return out
}

func TestDrainWaits(t *testing.T) {
	r := newRig(t)
	let := make(chan struct{})
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) { <-let; hello(w, q) })
	r.apply(Tenant{Stable: old})
	answers := make(chan answerOf, 3)
	for range 3 {
		go func() { answers <- r.get("/report") }()
	}
	r.eventually("in flight", func() bool { return r.stats().InFlight == 3 })
	require.Equal(t, 3, r.pool("old").InFlight)
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(time.Hour), Stable: old})
	end := r.drain(time.Hour)
	select {
	case <-end:
		t.Fatal("drained while three requests are in flight")
	case <-time.After(100 * time.Millisecond):
	}
	close(let)
	require.Equal(t, drained{}, <-end)
	for range 3 {
		require.Equal(t, http.StatusOK, (<-answers).status)
	}
	require.Zero(t, r.stats().InFlight)
}

func TestDrainCutsWhatOutlivesIt(t *testing.T) {
	r := newRig(t)
	stop := make(chan struct{})
	defer close(stop)
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/flood" { // to a client that takes nothing
			junk := make([]byte, 1<<20)
			for range 64 {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}
		select {
		case <-stop:
		case <-q.Context().Done():
		}
	})
	r.apply(Tenant{Stable: old})
	answers := make(chan answerOf, 2)
	for range 2 {
		go func() { answers <- r.get("/report") }()
	}
	stuck, err := net.Dial("tcp", r.server.http.Addr().String())
	require.NoError(t, err)
	defer stuck.Close()
	_, err = io.WriteString(stuck, "GET /flood HTTP/1.1\r\nHost: acme.test\r\n\r\n")
	require.NoError(t, err)
	r.eventually("in flight", func() bool { return r.stats().InFlight == 3 })
	r.apply(Tenant{Mode: Freeze, Stable: old})
	began := time.Now()
	require.Equal(t, drained{cut: 3}, <-r.drain(100*time.Millisecond))
	require.Less(t, time.Since(began), cutGrace+cutLimit)
	require.Zero(t, r.stats().InFlight)
	for range 2 {
		a := <-answers
		require.Equal(t, http.StatusServiceUnavailable, a.status)
		require.Contains(t, a.body, "cut off")
	}
	require.EqualValues(t, 3, r.pool("old").Failed)
}

// On an open tenant a drain is about the pools that are left, not about the one in use.
func TestDrainOfAnOpenTenant(t *testing.T) {
	r := newRig(t)
	let := make(chan struct{})
	slow := func(w http.ResponseWriter, q *http.Request) {
		select {
		case <-let:
		case <-q.Context().Done():
		}
	}
	old, fresh := upstream(t, "old", slow), upstream(t, "new", slow)
	r.apply(Tenant{Stable: old, Canary: &fresh, Weight: 50})
	answers := make(chan answerOf, 2)
	for _, bucket := range []int{0, 99} {
		go func() { answers <- r.get("/", withBucket(bucket)) }()
	}
	r.eventually("in flight", func() bool { return r.stats().InFlight == 2 })
	require.Equal(t, drained{}, <-r.drain(time.Millisecond), "both are in use")
	r.apply(Tenant{Stable: old, Canary: &fresh, Weight: 100})
	require.Equal(t, drained{cut: 1}, <-r.drain(time.Millisecond))
	require.Equal(t, http.StatusServiceUnavailable, (<-answers).status)
	close(let)
	a := <-answers
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, "new", a.pool)
}

// No request slips past a drain by having looked at the table just before it was replaced.
func TestNothingReachesAPoolAfterItsDrain(t *testing.T) {
	long.Test(t)
	r := newRig(t)
	var fenced atomic.Bool
	var late, served atomic.Int64
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		if fenced.Load() {
			late.Add(1)
		}
		served.Add(1)
		hello(w, q)
	})
	r.apply(Tenant{Stable: old})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 16)
	for range cap(ended) {
		go func() {
			for ctx.Err() == nil {
				if a := r.get("/"); a.err != nil || a.status != http.StatusOK {
					ended <- io.ErrUnexpectedEOF
					return
				}
			}
			ended <- nil
		}()
	}
	for range 20 {
		count := served.Load()
		r.eventually("traffic flows", func() bool { return served.Load() > count+20 })
		r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(time.Hour), Stable: old})
		require.Equal(t, drained{}, <-r.drain(patience))
		fenced.Store(true)
		r.eventually("requests come meanwhile", func() bool { return r.stats().Held > 0 })
		fenced.Store(false)
		r.apply(Tenant{Stable: old})
	}
	cancel()
	for range cap(ended) {
		require.NoError(t, <-ended)
	}
	require.Zero(t, late.Load())
}

func TestUnknownTenant(t *testing.T) {
	r := newRig(t)
	r.apply(Tenant{Stable: upstream(t, "old", hello)})
	_, err := r.control.Drain(t.Context(), "nobody", time.Second)
	require.ErrorIs(t, err, ErrUnknownTenant)
	require.ErrorContains(t, err, "nobody")
	require.ErrorIs(t, r.control.CloseWebsockets(t.Context(), "nobody", ""), ErrUnknownTenant)
}
