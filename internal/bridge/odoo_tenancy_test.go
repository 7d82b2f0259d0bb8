//go:build odoo

package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTenants: two tenants share a pool, a third database of the same role is not on the list.
func TestTenants(t *testing.T) {
	b := setup(t)
	one := b.database(t)
	two, three := one+"_two", one+"_three"
	for _, name := range []string{two, three} {
		b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %s", name, template))
		t.Cleanup(func() { b.drop(name) })
	}
	const a, bb = "a.example", "b.example"
	p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(one, a), tenant(two, bb)}})
	session := p.login(t, a, one)
	sessionDB := func(host, session string, headers ...string) string {
		answer := p.do(t, "POST", host, "/web/session/get_session_info", session, rpc{"2.0", "call", map[string]any{}}, headers...)
		var decoded struct{ Result struct{ DB string } }
		_ = json.Unmarshal([]byte(answer.body), &decoded)
		return decoded.Result.DB
	}
	require.Equal(t, one, sessionDB(a, session), "the session works where it belongs")

	t.Run("host", func(t *testing.T) {
		for _, host := range []string{"c.example", p.addr, "", "a.example.evil", "xa.example"} {
			for _, path := range []string{"/", "/web/login", "/web?db=" + one, "/jsonrpc", "/web/database/manager", "/web/static/img/logo.png"} {
				if host == "" {
					host = "nothing" // an empty Host is replaced by the address in Go's client
				}
				assert.Equal(t, 404, p.do(t, "GET", host, path, session, nil).status, "%s %s", host, path)
			}
		}
		assert.Equal(t, 200, p.do(t, "GET", a, "/web/login", "", nil).status)
		assert.Equal(t, 200, p.do(t, "GET", "A.example:8069", "/web/login", "", nil).status)
		assert.Equal(t, 200, p.do(t, "GET", "router", "/web/login", "", nil, "X-Forwarded-Host", a).status, "proxy_mode")
		assert.Equal(t, 404, p.do(t, "GET", a, "/web/login", "", nil, "X-Forwarded-Host", "c.example").status)
		assert.Equal(t, 200, p.do(t, "GET", p.addr, "/web/health", "", nil).status)
	})

	t.Run("forged database", func(t *testing.T) {
		for _, database := range []string{two, three, "postgres"} {
			assert.Equal(t, 404, p.do(t, "GET", a, "/web/login", "", nil, "X-Odoo-Database", database).status)
			answer := p.do(t, "GET", a, "/web/login?db="+database, "", nil)
			assert.Less(t, answer.status, 400)
			_, failed, _ := p.rpc(t, a, "/web/session/authenticate", "", map[string]any{"db": database, "login": "admin", "password": "admin"})
			assert.NotEmpty(t, failed, "logged in to %s through %s", database, a)
		}
		_, failed, _ := p.rpc(t, bb, "/web/session/authenticate", "", map[string]any{"db": two, "login": "admin", "password": "admin"})
		assert.Empty(t, failed)
	})

	t.Run("session of another host", func(t *testing.T) {
		foreign := p.login(t, a, one)
		assert.NotEqual(t, one, sessionDB(bb, foreign))
		result, failed, _ := p.rpc(t, bb, "/web/dataset/call_kw/res.users/search_count", p.login(t, a, one),
			map[string]any{"model": "res.users", "method": "search_count", "args": []any{[]any{}}, "kwargs": map[string]any{}})
		assert.NotEmpty(t, failed, string(result))
	})

	t.Run("services", func(t *testing.T) {
		ask := func(host, service, method string, args ...any) (json.RawMessage, string) {
			result, failed, _ := p.rpc(t, host, "/jsonrpc", "", map[string]any{"service": service, "method": method, "args": args})
			return result, failed
		}
		uid, failed := ask(a, "common", "authenticate", one, "admin", "admin", map[string]any{})
		require.Empty(t, failed)
		require.Equal(t, "2", string(uid))
		count, failed := ask(a, "object", "execute_kw", one, 2, "admin", "res.users", "search_count", []any{[]any{}})
		require.Empty(t, failed)
		require.NotEmpty(t, count)
		for _, database := range []string{two, three, "postgres"} {
			for _, method := range []string{"login", "authenticate"} {
				args := []any{database, "admin", "admin"}
				if method == "authenticate" {
					args = append(args, map[string]any{})
				}
				result, failed := ask(a, "common", method, args...)
				assert.NotEmpty(t, failed, "%s: %s", method, result)
			}
			result, failed := ask(a, "object", "execute_kw", database, 2, "admin", "res.users", "search_count", []any{[]any{}})
			assert.NotEmpty(t, failed, string(result))
			body := `<?xml version="1.0"?><methodCall><methodName>execute_kw</methodName><params>` +
				`<param><value><string>` + database + `</string></value></param><param><value><int>2</int></value></param>` +
				`<param><value><string>admin</string></value></param><param><value><string>res.users</string></value></param>` +
				`<param><value><string>search_count</string></value></param><param><value><array><data><value><array><data/></array></value></data></array></value></param>` +
				`</params></methodCall>`
			answer := p.do(t, "POST", a, "/xmlrpc/2/object", "", body, "Content-Type", "text/xml")
			assert.Contains(t, answer.body, "<fault>", database)
		}
		list, failed := ask(a, "db", "list")
		assert.Empty(t, failed)
		assert.JSONEq(t, fmt.Sprintf(`[%q]`, one), string(list))
		for _, method := range []string{"drop", "dump", "create_database", "duplicate_database", "rename", "restore"} {
			_, failed := ask(a, "db", method, "admin", one, "x")
			assert.NotEmpty(t, failed, method)
		}
		require.Equal(t, "1", b.text(t, "postgres", "SELECT count(*) FROM pg_database WHERE datname = $1", one))
	})

	t.Run("bearer key", func(t *testing.T) {
		made := p.call(t, a, session, "res.users.apikeys.description", "create", []any{map[string]any{"name": "k", "duration": "1"}}, nil)
		key := p.apiKey(t, a, session, string(made), one)
		post := func(host string, headers ...string) reply {
			return p.do(t, "POST", host, "/json/2/res.users/search_count", "", map[string]any{"domain": []any{}},
				append(headers, "Authorization", "Bearer "+key)...)
		}
		require.Equal(t, 200, post(a).status)
		assert.Equal(t, 401, post(bb).status)
		assert.Equal(t, 404, post(bb, "X-Odoo-Database", one).status)
		assert.Equal(t, 404, post("c.example").status)
	})

	t.Run("taken off the list", func(t *testing.T) {
		p.configure(t, PoolConfig{Generation: 2, Tenants: []PoolTenant{tenant(two, bb)}})
		assert.Equal(t, 404, p.do(t, "GET", a, "/web/login", session, nil).status)
		assert.Equal(t, 200, p.do(t, "GET", bb, "/web/login", "", nil).status)
	})
	assert.Equal(t, "0", b.text(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", three),
		"the pool opened a database that is not on its list")
	assert.NotContains(t, p.log(), "Exception during request handling", "a refusal should not look like a bug")
}

// apiKey makes a key for the administrator with Odoo's own code in the database of the test.
func (p *pool) apiKey(t *testing.T, host, session, description, _ string) string {
	t.Helper()
	// The wizard asks for the password again; identity_check does that over the same session.
	result := p.call(t, host, session, "res.users.apikeys.description", "make_key", []any{[]json.RawMessage{json.RawMessage(description)}}, nil)
	var action struct {
		ResModel string `json:"res_model"`
		ResID    int    `json:"res_id"`
		Context  struct {
			Key string `json:"default_key"`
		}
	}
	require.NoError(t, json.Unmarshal(result, &action))
	if action.ResModel == "res.users.identitycheck" {
		result = p.call(t, host, session, "res.users.identitycheck", "run_check", []any{[]int{action.ResID}},
			map[string]any{"context": map[string]any{"password": "admin"}})
		require.NoError(t, json.Unmarshal(result, &action))
	}
	require.NotEmpty(t, action.Context.Key, string(result))
	return action.Context.Key
}

func TestTenantsWebsocket(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	p := b.pool(t, "v1", "websocket", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	dial := func(host string) (*websocket.Conn, int) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		conn, response, err := websocket.Dial(ctx, "ws://"+p.addr+"/websocket?version=19.0-2", &websocket.DialOptions{
			Host: host, HTTPHeader: http.Header{"Origin": {"http://" + host}},
		})
		if response == nil {
			require.NoError(t, err)
		}
		return conn, response.StatusCode
	}
	conn, status := dial("a.example")
	require.Equal(t, 101, status)
	_, refused := dial("c.example")
	assert.Equal(t, 404, refused)

	// A tenant that is taken off the list is not served over a socket that is open already.
	p.configure(t, PoolConfig{Generation: 2})
	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(`{"event_name":"subscribe","data":{"channels":[],"last":0}}`)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _, err := conn.Read(ctx)
	require.Error(t, err)
	assert.NoError(t, ctx.Err(), "the socket stayed open")
	_ = conn.CloseNow()
}

func TestCron(t *testing.T) {
	b := setup(t)
	allowed := b.database(t)
	denied, unlisted := allowed+"_denied", allowed+"_unlisted"
	for _, name := range []string{denied, unlisted} {
		b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %s", name, template))
		t.Cleanup(func() { b.drop(name) })
	}
	due := func(database string) {
		b.sql(t, database, "UPDATE ir_cron SET active = false")
		b.sql(t, database, `UPDATE ir_cron SET active = true, lastcall = NULL, nextcall = now() AT TIME ZONE 'UTC' - interval '1 minute'
			WHERE id = (SELECT res_id FROM ir_model_data WHERE module = 'base' AND name = 'autovacuum_job')`)
	}
	ran := func(database string) bool {
		return b.text(t, database, "SELECT count(*) FROM ir_cron WHERE lastcall IS NOT NULL") == "1"
	}
	for _, database := range []string{allowed, denied, unlisted} {
		due(database)
	}
	yes, no := tenant(allowed, "a.example"), tenant(denied, "b.example")
	yes.Cron = true
	p := b.pool(t, "v1", "cron", PoolConfig{Generation: 1, Tenants: []PoolTenant{no, yes}}, "--max-cron-threads=1")
	// The allowed one is named last: once it has run, the others were passed over.
	wait := func(last string) {
		eventually(t, 3*time.Minute, "the job of "+last+" ran", func() bool {
			for _, database := range []string{unlisted, denied, allowed} {
				if database != last {
					b.sql(t, "postgres", fmt.Sprintf("NOTIFY cron_trigger, '%s'", database))
				}
			}
			b.sql(t, "postgres", fmt.Sprintf("NOTIFY cron_trigger, '%s'", last))
			return ran(last)
		})
	}
	wait(allowed)
	assert.False(t, ran(denied), "cron ran where it is switched off")
	assert.False(t, ran(unlisted), "cron ran for a database that is not on the list")

	due(allowed)
	yes.Cron, no.Cron = false, true
	p.configure(t, PoolConfig{Generation: 2, Tenants: []PoolTenant{no, yes}})
	wait(denied) // Odoo reads its list of databases once a minute
	assert.False(t, ran(allowed), "cron went on after it was switched off")

}
