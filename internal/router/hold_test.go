package router

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHoldThenReleaseFailsNobody(t *testing.T) {
	r := newRig(t)
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })
	fresh := upstream(t, "new", func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })
	r.apply(Tenant{Stable: old})
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old})

	const clients = 200
	answers := make(chan answerOf, clients)
	for i := range clients {
		go func() { answers <- r.do(http.MethodPost, "/order", fmt.Sprint("order ", i), withBucket(i%buckets)) }()
	}
	r.eventually("all wait", func() bool { return r.stats().Held == clients })
	cutOff, err := r.control.Drain(t.Context(), "acme", patience)
	require.NoError(t, err)
	require.Zero(t, cutOff, "what is held is not in flight")

	// A held tenant may get another table that holds; then the release, to another split.
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old, Canary: &fresh, Weight: 30})
	r.apply(Tenant{Stable: old, Canary: &fresh, Weight: 30})
	pools, bodies := map[string]int{}, map[string]bool{}
	for range clients {
		a := <-answers
		require.NoError(t, a.err)
		require.Equal(t, http.StatusOK, a.status, a.body)
		pools[a.pool]++
		bodies[a.body] = true
	}
	require.Equal(t, map[string]int{"old": 140, "new": 60}, pools, "they went by the table at the release")
	require.Len(t, bodies, clients, "each order arrived whole, once")
	s := r.stats()
	require.EqualValues(t, clients, s.HeldTotal)
	require.Zero(t, s.Held)
	require.Zero(t, s.HeldExpired)
	require.Positive(t, s.HeldMax)
	require.Zero(t, r.pool("old").Failed+r.pool("new").Failed)
}

func TestHoldExpires(t *testing.T) {
	r := newRig(t)
	old := upstream(t, "old", hello)
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(150 * time.Millisecond), Stable: old})
	answers := make(chan answerOf, 1)
	go func() { answers <- r.get("/") }()
	r.eventually("it waits", func() bool { return r.stats().HeldTotal == 1 })
	a := <-answers
	require.NoError(t, a.err)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Equal(t, "5", a.header.Get("Retry-After"))
	s := r.stats()
	require.EqualValues(t, 1, s.HeldExpired)
	require.GreaterOrEqual(t, s.HeldMax, 0.05)
	require.Zero(t, s.Held)

	// Who comes now need not wait for anything: it is a freeze.
	require.Equal(t, http.StatusServiceUnavailable, r.get("/").status)
	s = r.stats()
	require.EqualValues(t, 1, s.HeldTotal)
	require.EqualValues(t, 1, s.Frozen)
}

func TestFreeze(t *testing.T) {
	r := newRig(t)
	reached := false
	old := upstream(t, "old", func(http.ResponseWriter, *http.Request) { reached = true })
	r.apply(Tenant{Mode: Freeze, Message: "Stock count <b>until</b> 6 pm", Stable: old})

	page := r.get("/odoo", asPerson)
	require.Equal(t, http.StatusServiceUnavailable, page.status)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")
	require.Equal(t, "5", page.header.Get("Retry-After"))
	require.Equal(t, "no-store", page.header.Get("Cache-Control"))
	require.Contains(t, page.body, "Stock count &lt;b&gt;until&lt;/b&gt; 6 pm")
	require.Contains(t, page.body, `http-equiv="refresh"`)
	require.NotContains(t, page.body, "://", "no external asset")

	form := r.do(http.MethodPost, "/web/login", "login=x", asPerson)
	require.NotContains(t, form.body, `http-equiv="refresh"`, "what is not safe is not asked again")

	machine := r.do(http.MethodPost, "/json/2/sale.order/create", "{}")
	require.Equal(t, http.StatusServiceUnavailable, machine.status)
	require.Equal(t, "5", machine.header.Get("Retry-After"))
	var body struct {
		Error string
	}
	require.NoError(t, json.Unmarshal([]byte(machine.body), &body))
	require.Equal(t, "Stock count <b>until</b> 6 pm", body.Error)
	require.False(t, reached)
	require.EqualValues(t, 3, r.stats().Frozen)

	// A tenant that has no pool yet can be frozen.
	r.apply(Tenant{Mode: Freeze})
	require.Equal(t, http.StatusServiceUnavailable, r.get("/").status)
}

func TestHoldHasAnEndOfRoom(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxHeld = 2 })
	old := upstream(t, "old", hello)
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old})
	answers := make(chan answerOf, 2)
	for range 2 {
		go func() { answers <- r.get("/") }()
	}
	r.eventually("two wait", func() bool { return r.stats().Held == 2 })
	a := r.get("/")
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Contains(t, a.body, "Too many")
	r.apply(Tenant{Stable: old})
	for range 2 {
		require.Equal(t, http.StatusOK, (<-answers).status)
	}
	// The room is there again.
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old})
	go func() { answers <- r.get("/") }()
	r.eventually("it waits", func() bool { return r.stats().Held == 1 })
	r.apply(Tenant{Stable: old})
	require.Equal(t, http.StatusOK, (<-answers).status)
}

func TestClientsThatLeaveFreeTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, request string }{
		{"GET", "GET / HTTP/1.1\r\nHost: acme.test\r\n\r\n"},
		{"POST, all sent", "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\n\r\nhello"},
		{"POST, more to come", "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 20000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			old := upstream(t, "old", hello)
			r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(time.Hour), Stable: old})
			conn, err := net.Dial("tcp", r.server.http.Addr().String())
			require.NoError(t, err)
			_, err = io.WriteString(conn, c.request)
			require.NoError(t, err)
			r.eventually("it waits", func() bool { return r.stats().Held == 1 })
			require.NoError(t, conn.Close())
			r.eventually("its place is free", func() bool { return r.stats().Held == 0 })
			r.apply(Tenant{Stable: old})
			require.Zero(t, r.pool("old").Requests, "nobody is served who is not there")
			require.Zero(t, r.stats().HeldExpired)
		})
	}
}

// An upload that is held stays with its client: the router takes no more of it than the sockets do.
func TestHeldBodiesAreNotRead(t *testing.T) {
	r := newRig(t)
	got := make(chan int64, 1)
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		n, _ := io.Copy(io.Discard, q.Body)
		got <- n
	})
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old})
	const size = 64 << 20
	sent := &countingReader{left: size}
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.url("/upload"), sent)
		if err == nil {
			req.Host, req.ContentLength = host, size
			var res *http.Response
			if res, err = client1.Do(req); err == nil {
				err = res.Body.Close()
			}
		}
		done <- err
	}()
	r.eventually("it waits", func() bool { return r.stats().Held == 1 })
	last := int64(-1)
	r.eventually("the sockets are full", func() bool {
		now := sent.count.Load()
		same := now == last
		last = now
		return same && now > 0
	})
	require.Less(t, last, int64(size/2), "the rest waits at the client")
	r.apply(Tenant{Stable: old})
	require.NoError(t, <-done)
	require.EqualValues(t, size, <-got)
}
