//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSignals: a pool of two workers, of which some are killed and all are recycled, tells exactly what clients did.
func TestSignals(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	job := b.update(db)
	job.SkipFlows = true
	b.runs(t, "v2", job, ExitCommitted)
	p := b.pool(t, "v2", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}}, "--workers=2", "--limit-request=20")
	require.True(t, p.ready(t, db).Ready)
	session := p.login(t, "a.example", db)

	first := p.signals(t, db)
	require.Zero(t, first.call(t, "order_confirm").Total)
	require.Len(t, first.call(t, "order_confirm").Buckets, len(SignalBounds)+1)
	require.Contains(t, first.Problems, "wbt_one/waybill_signals.py: lane_lost: there is no wbt.lane.action_that_nobody_wrote")
	require.NotContains(t, names(first), "pos_sync", "its module is not installed")

	t.Run("no count is lost", func(t *testing.T) {
		client := &salesman{pool: p, db: db, session: session}
		orders := client.draft(t, 30)
		ledger := client.confirmAll(t, orders, func() { p.killWorkers(t) })
		assert.Equal(t, fmt.Sprint(len(orders)), b.text(t, db, "SELECT count(*) FROM sale_order WHERE state = 'sale'"))

		eventually(t, 2*time.Minute, "a worker is recycled, which takes 20 requests", func() bool {
			_, err := p.client.Status(t.Context())
			return err == nil && strings.Contains(p.log(), "max request (20) reached")
		})

		seen := p.signals(t, db)
		assert.Equal(t, first.Source, seen.Source, "the pool did not restart, its workers did")
		confirmed := seen.call(t, "order_confirm")
		assert.Equal(t, int64(len(orders)), confirmed.done(), "each order was confirmed once: %+v, ledger %+v", confirmed, ledger)
		assert.Zero(t, confirmed.Failed)
		// A client that got no answer does not know whether it was refused.
		assert.GreaterOrEqual(t, confirmed.Refused, ledger.refused)
		assert.LessOrEqual(t, confirmed.Refused, ledger.refused+ledger.unknown)
		assert.Positive(t, ledger.refused)
		assert.Positive(t, ledger.unknown, "no worker was killed within a request: the test shows nothing")
		assert.Positive(t, confirmed.Seconds)
		assert.Zero(t, confirmed.Synthetic.Total)
		t.Logf("ledger %+v, counted %+v", ledger, confirmed.Counts)
	})

	t.Run("flows count apart", func(t *testing.T) {
		before := p.signals(t, db)
		require.Equal(t, FlowPassed, p.flows(t, db, "ship")["ship"].Outcome)
		after := p.signals(t, db)
		for _, name := range []string{"order_confirm", "picking_validate"} {
			assert.Equal(t, before.call(t, name).Counts, after.call(t, name).Counts, name)
			assert.Equal(t, before.call(t, name).Synthetic.done()+1, after.call(t, name).Synthetic.done(), name)
		}
	})

	misbehave := func(mode string) { // as wbt_one does from its second version on
		p.call(t, "a.example", session, "ir.config_parameter", "set_param", []any{"wbt.flow", mode}, nil)
	}

	t.Run("faults and refusals are told apart", func(t *testing.T) {
		picking := b.text(t, db, "SELECT max(id) FROM stock_picking WHERE state IN ('confirmed', 'assigned')")
		for mode, want := range map[string]Counts{
			"raise": {Total: 1, Failed: 1},
			"":      {Total: 1, Refused: 1}, // there is nothing in stock to ship
		} {
			misbehave(mode)
			before := p.signals(t, db).call(t, "picking_validate")
			_, failed, _ := p.rpc(t, "a.example", "/web/dataset/call_kw/stock.picking/button_validate", session, map[string]any{
				"model": "stock.picking", "method": "button_validate", "args": []any{json.RawMessage("[" + picking + "]")}, "kwargs": map[string]any{}})
			require.NotEmpty(t, failed, mode)
			after := p.signals(t, db).call(t, "picking_validate")
			assert.Equal(t, want, Counts{Total: after.Total - before.Total, Failed: after.Failed - before.Failed, Refused: after.Refused - before.Refused}, "%q: %s", mode, failed)
		}
		log := p.signals(t, db).Log
		assert.Positive(t, log.Error)
		last := log.find("ValueError")
		require.NotNil(t, last, "%+v", log.Messages)
		assert.Equal(t, "odoo.http", last.Logger)
		assert.Contains(t, last.Exception, "ValueError at wbt_one/models.py:")
	})

	t.Run("log lines without their values, and slow queries", func(t *testing.T) {
		misbehave("log")
		picking := b.text(t, db, "SELECT max(id) FROM stock_picking WHERE state IN ('confirmed', 'assigned')")
		before := p.signals(t, db).Log
		p.rpc(t, "a.example", "/web/dataset/call_kw/stock.picking/button_validate", session, map[string]any{
			"model": "stock.picking", "method": "button_validate", "args": []any{json.RawMessage("[" + picking + "]")}, "kwargs": map[string]any{}})
		log := p.signals(t, db).Log
		assert.Equal(t, before.Error+1, log.Error)
		assert.Equal(t, before.Slow+1, log.Slow)
		require.NotNil(t, log.find("the label of %s is missing: …"), "%+v", log.Messages)
		slow := log.find("SELECT pg_sleep(?), ?")
		require.NotNil(t, slow, "%+v", log.Messages)
		assert.Contains(t, slow.Where, "wbt_one/models.py:")
		everything, err := json.Marshal(log)
		require.NoError(t, err)
		assert.NotContains(t, string(everything), "swordfish")
		misbehave("")
	})

	t.Run("what waits", func(t *testing.T) {
		seen := p.signals(t, db)
		require.NotNil(t, seen.Cron)
		require.NotNil(t, seen.Mail)
		require.Nil(t, seen.Queue)
		// The template is as old as the user's cache, and so are the calls that its modules asked for.
		b.sql(t, db, "DELETE FROM ir_cron_trigger")
		b.sql(t, db, "UPDATE ir_cron SET active = false")
		b.sql(t, db, `UPDATE ir_cron SET active = true, nextcall = now() AT TIME ZONE 'UTC' - interval '3 hours', failure_count = 4,
			first_failure_date = now() AT TIME ZONE 'UTC' - interval '1 day', cron_name = 'the one that stopped' WHERE id = (SELECT min(id) FROM ir_cron)`)
		b.sql(t, db, `INSERT INTO mail_message (message_type) VALUES ('email')`)
		b.sql(t, db, `INSERT INTO mail_mail (mail_message_id, state, create_date) SELECT max(id), s.state, now() AT TIME ZONE 'UTC' - interval '10 min'
			FROM mail_message, (VALUES ('outgoing'), ('outgoing'), ('exception'), ('sent')) s(state) GROUP BY s.state`)
		b.sql(t, db, `CREATE TABLE queue_job (state text, eta timestamp, date_created timestamp)`)
		b.sql(t, db, `ALTER TABLE queue_job OWNER TO odoo`)
		b.sql(t, db, `INSERT INTO queue_job VALUES ('pending', NULL, now() AT TIME ZONE 'UTC' - interval '1 min'), ('pending', now() + interval '1 day', now()), ('failed', NULL, now())`)
		seen = p.signals(t, db)
		cron := seen.Cron
		require.NotNil(t, cron)
		assert.Equal(t, []any{int64(1), int64(1), "the one that stopped", int64(1), int64(4)}, []any{cron.Active, cron.Due, cron.LateJob, cron.Failing, cron.Failures})
		assert.InDelta(t, 3*3600, cron.Late, 60)
		require.Len(t, cron.Jobs, 1)
		assert.InDelta(t, 24*3600, cron.Jobs[0].FailingSince, 60)
		eventually(t, time.Minute, "lateness grows while the scheduler stands still", func() bool {
			return p.signals(t, db).Cron.Late > cron.Late+1
		})
		require.NotNil(t, seen.Mail, "%v", seen.Problems)
		assert.Equal(t, int64(1), seen.Mail.Failed)
		assert.Equal(t, int64(1), seen.Mail.Waiting)
		assert.InDelta(t, 600, seen.Mail.Oldest, 60)
		require.NotNil(t, seen.Queue, "%v", seen.Problems)
		assert.Equal(t, int64(1), seen.Queue.Waiting)
		assert.InDelta(t, 60, seen.Queue.Oldest, 30)
		assert.Equal(t, int64(1), seen.Queue.Failed)
		b.sql(t, db, "ALTER TABLE mail_mail RENAME TO mail_mail_away")
		seen = p.signals(t, db)
		assert.Nil(t, seen.Mail)
		assert.Contains(t, strings.Join(seen.Problems, "\n"), "mail: relation")
		b.sql(t, db, "ALTER TABLE mail_mail_away RENAME TO mail_mail")
	})

	t.Run("what it costs", func(t *testing.T) {
		script, err := os.ReadFile("testdata/signals_cost.py")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(b.dir, p.name+"-etc", "cost.py"), script, 0o644))
		out, err := exec.CommandContext(t.Context(), "docker", "exec", p.name, "python3", ConfigDir+"/cost.py", db).Output()
		require.NoError(t, err)
		var cost struct{ Timed, Plain float64 }
		require.NoError(t, json.Unmarshal(bytes.TrimSpace(out), &cost), string(out))
		t.Logf("a call that is timed takes %.2f µs of a processor more: %.2f instead of %.2f", cost.Timed-cost.Plain, cost.Timed, cost.Plain)
		assert.Less(t, cost.Timed-cost.Plain, 50.0)
	})

	t.Run("counts begin anew with the pool", func(t *testing.T) {
		before := p.signals(t, db)
		require.NoError(t, exec.CommandContext(t.Context(), "docker", "restart", "-t", "3", p.name).Run())
		ip, err := exec.Command("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", p.name).Output()
		require.NoError(t, err)
		require.Contains(t, p.addr, strings.TrimSpace(string(ip)))
		var after Signals
		eventually(t, 5*time.Minute, "the pool answers again", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			after, err = p.client.Signals(ctx, db)
			return err == nil
		})
		assert.NotEqual(t, before.Source, after.Source)
		assert.Greater(t, after.Since, before.Since)
		assert.Zero(t, after.call(t, "order_confirm").Total)
	})

	_, err := p.client.Signals(t.Context(), "postgres")
	require.ErrorIs(t, err, ErrRefused)
}

// TestSignalsThreaded: one process with threads; what Odoo tries again after a conflict counts once.
func TestSignalsThreaded(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	require.True(t, p.ready(t, db).Ready)
	client := &salesman{pool: p, db: db, session: p.login(t, "a.example", db)}
	orders := client.draft(t, 12)
	// Everybody wants to confirm the same orders: the loser of each race is tried again, and then refused.
	ledger := client.confirmAll(t, append(append(slices.Clone(orders), orders...), orders...), nil)
	seen := p.signals(t, db).call(t, "order_confirm")
	assert.Equal(t, int64(12), seen.done())
	assert.Equal(t, int64(24), seen.Refused)
	assert.Equal(t, int64(36), seen.Total)
	assert.Equal(t, tally{done: 12, refused: 24}, ledger)
	assert.Contains(t, p.log(), "tries left, try again", "no conflict happened: the test shows nothing")
}

// TestBridgePython runs the tests of the bridge's pure parts with the Python that runs Odoo.
func TestBridgePython(t *testing.T) {
	b := setup(t)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--name", b.name("python"), "--network=none", "-e", "PYTHONDONTWRITEBYTECODE=1",
		"-v", root+":/src:ro", "-w", "/src/bridge", b.image, "python3", "-m", "unittest", "discover", "-s", "tests", "-t", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "\nOK", string(out))
}

func (p *pool) signals(t *testing.T, database string) Signals {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var answer Signals
	// By hand, to see that the two sides name the same fields.
	path := "/waybill/v1/signals?db=" + database
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
	require.NoError(t, err)
	request.Header.Set(SignatureHeader, Sign(testKey, time.Now(), random(18), http.MethodGet, path, nil))
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(raw))
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&answer), string(raw))
	return answer
}

func names(s Signals) []string {
	var all []string
	for _, call := range s.Calls {
		all = append(all, call.Name)
	}
	return all
}

func (s Signals) call(t *testing.T, name string) Call {
	t.Helper()
	for _, call := range s.Calls {
		if call.Name == name {
			return call
		}
	}
	t.Fatalf("no call %s: %+v", name, s)
	return Call{}
}

func (c Counts) done() int64 { return c.Total - c.Failed - c.Refused }

// find gives the message whose text or exception has a part.
func (l LogCounts) find(part string) *Message {
	for _, m := range l.Messages {
		if strings.Contains(m.Text, part) || strings.Contains(m.Exception, part) {
			return &m
		}
	}
	return nil
}

// killWorkers kills one HTTP worker, as the kernel does when memory runs out.
func (p *pool) killWorkers(t *testing.T) {
	t.Helper()
	const script = `
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if pid != str(os.getpid()) and open("/proc/%s/stat" % pid).read().rsplit(")", 1)[1].split()[1] == "1":
            os.kill(int(pid), signal.SIGKILL)
            break
    except OSError:
        pass
`
	out, err := exec.Command("docker", "exec", p.name, "python3", "-c", script).CombinedOutput()
	assert.NoError(t, err, string(out))
}
