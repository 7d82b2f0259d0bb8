package router

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// bus is a pool whose gevent port answers each message with its name before it.
func bus(t *testing.T, name string) Upstream {
	u := upstream(t, name, hello)
	u.Websocket = upstream(t, name, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/websocket" {
			hello(w, r)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if c.Write(context.Background(), kind, append([]byte(name+" "), data...)) != nil {
				return
			}
		}
	}).Websocket
	return u
}

func (r *rig) websocket(bucket string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return websocket.Dial(ctx, r.url("/websocket"), &websocket.DialOptions{
		Host: host, HTTPHeader: http.Header{"Cookie": {BucketCookie + "=" + bucket}},
	})
}

func say(t *testing.T, c *websocket.Conn, text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(text)))
	_, data, err := c.Read(ctx)
	return string(data), err
}

func TestWebsocketsBeforeAndAfterASwitch(t *testing.T) {
	r := newRig(t)
	old, fresh := bus(t, "old"), bus(t, "new")
	r.apply(Tenant{Stable: old})
	first, _, err := r.websocket("50")
	require.NoError(t, err)
	defer first.CloseNow()
	got, err := say(t, first, "hello")
	require.NoError(t, err)
	require.Equal(t, "old hello", got)
	require.Equal(t, 1, r.pool("old").Websockets)
	require.Zero(t, r.stats().InFlight, "WebSockets are counted apart")
	require.Zero(t, r.pool("old").Requests)

	// A drain does not wait for it, and a hold does not end it; new ones are told to come back.
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(patience), Stable: old})
	n, err := r.control.Drain(t.Context(), "acme", patience)
	require.NoError(t, err)
	require.Zero(t, n)
	got, err = say(t, first, "still here")
	require.NoError(t, err)
	require.Equal(t, "old still here", got)
	_, res, err := r.websocket("50")
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)

	r.apply(Tenant{Stable: old, Canary: &fresh, Weight: 100})
	second, _, err := r.websocket("50")
	require.NoError(t, err)
	defer second.CloseNow()
	got, err = say(t, second, "hello")
	require.NoError(t, err)
	require.Equal(t, "new hello", got)
	got, err = say(t, first, "old friends")
	require.NoError(t, err)
	require.Equal(t, "old old friends", got)

	require.NoError(t, r.control.CloseWebsockets(t.Context(), "acme", "new"))
	_, err = say(t, first, "gone")
	require.Error(t, err)
	got, err = say(t, second, "kept")
	require.NoError(t, err)
	require.Equal(t, "new kept", got)
	r.eventually("counted out", func() bool { return r.pool("old").Websockets == 0 })
	require.NoError(t, r.control.CloseWebsockets(t.Context(), "acme", ""))
	_, err = say(t, second, "gone")
	require.Error(t, err)
	r.eventually("counted out", func() bool { return r.pool("new").Websockets == 0 })
	require.Zero(t, r.pool("old").Failed+r.pool("new").Failed)
}

func TestWebsocketPaths(t *testing.T) {
	r := newRig(t)
	web, events := upstream(t, "web", hello), upstream(t, "events", hello)
	r.apply(Tenant{Stable: Upstream{Pool: "p", Web: web.Web, Websocket: events.Websocket}})
	for path, want := range map[string]string{
		"/": "web", "/websocket": "events", "/websocket/health": "events", "/longpolling/poll": "events",
		"/websocketry": "web", "/web/websocket": "web", "/websocket?x=/y": "events",
	} {
		require.Equal(t, want, r.get(path).pool, path)
	}
	// A threaded Odoo has one port for both.
	r.apply(Tenant{Stable: Upstream{Pool: "p", Web: web.Web}})
	require.Equal(t, "web", r.get("/websocket").pool)
}

func TestWebsocketsEndWithTheRouter(t *testing.T) {
	r := newRig(t)
	r.apply(Tenant{Stable: bus(t, "old")})
	c, _, err := r.websocket("1")
	require.NoError(t, err)
	defer c.CloseNow()
	_, err = say(t, c, "hello")
	require.NoError(t, err)
	require.NoError(t, r.stop())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err = c.Read(ctx)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "it was closed, not waited for")
}
