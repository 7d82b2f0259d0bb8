//go:build odoo

package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// redisServer is a Redis server that the containers of this run reach.
type redisServer struct {
	addr, password, dir string
	run                 *exec.Cmd
	client              *redis.Client
}

func (b *bundle) redis(t *testing.T) *redisServer {
	t.Helper()
	out, err := exec.Command("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", b.net(t)).Output()
	require.NoError(t, err)
	gateway := strings.TrimSpace(string(out))
	free, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	require.NoError(t, err)
	s := &redisServer{addr: free.Addr().String(), password: random(18), dir: t.TempDir()}
	require.NoError(t, free.Close())
	s.client = redis.NewClient(&redis.Options{Addr: s.addr, Password: s.password})
	t.Cleanup(func() { _ = s.client.Close() })
	s.start(t)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *redisServer) start(t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	s.run = exec.Command("redis-server", "--bind", host, "--port", port, "--requirepass", s.password, "--save", "", "--appendonly", "yes", "--dir", s.dir)
	require.NoError(t, s.run.Start(), "install it: hack/setup.sh packages redis")
	eventually(t, time.Minute, "Redis answers", func() bool { return s.client.Ping(t.Context()).Err() == nil })
}

func (s *redisServer) stop() {
	_ = s.run.Process.Kill()
	_ = s.run.Wait()
}

// file is sessions.json.
func (s *redisServer) file(t *testing.T) map[string][]byte {
	t.Helper()
	content, err := json.Marshal(SessionsConfig{Protocol: Protocol, URL: "redis://" + s.addr, Password: s.password, Prefix: "waybill:test:"})
	require.NoError(t, err)
	return map[string][]byte{SessionsFile: content}
}

// TestSessionsOutlivePools: real Odoo keeps its sessions in Redis; a login survives its pool, is nothing at another tenant's host, and
// neither a server that is away nor one that was emptied costs more than a moment, or a login.
func TestSessionsOutlivePools(t *testing.T) {
	b := setup(t)
	one := b.database(t)
	two := one + "_two"
	b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %s", two, template))
	t.Cleanup(func() { b.drop(two) })
	const a, bb = "a.example", "b.example"
	cache := b.redis(t)
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(one, a), tenant(two, bb)}}
	old := b.poolWith(t, "v1", "web", config, cache.file(t))
	p := b.poolWith(t, "v1", "web", config, cache.file(t), "--workers=2")
	require.True(t, p.ready(t, one).Ready)
	loggedIn := func(p *pool, host, session string) bool {
		_, failed, answer := p.rpc(t, host, "/web/dataset/call_kw/res.users/search_count", session,
			map[string]any{"model": "res.users", "method": "search_count", "args": []any{[]any{}}, "kwargs": map[string]any{}})
		if failed != "" {
			require.True(t, strings.Contains(failed, "SessionExpired") || answer.status != http.StatusOK, failed)
		}
		return failed == ""
	}

	session := old.login(t, a, one)
	require.True(t, loggedIn(p, a, session), "a login survives the change of its pool")
	require.False(t, loggedIn(p, bb, session), "and is nothing at another tenant's host")
	require.True(t, loggedIn(p, a, session), "which does not end it")
	require.NoError(t, exec.Command("docker", "kill", old.name).Run())
	require.True(t, loggedIn(p, a, session), "nor does its pool's loss")
	keys, err := cache.client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.True(t, strings.HasPrefix(key, "waybill:test:"), key)
		left, err := cache.client.TTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.Positive(t, left, "%s ends by itself", key)
	}

	t.Run("the id changes", func(t *testing.T) {
		key := fmt.Sprintf("waybill:test:%d:%s:%s", len(one), one, session[:42])
		fields, err := cache.client.HGetAll(t.Context(), key).Result()
		require.NoError(t, err)
		require.Len(t, fields, 1)
		for field, value := range fields {
			data := map[string]any{}
			require.NoError(t, json.Unmarshal([]byte(value), &data))
			data["create_time"] = time.Now().Add(-4 * time.Hour).Unix() // Odoo changes the id after three
			aged, err := json.Marshal(data)
			require.NoError(t, err)
			require.NoError(t, cache.client.HSet(t.Context(), key, field, aged).Err())
		}
		answer := p.do(t, "GET", a, "/web/login", session, nil)
		require.NotEmpty(t, answer.cookie)
		require.NotEqual(t, session, answer.cookie)
		require.Equal(t, session[:42], answer.cookie[:42])
		require.True(t, loggedIn(p, a, session), "who asked at the same moment is let in for two minutes")
		session = answer.cookie
		require.True(t, loggedIn(p, a, session))
	})

	t.Run("logged out", func(t *testing.T) {
		leaving := p.login(t, a, one)
		p.do(t, "GET", a, "/web/session/logout", leaving, nil)
		require.False(t, loggedIn(p, a, leaving))
	})

	t.Run("away", func(t *testing.T) {
		cache.stop()
		for _, path := range []string{"/web/login", "/odoo", "/web/static/img/logo.png"} {
			answer := p.do(t, "GET", a, path, session, nil)
			assert.Equal(t, 503, answer.status, path)
			assert.NotEmpty(t, answer.header.Get("Retry-After"), path)
			assert.Empty(t, answer.cookie, "%s: nobody is given another session", path)
			assert.Contains(t, answer.body, "you stay logged in", path)
		}
		assert.Equal(t, 503, p.do(t, "POST", a, "/web/dataset/call_kw/res.users/search_count", session, rpc{"2.0", "call", map[string]any{}}).status)
		assert.Equal(t, 200, p.do(t, "GET", a, "/web/health", "", nil).status)
		said := p.ready(t, one)
		assert.False(t, said.Ready)
		assert.Contains(t, said.Reason, "Redis")
		cache.start(t)
		eventually(t, 20*time.Second, "sessions are found again", func() bool { return loggedIn(p, a, session) })
		assert.True(t, p.ready(t, one).Ready)
		assert.NotContains(t, p.log(), cache.password)
	})

	t.Run("emptied", func(t *testing.T) {
		require.NoError(t, cache.client.FlushAll(t.Context()).Err())
		require.False(t, loggedIn(p, a, session))
		require.Equal(t, 303, p.do(t, "GET", a, "/odoo", session, nil).status, "to the page where people log in")
		require.True(t, loggedIn(p, a, p.login(t, a, one)))
	})

	t.Run("websocket", func(t *testing.T) {
		socket := b.poolWith(t, "v1", "websocket", config, cache.file(t))
		session := p.login(t, a, one)
		conn, _, err := websocket.Dial(t.Context(), "ws://"+socket.addr+"/websocket?version=19.0-2", &websocket.DialOptions{
			Host: a, HTTPHeader: http.Header{"Origin": {"http://" + a}, "Cookie": {"session_id=" + session}},
		})
		require.NoError(t, err)
		defer conn.CloseNow()
		subscribe := func() {
			require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(`{"event_name":"subscribe","data":{"channels":["waybill_test"],"last":0}}`)))
		}
		subscribe()
		partner := p.call(t, a, session, "res.users", "read", []any{[]int{2}, []string{"partner_id"}}, nil)
		require.NotEmpty(t, partner)
		// What is told to a person who is logged in comes over the socket, whose session was looked up in Redis for it.
		b.sql(t, one, `INSERT INTO bus_bus (channel, message, create_date) VALUES ('["`+one+`","waybill_test"]', '{"type":"waybill_test","payload":{}}', now() AT TIME ZONE 'UTC')`)
		b.sql(t, "postgres", `NOTIFY imbus, '[["`+one+`","waybill_test"]]'`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, message, err := conn.Read(ctx)
		require.NoError(t, err)
		require.Contains(t, string(message), "waybill_test")
	})
}
