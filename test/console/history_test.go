//go:build browser

package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// tenants of the estate, by environment, and the ring that each is in.
var tenants = map[string][][2]string{
	"test":       {{"acme", ""}},
	"staging":    {{"acme", ""}},
	"production": {{"demo", "canary"}, {"lyon", "shops"}, {"porto", "shops"}, {"bremen", "warehouses"}},
}

func database(environment, tenant string) string {
	if environment == "production" {
		return tenant
	}
	return tenant + "_" + environment
}

// past is a promotion of the last months, as the server would have left it.
type past struct {
	days                          float64 // ago
	environment, release, by      string
	class, outcome, failed, cause string
	held, took                    float64 // seconds
	watched                       bool    // traffic moved by weight, with verdicts
	id                            string  // what the pages are told to look at; empty: any
}

var story = []past{
	{days: 84, environment: "test", release: "r1", by: "anna", class: "breaking", outcome: store.Promoted, held: 0, took: 41},
	{days: 83, environment: "staging", release: "r1", by: "anna", class: "breaking", outcome: store.Promoted, took: 64},
	{days: 81, environment: "production", release: "r1", by: "anna", class: "breaking", outcome: store.Promoted, held: 21, took: 812},
	{days: 70, environment: "test", release: "r2", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.4, took: 38},
	{days: 69, environment: "staging", release: "r2", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.6, took: 59},
	{days: 66, environment: "production", release: "r2", by: "olga", class: "compatible", outcome: store.Promoted, held: 2.3, took: 4710, watched: true},
	{days: 52, environment: "test", release: "r3", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.1, took: 35},
	{days: 51, environment: "staging", release: "r3", by: "anna", class: "compatible", outcome: store.RolledBack, failed: "update", cause: "update of acme_label: the reference “4711?” has no dock; the update is one transaction, and nothing of it is left", held: 3.1, took: 22},
	{days: 38, environment: "test", release: "r4", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.2, took: 36},
	{days: 37, environment: "staging", release: "r4", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.3, took: 61},
	{days: 36, environment: "production", release: "r4", by: "olga", class: "compatible", outcome: store.RolledBack, failed: "verify", cause: "on its own pool, before any traffic, flow ship failed at print: the label was not printed: no printer queue “dock-3”", held: 2.8, took: 96},
	{days: 24, environment: "test", release: "r5", by: "anna", class: "swap", outcome: store.Promoted, took: 29},
	{days: 23, environment: "staging", release: "r5", by: "anna", class: "swap", outcome: store.Promoted, took: 48},
	{days: 21, environment: "production", release: "r5", by: "olga", class: "swap", outcome: store.Promoted, took: 3620, watched: true, id: "good"},
	{days: 10, environment: "test", release: "r6", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.2, took: 37},
	{days: 9, environment: "staging", release: "r6", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.4, took: 62},
	{days: 8, environment: "production", release: "r6", by: "olga", class: "compatible", outcome: store.RolledBack, failed: "shift", cause: "at 25 % of the traffic, picking_validate.seconds: 41 % slower, between 22 % and 63 %; up to 20 % is tolerated", held: 2.1, took: 1260, watched: true, id: "back"},
	{days: 2, environment: "test", release: "r7", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.1, took: 34},
	{days: 1, environment: "staging", release: "r7", by: "anna", class: "compatible", outcome: store.Promoted, held: 1.3, took: 57},
}

// serving is what each environment serves after that story.
var serving = map[string]string{"test": "r7", "staging": "r7", "production": "r5"}

// remember puts the story into the server's database, and the tenants' databases beside it.
func (s *server) remember() (ids map[string]string) {
	s.t.Helper()
	ids = map[string]string{}
	s.inDatabase(stage.StateServer, "postgres", func(ctx context.Context, db *pgx.Conn) {
		tx, err := db.Begin(ctx)
		require.NoError(s.t, err)
		h := &historian{s: s, ctx: ctx, tx: tx, now: time.Now()}
		rehearsed := h.rehearsals()
		for i, p := range story {
			id := h.promotion(i, p, rehearsed)
			if p.id != "" {
				ids[p.id] = id
			}
		}
		for environment, list := range tenants {
			for _, t := range list {
				pool := serving[environment] + "-pool"
				live := store.Live{Stable: pool, Cron: pool, Access: []string{pool}}
				digest := s.digests[serving[environment]]
				h.exec(`insert into tenants (environment, name, database, hosts, pool_group, serving_release, schema_release, live) values ($1, $2, $3, $4, 'shared', $5, $5, $6)`,
					environment, t[0], database(environment, t[0]), []string{t[0] + ".example"}, digest, encode(live))
			}
		}
		h.exec(`insert into quarantine (environment, digest, promotion_id, reason, at) values ('production', $1, $2, 'picking_validate.seconds: 41 % slower', $3)`, s.digests["r6"], ids["back"], h.ago(8))
		require.NoError(s.t, tx.Commit(ctx))
	})
	s.makeDatabases()
	return ids
}

// releaseOf reads what the server knows of a release.
func (s *server) releaseOf(name string) (r release.Release) {
	s.t.Helper()
	s.inDatabase(stage.StateServer, "postgres", func(ctx context.Context, db *pgx.Conn) {
		require.NoError(s.t, db.QueryRow(ctx, "select data from releases where digest = $1", s.digests[name]).Scan(&r))
	})
	return r
}

// makeDatabases gives each tenant a database that says of itself what Odoo's does: which modules are installed, and in which version.
func (s *server) makeDatabases() {
	s.t.Helper()
	s.inDatabase(stage.TenantsServer, "postgres", func(ctx context.Context, db *pgx.Conn) {
		_, err := db.Exec(ctx, "create database odoo_as_read")
		require.NoError(s.t, err)
	})
	installed := s.releaseOf("r5")
	checksums := map[string]string{}
	s.inDatabase(stage.TenantsServer, "odoo_as_read", func(ctx context.Context, db *pgx.Conn) {
		for _, sql := range []string{
			`create table ir_module_module (id serial primary key, name text, latest_version text, state text)`,
			`create table ir_config_parameter (id serial primary key, key text, value text)`,
			`create table res_lang (id serial primary key, code text, active bool)`,
			`insert into res_lang (code, active) values ('en_US', true)`,
			`create table ir_model (id serial primary key, state text)`,
			`create table ir_model_fields (id serial primary key, state text)`,
			`create table ir_model_data (id serial primary key, model text, res_id int)`,
			`create table ir_ui_view (id serial primary key)`,
			`create table ir_attachment (id serial primary key, store_fname text, file_size int)`,
			`insert into ir_attachment (store_fname, file_size) select 'aa/' || i, 40000 from generate_series(1, 900) i`,
		} {
			_, err := db.Exec(ctx, sql)
			require.NoError(s.t, err, sql)
		}
		for _, m := range slices.Concat(installed.Modules, installed.Base.Modules) {
			checksums[m.Name] = m.Checksum
			_, err := db.Exec(ctx, "insert into ir_module_module (name, latest_version, state) values ($1, $2, 'installed')", m.Name, m.Version)
			require.NoError(s.t, err)
		}
		_, err := db.Exec(ctx, "insert into ir_config_parameter (key, value) values ($1, $2)", odoo.ChecksumsParameter, string(encode(checksums)))
		require.NoError(s.t, err)
	})
	s.inDatabase(stage.TenantsServer, "postgres", func(ctx context.Context, db *pgx.Conn) {
		for environment, list := range tenants {
			for _, t := range list {
				_, err := db.Exec(ctx, "create database "+pgx.Identifier{database(environment, t[0])}.Sanitize()+" template odoo_as_read")
				require.NoError(s.t, err)
			}
		}
	})
}

// historian writes what the server would have written at the time.
type historian struct {
	s   *server
	ctx context.Context
	tx  pgx.Tx
	now time.Time
}

func (h *historian) ago(days float64) time.Time {
	return h.now.Add(-time.Duration(days * 24 * float64(time.Hour)))
}

func (h *historian) exec(sql string, arguments ...any) {
	h.s.t.Helper()
	_, err := h.tx.Exec(h.ctx, sql, arguments...)
	require.NoError(h.s.t, err, sql)
}

func encode(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return content
}

// before is what served an environment when a promotion of the story began; empty: nothing did.
func before(i int) (release string) {
	for _, p := range story[:i] {
		if p.environment == story[i].environment && p.outcome == store.Promoted {
			release = p.release
		}
	}
	return release
}

// promotion writes one, with its rollouts, their steps, gates and verdicts.
func (h *historian) promotion(i int, p past, rehearsed string) string {
	h.s.t.Helper()
	id := fmt.Sprintf("past%06d", i)
	began := h.ago(p.days)
	ended := began.Add(seconds(p.took))
	env := promotion.Snapshot{Environment: estate.Environment{Name: p.environment}}
	if p.environment == "production" {
		env.Environment.Rings = []estate.Ring{{Name: "canary"}, {Name: "shops", Labels: map[string]string{"size": "small"}}, {Name: "warehouses"}}
	}
	h.exec(`insert into promotions (id, kind, environment, release, release_name, class, requested_by, options, estate, estate_commit, created_at, finished_at, outcome)
		values ($1, 'promote', $2, $3, $4, $5, $6, '{}', $7, '4f1c2a9be07d', $8, $9, $10)`,
		id, p.environment, h.s.digests[p.release], p.release, p.class, p.by, encode(env), began, ended, p.outcome)
	list := tenants[p.environment]
	if p.outcome == store.RolledBack { // the first ring's tenant has gone back, and nobody else began
		list = list[:1]
	}
	for n, t := range list {
		rollout := fmt.Sprintf("%sr%d", id, n)
		memory := promotion.Memory{Plan: promotion.Plan{Class: estate.Class(p.class), ClassReason: "declared by the estate", Transactional: true, PredictedSeconds: p.held * .9}}
		if old := before(i); old != "" {
			memory.OldRelease = h.s.digests[old]
		}
		if p.class != "swap" {
			memory.Plan.Update = []string{"acme_dock", "acme_label"}
			memory.Checkpoint = strings.ReplaceAll(began.UTC().Format("20060102-150405"), " ", "")
		}
		if p.id == "back" {
			memory.Plan.Rehearsal = rehearsed
		}
		h.exec(`insert into rollouts (id, promotion_id, environment, tenant, state, memory, outcome, reason, held_seconds, revision, created_at, finished_at, ring, turn_at)
			values ($1, $2, $3, $4, 'done', $5, $6, $7, $8, 30, $9, $10, $11, $9)`,
			rollout, id, p.environment, t[0], encode(memory), p.outcome, p.cause, p.held, began, ended, t[1])
		h.steps(rollout, p, began, ended)
		if p.environment == "production" {
			h.gate(rollout, began)
			if p.watched {
				h.verdicts(rollout, p, began)
			}
		}
	}
	return id
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

var details = map[string]string{
	"admit":      "class compatible (declared by the estate); update acme_dock, acme_label",
	"rehearse":   "class compatible (the old release works on the updated database); predicted 1.9 s, recovery 48.0 s",
	"gates":      "3 rules hold",
	"start pool": "pool answers after 4.1 s",
	"checkpoint": "412 MB in 38.0 s",
	"hold":       "held",
	"update":     "acme_dock, acme_label in 1.6 s; 41 flows and invariants hold",
	"let go":     "17 requests went on",
	"verify":     "registry open in 2.2 s; flows passed: sell 1.1 s, ship 1.4 s, receive 0.9 s",
	"shift":      "5 %, 25 %, 50 %: passed",
	"bake":       "nothing was found",
	"record":     "the old pool is gone",
}

// steps are those of the procedure, and the way back from the one that failed.
func (h *historian) steps(rollout string, p past, began, ended time.Time) {
	h.s.t.Helper()
	names := promotion.Procedure(promotion.KindPromote)
	if p.class == "swap" {
		names = slices.DeleteFunc(names, func(n string) bool {
			return slices.Contains([]string{"checkpoint", "hold", "update", "let go"}, n)
		})
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "checkpoint in fence" || n == "release hold" })
	if at := slices.Index(names, p.failed); at >= 0 {
		names = names[:at+1]
	}
	each := ended.Sub(began) / time.Duration(2*len(names))
	at := began
	for i, name := range names {
		outcome, detail := "done", details[name]
		if name == p.failed {
			outcome, detail = "failed", p.cause
		}
		h.exec(`insert into steps (rollout_id, name, undo, outcome, detail, epoch, started_at, finished_at) values ($1, $2, false, $3, $4, $5, $6, $7)`, rollout, name, outcome, detail, i, at, at.Add(each))
		at = at.Add(each)
	}
	if p.failed == "" {
		return
	}
	for _, name := range slices.Backward(names) {
		if undone, does := map[string]string{"shift": "everybody is on the old pool", "verify": "", "hold": "requests went on", "checkpoint": "", "start pool": "the new pool is removed"}[name]; does {
			h.exec(`insert into steps (rollout_id, name, undo, outcome, detail, epoch, started_at, finished_at) values ($1, $2, true, 'done', $3, 99, $4, $5)`, rollout, name, undone, at, at.Add(time.Second))
			at = at.Add(time.Second)
		}
	}
}

func (h *historian) gate(rollout string, at time.Time) {
	h.s.t.Helper()
	result := gate.Result{Verdict: gate.Allowed, At: at, Rules: []gate.RuleResult{
		{Policy: "production", Rule: "same-digest", Verdict: gate.Allowed},
		{Policy: "environment", Rule: "approvals", Verdict: gate.Allowed},
	}}
	h.exec(`insert into gates (rollout_id, topics, result, evaluated_at) values ($1, '{}', $2, $3)`, rollout, encode(result), at)
}

// verdicts are those at each weight; the last one is the reason why it went back, where it did.
func (h *historian) verdicts(rollout string, p past, began time.Time) {
	h.s.t.Helper()
	for i, weight := range []int64{5, 25, 50, 100} {
		since := began.Add(seconds(120 + 300*float64(i)))
		v := promotion.Verdict{
			Stage: fmt.Sprintf("shift %d", weight), Weight: int(weight), Outcome: judge.Pass, Says: "no more requests fail than before, and deliveries are validated as quickly",
			Since: since, At: since.Add(seconds(290)), Calls: int64(180 * (i + 1)), EValue: .6, Lower: -.004, Upper: .006,
			Requests: judge.Pair{Canary: judge.Counts{Requests: 41 * weight}, Stable: judge.Counts{Requests: 41 * (100 - weight)}},
		}
		if weight == 100 {
			v.Stage = "bake"
		}
		worse := p.failed == "shift" && weight == 25
		effect, lower, upper := .02, -.09, .13
		signal := promotion.SignalVerdict{Signal: "picking_validate.seconds", Role: estate.Trigger, Outcome: judge.Pass, Unit: "of its duration", EValue: .4, Enough: 2000,
			Says: "2 % slower, between 9 % quicker and 13 % slower; up to 20 % is tolerated", Canary: judge.Counts{Requests: 14 * weight}, Stable: judge.Counts{Requests: 14 * (100 - weight)}}
		if worse {
			effect, lower, upper = .41, .22, .63
			signal.Outcome, signal.EValue, signal.Says = judge.Fail, 8120, "41 % slower, between 22 % and 63 %; up to 20 % is tolerated"
			v.Outcome, v.Says = judge.Fail, "picking_validate.seconds: "+signal.Says
		}
		signal.Effect, signal.Lower, signal.Upper = &effect, &lower, &upper
		signal.Chart = course(since, worse)
		v.Signals = []promotion.SignalVerdict{signal}
		h.exec(`insert into verdicts (rollout_id, stage, outcome, says, evidence, decided_at) values ($1, $2, $3, $4, $5, $6)`, rollout, v.Stage, string(v.Outcome), v.Says, encode(v), v.At)
		if worse {
			return
		}
	}
}

func course(since time.Time, worse bool) *promotion.Chart {
	c := &promotion.Chart{Since: since, Slice: 20, Unit: "seconds"}
	for i := range 14 {
		stable := .52 + .05*math.Sin(float64(i))
		canary := stable + .02*math.Cos(float64(3*i))
		if worse {
			canary = stable*1.41 + .04*math.Cos(float64(2*i))
		}
		c.Stable, c.Canary = append(c.Stable, &stable), append(c.Canary, &canary)
	}
	c.Canary[1] = nil // nobody came
	return c
}

// rehearsals are two: one that proved a release, one that found it unfit.
func (h *historian) rehearsals() (proven string) {
	h.s.t.Helper()
	began := h.ago(8.2)
	report := rehearsal.Report{
		ID: "reh0000001", Environment: "production", Tenant: "demo", Release: h.s.digests["r6"], ReleaseName: "r6", OldRelease: h.s.digests["r5"], OldReleaseName: "r5", Schema: h.s.digests["r5"],
		Checkpoint: "20260301-020000", RecoveryPoint: began.Add(-6 * time.Hour), Started: began, Finished: began.Add(194 * time.Second), Outcome: rehearsal.Proven, Class: estate.Compatible,
		Cause: "the database changes, and the old release works on it", Transactional: true, Pause: "hold", PredictedSeconds: 1.9, ComputedSeconds: 1.7, RecoverySeconds: 48,
		Steps:  []rehearsal.Timed{{Name: "restore", Seconds: 48}, {Name: "update", Seconds: 21}, {Name: "way back", Seconds: 34}},
		Advice: []rehearsal.Advice{{Subject: "stock_picking.dock_slot", Problem: "its index is built while the table is locked", Mend: "build it concurrently in a script of its own"}},
		Plan:   rehearsal.Plan{Update: []string{"acme_dock", "acme_label"}, Install: []string{}},
		Update: &rehearsal.Update{Seconds: 1.6, Modules: []bridge.ModuleTime{{Name: "acme_dock", Seconds: 1.1}, {Name: "acme_label", Seconds: .4}}, Errors: []string{}, Warnings: []string{}},
		Timeline: &rehearsal.Timeline{Seconds: 1.6, Locks: []rehearsal.Lock{
			{Table: "stock_picking", Mode: "AccessExclusive", Blocks: "reads and writes", From: .3, To: 1.5, HeldSeconds: 1.2, Blocked: 14, BlockedSeconds: 8.1, Module: "acme_dock"},
			{Table: "stock_move", Mode: "ShareRowExclusive", Blocks: "writes", From: .5, To: 1.5, HeldSeconds: 1, Blocked: 3, BlockedSeconds: 1.2, Module: "acme_dock"},
			{Table: "ir_ui_view", Mode: "ShareRowExclusive", Blocks: "writes", From: 1.1, To: 1.5, HeldSeconds: .4, Module: "acme_label"},
		}},
		Effect: &rehearsal.Effect{
			Schema: []rehearsal.Change{{Kind: "column", Name: "stock_picking.dock_slot", After: "integer"}, {Kind: "index", Name: "stock_picking_dock_slot_idx", After: "btree (dock_slot)"}},
			Tables: []rehearsal.TableData{{Table: "ir_model_fields", RowsBefore: 21033, RowsAfter: 21034, Inserted: 1}, {Table: "ir_ui_view", RowsBefore: 2210, RowsAfter: 2210, Updated: 2}},
			Views:  []rehearsal.Change{{Kind: "view", Name: "acme_dock.view_picking_form", Before: "of r5", After: "of r6"}},
		},
		WayBack: &rehearsal.WayBack{Works: true, Seconds: 34, Models: 812, Views: 2210},
	}
	fails := report
	fails.ID, fails.Release, fails.ReleaseName, fails.Outcome, fails.Class, fails.Failure = "reh0000002", h.s.digests["r3"], "r3", rehearsal.Fails, "", "update of acme_label: a reference has no dock"
	fails.Timeline, fails.Effect, fails.WayBack = nil, nil, nil
	for _, r := range []rehearsal.Report{fails, report} {
		h.exec(`insert into rehearsals (id, environment, tenant, release, release_name, old_release, requested_by, state, outcome, report, created_at, finished_at)
			values ($1, $2, $3, $4, $5, $6, 'anna', 'done', $7, $8, $9, $10)`, r.ID, r.Environment, r.Tenant, r.Release, r.ReleaseName, r.OldRelease, r.Outcome, encode(r), r.Started, r.Finished)
	}
	return report.ID
}
