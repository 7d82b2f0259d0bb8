//go:build odoo

package bridge

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPoolSignature(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	const path = "/waybill/v1/status"
	nothing := p.do(t, "GET", "a.example", "/waybill/nothing", "", nil)
	require.Equal(t, 404, nothing.status)

	header := Sign(testKey, time.Now(), random(18), "GET", path, nil)
	for name, value := range map[string]string{
		"none":       "",
		"garbage":    "v1:1:2:3",
		"other key":  Sign([]byte("another key of the right length"), time.Now(), random(18), "GET", path, nil),
		"old":        Sign(testKey, time.Now().Add(-2*time.Minute), random(18), "GET", path, nil),
		"new":        Sign(testKey, time.Now().Add(2*time.Minute), random(18), "GET", path, nil),
		"other path": Sign(testKey, time.Now(), random(18), "GET", "/waybill/v1/ready", nil),
		"other verb": Sign(testKey, time.Now(), random(18), "POST", path, nil),
		"other body": Sign(testKey, time.Now(), random(18), "GET", path, []byte("x")),
	} {
		got := p.do(t, "GET", "a.example", path, "", nil, SignatureHeader, value)
		assert.Equal(t, nothing.status, got.status, name)
		assert.Equal(t, nothing.body, got.body, name)
	}
	assert.Equal(t, 200, p.do(t, "GET", "whatever.example", path, "", nil, SignatureHeader, header).status)
	assert.Equal(t, 404, p.do(t, "GET", "whatever.example", path, "", nil, SignatureHeader, header).status, "a replay")

	_, err := NewClient("http://"+p.addr, []byte("another key of the right length")).Status(t.Context())
	require.ErrorIs(t, err, ErrRefused)
	_, err = p.client.Ready(t.Context(), "postgres")
	require.ErrorIs(t, err, ErrRefused)
	assert.Contains(t, err.Error(), "not on the list")
	status, err := p.client.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "19.0", status.Series)
	assert.Equal(t, []string{db}, status.Databases)
}

// TestPoolReadiness: a pool that has loaded the registry sees another process's update.
func TestPoolReadiness(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	mine := tenant(db, "a.example")
	mine.Modules = map[string]string{"wbt_one": "19.0.1.1.0", "wbt_two": "19.0.1.1.0", "point_of_sale": "1"}
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{mine}}
	p := b.pool(t, "v2", "web", config)

	answer := p.ready(t, db)
	assert.False(t, answer.Ready)
	assert.Len(t, answer.Mismatches, 2)
	assert.Contains(t, answer.Reason, "wbt_one: the database is at 19.0.1.0.0")
	b.runs(t, "v2", b.update(db), ExitCommitted)
	answer = p.ready(t, db)
	assert.True(t, answer.Ready, answer.Reason)
	assert.Equal(t, int64(1), answer.Generation)
	assert.Equal(t, "sha256:this", answer.Release)
	assert.Equal(t, FlowPassed, p.flows(t, db, "ship")["ship"].Outcome, "it runs on the new schema")

	config.Generation, config.Drain = 2, true
	p.configure(t, config)
	answer = p.ready(t, db)
	assert.False(t, answer.Ready)
	assert.Equal(t, "draining", answer.Reason)
	config.Generation, config.Drain = 3, false
	config.Tenants[0].Modules["wbt_two"] = "19.0.1.2.0"
	p.configure(t, config)
	assert.Contains(t, p.ready(t, db).Reason, "the image has 19.0.1.1.0")

	b.sql(t, db, "INSERT INTO ir_config_parameter (key, value) VALUES ('base.partially_updated_database', '1')")
	fresh := b.pool(t, "v2", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	answer = fresh.ready(t, db)
	assert.False(t, answer.Ready)
	assert.Contains(t, answer.Reason, "half updated", "a pool must not resume an update")
}

func TestPoolFlows(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	b.runs(t, "v2", b.update(db), ExitCommitted)
	p := b.pool(t, "v2", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	require.True(t, p.ready(t, db).Ready)
	b.set(t, db, "wbt.flow", "")
	before := b.digest(t, db)

	for name, flow := range p.flows(t, db, "ship", "receive", "transfer", "count") {
		assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s\n%s", name, flow.Error, flow.Trace)
	}
	assert.Equal(t, before, b.digest(t, db), "flows left something")
	assert.Equal(t, FlowFailed, p.flows(t, db, "no_such_flow")["no_such_flow"].Outcome)

	for mode, says := range map[string]string{
		"raise":   "validation is broken",
		"commit":  "commit in wbt_one/models.py",
		"cursor":  "commit in wbt_one/models.py",
		"connect": "outgoing connection to 198.51.100.1:9 in wbt_one/models.py",
		"resolve": "outgoing connection to carrier.invalid:443",
		"psycopg": "a database connection of its own",
		"thread":  "start of thread",
		"mail":    "",
	} {
		t.Run("guard "+mode, func(t *testing.T) {
			b.sql(t, db, "UPDATE ir_config_parameter SET value = $1 WHERE key = 'wbt.flow'", mode)
			b.sql(t, db, "INSERT INTO orm_signaling_default DEFAULT VALUES") // caches hold the parameter
			before := b.digest(t, db)
			flow := p.flows(t, db, "ship")["ship"]
			if says == "" {
				assert.Equal(t, FlowPassed, flow.Outcome, flow.Error)
			} else {
				assert.Equal(t, FlowFailed, flow.Outcome)
				assert.Contains(t, flow.Error, says)
				assert.NotEmpty(t, flow.Stages)
			}
			assert.Equal(t, before, b.digest(t, db))
		})
	}

	t.Run("chain of three steps", func(t *testing.T) {
		b.sql(t, db, "UPDATE ir_config_parameter SET value = '' WHERE key = 'wbt.flow'")
		b.sql(t, db, "INSERT INTO orm_signaling_default DEFAULT VALUES")
		session := p.login(t, "a.example", db)
		p.call(t, "a.example", session, "stock.warehouse", "write", []any{[]int{1}, map[string]any{
			"reception_steps": "three_steps", "delivery_steps": "pick_pack_ship",
		}}, nil)
		for _, name := range []string{"ship", "receive"} {
			flow := p.flows(t, db, name)[name]
			assert.Equal(t, FlowPassed, flow.Outcome, "%s\n%s", flow.Error, flow.Trace)
			validated := 0
			for _, stage := range flow.Stages {
				if strings.HasPrefix(stage.Name, "validate") {
					validated++
				}
			}
			assert.Equal(t, 3, validated, "%s: %v", name, flow.Stages)
		}
	})

	t.Run("not installed", func(t *testing.T) {
		other := b.database(t)
		b.sql(t, other, `UPDATE ir_module_module SET state = 'uninstalled' WHERE name IN
			('wbt_one', 'wbt_two', 'purchase_stock', 'sale_purchase_stock', 'sale_purchase', 'stock_delivery')`)
		p.configure(t, PoolConfig{Generation: 2, Tenants: []PoolTenant{tenant(db, "a.example"), tenant(other, "b.example")}})
		assert.Equal(t, FlowNotApplicable, p.flows(t, other, "receive")["receive"].Outcome)
	})
}

// TestPoolPrefork: the WebSocket process has a container of its own.
func TestPoolPrefork(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}}
	p := b.pool(t, "v1", "web", config, "--workers=2")
	require.True(t, p.ready(t, db).Ready)
	out, err := exec.Command("docker", "top", p.name, "-eo", "pid,args").Output()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, strings.Count(string(out), "odoo"), 3, "master and two workers: %s", out)
	assert.NotContains(t, string(out), "gevent")

	header := Sign(testKey, time.Now(), random(18), "GET", "/waybill/v1/status", nil)
	accepted := 0
	for range 20 { // whichever worker gets it
		if p.do(t, "GET", "x", "/waybill/v1/status", "", nil, SignatureHeader, header).status == http.StatusOK {
			accepted++
		}
	}
	assert.Equal(t, 1, accepted, "a replay was accepted by another worker")
}

// TestPoolSwappedDatabase: a restore swaps the database by rename under a running pool.
func TestPoolSwappedDatabase(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	other := db + "_restored"
	b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %q", other, db))
	t.Cleanup(func() { b.drop(other); b.drop(db + "_before") })
	b.sql(t, other, "UPDATE ir_module_module SET state = 'uninstalled' WHERE name IN ('wbt_one', 'wbt_two')")
	p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	session := p.login(t, "a.example", db)
	fields := func() string {
		return string(p.call(t, "a.example", session, "sale.order", "fields_get", []any{[]string{"wbt_note"}}, nil))
	}
	require.Contains(t, fields(), "wbt_note")

	b.sql(t, "postgres", fmt.Sprintf("ALTER DATABASE %q ALLOW_CONNECTIONS false", db))
	b.sql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", db)
	eventually(t, 10*time.Second, "the pool has no session left", func() bool {
		return b.text(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", db) == "0"
	})
	away := p.do(t, "GET", "a.example", "/web", session, nil)
	assert.Equal(t, 503, away.status, "not logged out while the database is away")
	assert.NotEmpty(t, away.header.Get("Retry-After"))
	assert.False(t, p.ready(t, db).Ready)
	b.sql(t, "postgres", fmt.Sprintf("ALTER DATABASE %q RENAME TO %q", db, db+"_before"))
	b.sql(t, "postgres", fmt.Sprintf("ALTER DATABASE %q RENAME TO %q", other, db))
	assert.NotContains(t, fields(), "wbt_note", "the registry is the one of the database before")
}
