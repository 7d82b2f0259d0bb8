//go:build odoo

package bridge

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUpdateCommits(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	signals := b.text(t, db, "SELECT max(id) FROM orm_signaling_registry")
	job := b.update(db)
	job.Checksums = map[string]string{"wbt_one": "abc"}
	result := b.runs(t, "v2", job, ExitCommitted)

	assert.Equal(t, "committed", result.Outcome)
	assert.Equal(t, "19.0.1.1.0", b.text(t, db, "SELECT latest_version FROM ir_module_module WHERE name = 'wbt_two'"))
	assert.Equal(t, "1", b.text(t, db, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'sale_order' AND column_name = 'wbt_lane'"))
	assert.Equal(t, `{"wbt_one": "abc"}`, b.text(t, db, "SELECT value FROM ir_config_parameter WHERE key = 'module_auto_update.installed_checksums'"))
	assert.NotEqual(t, signals, b.text(t, db, "SELECT max(id) FROM orm_signaling_registry"), "running pools are not told to reload")
	var marker Marker
	require.NoError(t, json.Unmarshal([]byte(b.text(t, db, "SELECT value FROM ir_config_parameter WHERE key = $1", MarkerParameter)), &marker))
	assert.Equal(t, Marker{Promotion: "promotion-1", Release: "sha256:second", State: "done", At: marker.At}, marker)
	assert.Positive(t, result.DeferredCommits)
	require.Len(t, result.Modules, 2)
	assert.Equal(t, "wbt_one", result.Modules[0].Name)
	assert.NotEmpty(t, result.Invariants)
	require.Equal(t, brief, flowNames(result.Flows), "people wait: the others run on the new pool")
	for _, flow := range result.Flows {
		assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s", flow.Name, flow.Error)
		assert.NotEmpty(t, flow.Stages)
	}
	for table, column := range map[string]string{"product_template": "name->>'en_US'", "res_partner": "name", "stock_picking": "origin"} {
		assert.Equal(t, "0", b.text(t, db, "SELECT count(*) FROM "+table+" WHERE "+column+" LIKE 'WAYBILL FLOW%'"), "a flow left something in %s", table)
	}

	again := b.runs(t, "v2", job, ExitCommitted) // a job that is run twice does its work once
	assert.Equal(t, "committed", again.Outcome)
	assert.Empty(t, again.Modules)
}

// TestUpdateLeavesNothing: whatever goes wrong in one transaction, the database is as before.
func TestUpdateLeavesNothing(t *testing.T) {
	b := setup(t)
	cases := []struct {
		name, script, flow string
		code               int
		change             func(*Job)
		says               string
		where              string // script
	}{
		{name: "script raises", script: "raise", code: ExitFailed, says: "order S00042 has no lane", where: "wbt_two/migrations/19.0.1.1.0/post-misbehave.py"},
		{name: "script exits", script: "exit", code: ExitFailed, says: "SystemExit", where: "wbt_two/migrations/19.0.1.1.0/post-misbehave.py"},
		{name: "script logs an error", script: "log", code: ExitFailed, says: "something went wrong, going on"},
		{name: "script commits", script: "commit", code: ExitOwnCommit, says: "commit in wbt_two/migrations/19.0.1.1.0/post-misbehave.py:"},
		{name: "script commits and swallows", script: "swallow", code: ExitOwnCommit, says: "commit in wbt_two/"},
		{name: "script commits in SQL", script: "sql", code: ExitOwnCommit, says: "SQL that ends the transaction"},
		{name: "script commits the raw connection", script: "raw", code: ExitOwnCommit, says: "raw connection"},
		{name: "script connects", script: "connect", code: ExitOwnCommit, says: "connection of its own"},
		{name: "script deletes", script: "delete", code: ExitFlowFailed, says: "rows of res_partner"},
		{name: "flow fails", flow: "raise", code: ExitFlowFailed, says: "validation is broken"},
		{name: "flow commits", flow: "commit", code: ExitFlowFailed, says: "commit in wbt_one/models.py"},
		{name: "unknown module", code: ExitFailed, says: "no_such_module", change: func(j *Job) { j.Install = []string{"no_such_module"} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			db := b.database(t)
			b.sql(t, db, `CREATE TEMP TABLE victim AS SELECT * FROM res_partner WHERE id = 1;
				UPDATE victim SET id = nextval('res_partner_id_seq'), name = 'wbt victim';
				INSERT INTO res_partner SELECT * FROM victim`)
			if c.script != "" {
				b.set(t, db, "wbt.script", c.script)
			}
			if c.flow != "" {
				b.set(t, db, "wbt.flow", c.flow)
			}
			before := b.digest(t, db)
			job := b.update(db)
			if c.change != nil {
				c.change(&job)
			}
			result := b.runs(t, "v2", job, c.code)
			assert.Equal(t, "rolled_back", result.Outcome)
			assert.Contains(t, result.Error, c.says)
			if c.where != "" {
				assert.Equal(t, c.where, result.Script)
				assert.Equal(t, "wbt_two", result.Module)
			}
			assert.Equal(t, before, b.digest(t, db), "the database is not what it was")
		})
	}
}

func TestUpdateDeadline(t *testing.T) {
	b := setup(t)
	for _, hang := range []string{"sleep", "query"} {
		t.Run(hang, func(t *testing.T) {
			db := b.database(t)
			b.set(t, db, "wbt.script", hang)
			before := b.digest(t, db)
			job := b.update(db)
			job.Deadline = float64(time.Now().Add(45 * time.Second).Unix())
			result := b.runs(t, "v2", job, ExitDeadline)
			late := time.Since(time.Unix(int64(job.Deadline), 0))
			assert.Equal(t, "rolled_back", result.Outcome)
			assert.Contains(t, result.Error, "deadline")
			assert.Equal(t, "wbt_two/migrations/19.0.1.1.0/post-misbehave.py", result.Script)
			assert.Less(t, late, 10*time.Second)
			assert.Equal(t, before, b.digest(t, db))
		})
	}
	t.Run("passed before", func(t *testing.T) {
		db := b.database(t)
		job := b.update(db)
		job.Deadline = float64(time.Now().Add(-time.Second).Unix())
		b.runs(t, "v2", job, ExitDeadline)
	})
}

func TestUpdateBusy(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	conn, err := b.connect(t.Context(), db)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_lock($1, $2)", int32(LockClass), int32(LockKey))
	require.NoError(t, err)
	result := b.runs(t, "v2", b.update(db), ExitBusy)
	assert.Equal(t, "rolled_back", result.Outcome)
	assert.Contains(t, result.Error, db)
}

func TestUpdateHoldsItsLock(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	b.set(t, db, "wbt.script", "hold")
	conn, err := b.connect(t.Context(), db)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)

	type outcome struct {
		result JobResult
		code   int
		log    string
	}
	first := make(chan outcome, 1)
	go func() {
		result, code, log := b.run(t.Context(), "v2", b.update(db))
		first <- outcome{result, code, log}
	}()
	eventually(t, 3*time.Minute, "the first update waits in its script", func() bool {
		return b.text(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted") == "1"
	})
	b.runs(t, "v2", b.update(db), ExitBusy)
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_unlock(42)")
	require.NoError(t, err)
	done := <-first
	require.Equal(t, ExitCommitted, done.code, "%s\n%s", done.result.Error, tail(done.log))
}

func TestUpdateConflict(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	b.set(t, db, "wbt.script", "hold")
	conn, err := b.connect(t.Context(), db)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)
	code := make(chan int, 1)
	go func() {
		_, c, _ := b.run(t.Context(), "v2", b.update(db))
		code <- c
	}()
	eventually(t, 3*time.Minute, "the update waits in its script", func() bool {
		return b.text(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted") == "1"
	})
	// Unheld traffic changes what the update will write at its end.
	b.sql(t, db, "UPDATE ir_config_parameter SET value = '{}' WHERE key = $1", MarkerParameter)
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_unlock(42)")
	require.NoError(t, err)
	assert.Equal(t, ExitConflict, <-code)
	assert.Equal(t, "19.0.1.0.0", b.text(t, db, "SELECT latest_version FROM ir_module_module WHERE name = 'wbt_one'"))
}

func TestUpdateRefusesWrongDatabase(t *testing.T) {
	b := setup(t)
	t.Run("missing", func(t *testing.T) {
		job := b.update("wbt_no_such_database")
		result := b.runs(t, "v2", job, ExitNoDatabase)
		assert.Contains(t, result.Error, "wbt_no_such_database")
		assert.Equal(t, "0", b.text(t, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'wbt_no_such_database'"), "it was created silently")
	})
	t.Run("without Odoo", func(t *testing.T) {
		b.sql(t, "postgres", "CREATE DATABASE wbt_empty OWNER odoo TEMPLATE template0")
		t.Cleanup(func() { _ = b.exec(context.Background(), "postgres", "DROP DATABASE wbt_empty") })
		b.runs(t, "v2", b.update("wbt_empty"), ExitNotAnOdooBase)
		assert.Equal(t, "0", b.text(t, "wbt_empty", "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
	})
}

func TestUpdateCreates(t *testing.T) {
	b := setup(t)
	b.sql(t, "postgres", "CREATE DATABASE wbt_created OWNER odoo TEMPLATE template0")
	t.Cleanup(func() { b.drop("wbt_created") })
	job := b.job("wbt_created")
	job.Create, job.Install = true, []string{"web"}
	result := b.runs(t, "v1", job, ExitCommitted)
	assert.Positive(t, result.DeferredCommits)
	assert.Equal(t, "installed", b.text(t, "wbt_created", "SELECT state FROM ir_module_module WHERE name = 'web'"))
	assert.Equal(t, "0", b.text(t, "wbt_created", "SELECT count(*) FROM ir_module_module WHERE demo"))
	require.Equal(t, brief, flowNames(result.Flows))
	for _, flow := range result.Flows {
		assert.Equal(t, FlowNotApplicable, flow.Outcome, flow.Name)
	}
}

func TestPlainUpdate(t *testing.T) {
	b := setup(t)
	t.Run("commits by itself", func(t *testing.T) {
		db := b.database(t)
		b.set(t, db, "wbt.script", "commit")
		job := b.update(db)
		job.Transaction = false
		result := b.runs(t, "v2", job, ExitCommitted)
		assert.Equal(t, "committed", result.Outcome)
		assert.Equal(t, "19.0.1.1.0", b.text(t, db, "SELECT latest_version FROM ir_module_module WHERE name = 'wbt_two'"))
		assert.Contains(t, b.text(t, db, "SELECT value FROM ir_config_parameter WHERE key = $1", MarkerParameter), `"done"`)
	})
	t.Run("fails half-way", func(t *testing.T) {
		db := b.database(t)
		b.set(t, db, "wbt.script", "raise")
		job := b.update(db)
		job.Transaction = false
		result := b.runs(t, "v2", job, ExitFailed)
		assert.Equal(t, "partial", result.Outcome)
		assert.Equal(t, "19.0.1.1.0", b.text(t, db, "SELECT latest_version FROM ir_module_module WHERE name = 'wbt_one'"))
		assert.Contains(t, b.text(t, db, "SELECT value FROM ir_config_parameter WHERE key = $1", MarkerParameter), `"started"`)
	})
	t.Run("deadline", func(t *testing.T) {
		db := b.database(t)
		b.set(t, db, "wbt.script", "query")
		job := b.update(db)
		job.Transaction = false
		job.Deadline = float64(time.Now().Add(45 * time.Second).Unix())
		result := b.runs(t, "v2", job, ExitDeadline)
		assert.Equal(t, "partial", result.Outcome)
		assert.Contains(t, b.text(t, db, "SELECT value FROM ir_config_parameter WHERE key = $1", MarkerParameter), `"started"`)
	})
}
