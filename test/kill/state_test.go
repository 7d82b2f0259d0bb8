//go:build odoo

package kill

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// base is the checkpoint that every case begins from, with the orders placed before it.
var (
	base       string
	baseLedger *client.Ledger
)

// toBase brings production to r1 and the base checkpoint, by a restore where it is elsewhere, and
// returns the checkpoint's id.
func toBase(t *testing.T, s *stage.Stage) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if base == "" {
		makeBase(ctx, t, s)
		return base
	}
	tenant := status(ctx, t, s)
	if tenant.Serving == "r1" && tenant.Schema == "r1" {
		return base
	}
	if err := s.Ask(ctx, nil, "restore", stage.Tenant, base); err != nil {
		t.Fatalf("%v\n%s\n%s", err, story(last(ctx, t, s)), s.LogTail())
	}
	looksLike(t, s, "r1", "r1")
	audit(t, s, baseLedger)
	if t.Failed() {
		t.Fatal("the restore to the base did not bring it back")
	}
	return base
}

// makeBase has people work on r1, and takes the checkpoint that knows their orders.
func makeBase(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	ledger, err := client.OpenLedger(filepath.Join(s.Folder, "base.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Crew{Site: s.Site, Login: stage.Clerk, Password: s.Initial.Clerk, People: 2, Pace: time.Second,
		Goods: s.Initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "BASE"}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	err = stage.Poll(ctx, 100*time.Millisecond, "the first orders", func() (bool, error) { _, shipped := c.Orders(); return shipped >= 4, nil })
	if stopped := c.Stop(); err != nil || stopped != nil {
		t.Fatal(err, stopped, failures(c.Tally.Since(0)))
	}
	id, err := s.Checkpoint(ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.LogTail())
	}
	looksLike(t, s, "r1", "r1")
	if t.Failed() {
		t.Fatal("the stage is not as it should be before anything was taken away")
	}
	base, baseLedger = id, ledger
}

func status(ctx context.Context, t *testing.T, s *stage.Stage) api.Tenant {
	t.Helper()
	var st api.Status
	if err := s.Ask(ctx, &st, "status"); err != nil {
		t.Fatalf("%v\n%s", err, s.LogTail())
	}
	if len(st.Environments) != 1 || len(st.Environments[0].Tenants) != 1 {
		t.Fatalf("status tells of %+v, expected one environment with one tenant", st.Environments)
	}
	return st.Environments[0].Tenants[0]
}

// looksLike compares everything that there is with what it should be: what Waybill says, what it
// has decided, the modules and columns of the database, and what is left in the engine, in
// PostgreSQL and in Waybill's own database.
func looksLike(t *testing.T, s *stage.Stage, serving, schema string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := status(ctx, t, s)
	if said.Serving != serving || said.Schema != schema || said.Mode != "open" || said.CanaryPercent != 0 || said.Promotion != "" {
		t.Errorf("status: serves %s on the schema of %s, %s, canary %d %%, promotion %q; expected %s on %s, open, 0 %%, none",
			said.Serving, said.Schema, said.Mode, said.CanaryPercent, said.Promotion, serving, schema)
	}
	var live store.Live
	pools := map[string]string{} // the release's digest, by name
	var unfinished, leased int
	if err := query(ctx, s, stage.StateServer, "postgres", func(db *pgx.Conn) error {
		var content []byte
		if err := db.QueryRow(ctx, "select live from tenants").Scan(&content); err != nil {
			return err
		}
		if err := json.Unmarshal(content, &live); err != nil {
			return err
		}
		rows, _ := db.Query(ctx, "select name, release from pools")
		var name, digest string
		if _, err := pgx.ForEachRow(rows, []any{&name, &digest}, func() error { pools[name] = digest; return nil }); err != nil {
			return err
		}
		return db.QueryRow(ctx, `select count(*) filter (where state <> 'done'), count(*) filter (where holder <> '' or lease_until is not null) from rollouts`).
			Scan(&unfinished, &leased)
	}); err != nil {
		t.Fatal(err)
	}
	if unfinished > 0 || leased > 0 {
		t.Errorf("%d rollouts are unfinished, %d leased; expected none", unfinished, leased)
	}
	pool := live.Stable
	expected := store.Live{Stable: pool, Mode: live.Mode, Cron: pool, Access: []string{pool}}
	if live.Mode != "" && live.Mode != "open" {
		t.Errorf("the tenant is not open: mode %q", live.Mode)
	}
	if difference := cmp.Diff(expected, live); difference != "" {
		t.Errorf("what was decided about the tenant is not what should be (-expected +is):\n%s", difference)
	}
	if difference := cmp.Diff(map[string]string{pool: s.Digests[serving]}, pools); difference != "" {
		t.Errorf("the pools on record are not the one of %s (-expected +is):\n%s", serving, difference)
	}
	nothingLeft(ctx, t, s, pool)
	databaseIs(ctx, t, s, schema)
}

// nothingLeft looks for containers, roles and databases that should be gone.
func nothingLeft(ctx context.Context, t *testing.T, s *stage.Stage, pool string) {
	t.Helper()
	containers, err := s.Containers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var surplus []string
	serving := 0
	for _, name := range containers {
		switch {
		case strings.HasPrefix(name, "network "), strings.HasSuffix(name, "-router"):
		case strings.Contains(name, "-pool-"+pool+"-"):
			serving++
		default:
			surplus = append(surplus, name)
		}
	}
	if len(surplus) > 0 || serving == 0 {
		t.Errorf("in the engine, beside router and %d containers of pool %s: %v", serving, pool, surplus)
	}
	var roles, databases []string
	if err := query(ctx, s, stage.TenantsServer, "postgres", func(db *pgx.Conn) (err error) {
		rows, _ := db.Query(ctx, `select rolname from pg_roles where rolname like 'wb\_%' and rolcanlogin order by 1`)
		if roles, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		rows, _ = db.Query(ctx, `select datname from pg_database where not datistemplate order by 1`)
		databases, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"wb_" + stage.Environment + "_" + pool}; !slices.Equal(roles, want) {
		t.Errorf("roles that may log in: %v, expected %v", roles, want)
	}
	if want := []string{stage.Database, "postgres"}; !slices.Equal(databases, want) {
		t.Errorf("databases: %v, expected %v", databases, want)
	}
}

// columns are what releases bring, by the release that brought them first.
var columns = map[string]string{"dock_slot": "r2", "loading_class": "r5"}

// databaseIs compares versions of modules and columns with those of a release.
func databaseIs(ctx context.Context, t *testing.T, s *stage.Stage, schema string) {
	t.Helper()
	var r release.Release
	if err := s.Ask(ctx, &r, "release", "show", schema); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for _, m := range r.Modules {
		if strings.HasPrefix(m.Name, "acme_") {
			wanted[m.Name] = m.Version
		}
	}
	if len(wanted) != 3 {
		t.Fatalf("release %s has the modules %v, expected three of Acme's", schema, wanted)
	}
	installed, found := map[string]string{}, map[string]bool{}
	if err := query(ctx, s, stage.TenantsServer, stage.Database, func(db *pgx.Conn) error {
		rows, _ := db.Query(ctx, `select name, latest_version from ir_module_module where name like 'acme\_%' and state = 'installed'`)
		var name, version string
		if _, err := pgx.ForEachRow(rows, []any{&name, &version}, func() error { installed[name] = version; return nil }); err != nil {
			return err
		}
		rows, _ = db.Query(ctx, `select column_name from information_schema.columns where table_schema = 'public' and table_name = 'stock_picking'`)
		_, err := pgx.ForEachRow(rows, []any{&name}, func() error { found[name] = true; return nil })
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if difference := cmp.Diff(wanted, installed); difference != "" {
		t.Errorf("modules in the database are not those of %s (-expected +is):\n%s", schema, difference)
	}
	for column, since := range columns {
		if want := schema >= since; found[column] != want {
			t.Errorf("stock_picking.%s there: %v, expected %v on the schema of %s", column, found[column], want, schema)
		}
	}
}

// story is a promotion, a step a line.
func story(p api.Promotion) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", p.Kind, p.ReleaseName, p.Outcome)
	for _, r := range p.Rollouts {
		for _, step := range r.Steps {
			if step.Outcome == "skipped" {
				continue
			}
			undo, took := "", "…"
			if step.Undo {
				undo = "undo "
			}
			if step.Finished != nil {
				took = fmt.Sprintf("%.1f s", step.Finished.Sub(step.Started).Seconds())
			}
			fmt.Fprintf(&b, "  %s %-12s %s%s (%s) %s\n", step.Started.Format("15:04:05.0"), step.Outcome, undo, step.Name, took, step.Detail)
		}
		if r.Reason != "" {
			fmt.Fprintf(&b, "  because: %s\n", r.Reason)
		}
	}
	return b.String()
}
