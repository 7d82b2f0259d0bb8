//go:build odoo

package acme_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
)

// update copies a database and updates the copy with plain Odoo.
func (p *plain) update(ctx context.Context, t *testing.T, release, from, to string) (log string, err error) {
	t.Helper()
	require.NoError(t, p.copyDatabase(ctx, from, to))
	return p.job(ctx, release, to, "-u", modules)
}

func (p *plain) versions(ctx context.Context, t *testing.T, database string) string {
	t.Helper()
	versions, err := p.query(ctx, database,
		`SELECT string_agg(name || ' ' || latest_version || CASE state WHEN 'installed' THEN '' ELSE ' ' || state END, ', ' ORDER BY name)
		   FROM ir_module_module WHERE name LIKE 'acme%'`)
	require.NoError(t, err)
	return strings.ReplaceAll(strings.ReplaceAll(versions, "acme_", ""), "19.0.", "")
}

// ship places one order and ships it, as the clerk.
func (p *plain) ship(ctx context.Context, t *testing.T, release, database string, workers int) error {
	t.Helper()
	site, stop, err := p.serve(ctx, release, database, workers)
	require.NoError(t, err)
	defer stop()
	clerk, err := site.Person("clerk", clerkPassword, 0, nil)
	require.NoError(t, err)
	defer clerk.Close()
	require.NoError(t, clerk.Login(ctx))
	id, err := clerk.Place(ctx, client.Order{
		Reference: fmt.Sprintf("SHIP-%s-%s-%d", release, database, workers),
		Customer:  p.goods.Customers[0],
		Lines:     []client.Line{{Product: p.goods.Products[0], Quantity: 2}, {Product: p.goods.Products[1], Quantity: 1}},
	})
	if err != nil {
		return err
	}
	if err := clerk.Confirm(ctx, id); err != nil {
		return err
	}
	return clerk.Ship(ctx, id)
}

// TestReleases takes the five releases through both environments with plain Odoo, and tries old
// code on new schemas. What the demo tells stands on this table.
func TestReleases(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	p := odoo(t)

	for _, u := range []struct {
		release, from, to string
		versions          string // of the modules afterwards
		fails             string // text of the log
	}{
		{"r2", "before_test", "test_r2", "base 1.0.0, dock 1.1.0, label 1.0.0", ""},
		{"r3", "test_r2", "test_r3", "base 1.0.0, dock 1.2.0, label 1.1.0", ""},
		{"r4", "test_r3", "test_r4", "base 1.0.0, dock 1.2.0, label 1.2.0", ""},
		{"r5", "test_r4", "test_r5", "base 1.0.0, dock 2.0.0, label 1.3.0", ""},
		{"r2", "before_production", "production_r2", "base 1.0.0, dock 1.1.0, label 1.0.0", ""},
		// Plain Odoo leaves half an update behind: acme_dock is new, acme_label is old.
		{"r3", "production_r2", "production_r3", "base 1.0.0, dock 1.2.0, label 1.0.0", `ValueError: invalid literal for int() with base 10: '?'`},
		{"r4", "production_r2", "production_r4", "base 1.0.0, dock 1.2.0, label 1.2.0", ""},
		{"r5", "production_r4", "production_r5", "base 1.0.0, dock 2.0.0, label 1.3.0", ""},
	} {
		started := time.Now()
		log, err := p.update(ctx, t, u.release, u.from, u.to)
		if u.fails == "" {
			require.NoError(t, err, "%s on %s:\n%s", u.release, u.from, log)
		} else {
			require.Error(t, err, "%s on %s", u.release, u.from)
			require.Contains(t, log, u.fails)
		}
		require.Equal(t, u.versions, p.versions(ctx, t, u.to), "after %s on %s", u.release, u.from)
		t.Logf("update %s from %s: %.1f s; %s %s", u.release, u.from, time.Since(started).Seconds(), u.versions, u.fails)
	}

	slots, err := p.query(ctx, "test_r2", `SELECT string_agg(dock_slot, ',' ORDER BY id) FROM stock_picking WHERE dock_id IS NOT NULL`)
	require.NoError(t, err)
	require.Regexp(t, `^D1 \d\d:00,D2 \d\d:00,D3 \d\d:00$`, slots, "the pre-script fills the slots of the orders from before")
	read, err := p.query(ctx, "test_r3", `SELECT string_agg(label_dock::text, ',' ORDER BY id) FROM sale_order WHERE client_order_ref LIKE 'DOCK%'`)
	require.NoError(t, err)
	require.Equal(t, "1,2,3", read, "the post-script had something to do in test, so that it passed is no accident")
	odd, err := p.query(ctx, "production_r4", `SELECT count(*) FROM sale_order WHERE client_order_ref LIKE 'DOCK?%' AND coalesce(label_dock, 0) = 0`)
	require.NoError(t, err)
	require.Equal(t, "1", odd)

	for _, s := range []struct {
		release, schema string
		workers         int
		fails           string
	}{
		{"r1", "before_production", 2, ""},
		{"r2", "production_r2", 2, ""},
		{"r1", "production_r2", 2, ""}, // compatible
		{"r3", "test_r3", 0, ""},
		{"r2", "test_r3", 2, ""}, // compatible
		{"r4", "production_r4", 0, ""},
		{"r4", "production_r4", 2, "could not be printed"}, // the spooler, with production's setting only
		{"r2", "production_r4", 2, ""},                     // compatible: what serves after the way back
		{"r5", "production_r5", 2, ""},
		{"r4", "production_r5", 0, "Missing required value for the field 'loading_class'"}, // breaking
		{"r2", "production_r5", 2, "Missing required value for the field 'loading_class'"},
	} {
		err := p.ship(ctx, t, s.release, s.schema, s.workers)
		if s.fails == "" {
			require.NoError(t, err, "code of %s on %s", s.release, s.schema)
		} else {
			require.ErrorContains(t, err, s.fails, "code of %s on %s", s.release, s.schema)
		}
		t.Logf("code of %s on schema %s, workers %d: %v", s.release, s.schema, s.workers, err)
	}
}

// TestCrew lets a crew work on production's setting, and audits what it wrote down.
func TestCrew(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	p := odoo(t)
	require.NoError(t, p.copyDatabase(ctx, "before_production", "crew"))
	site, stop, err := p.serve(ctx, "r1", "crew", 2)
	require.NoError(t, err)
	defer stop()

	path := t.TempDir() + "/orders.jsonl"
	ledger, err := client.OpenLedger(path)
	require.NoError(t, err)
	crew := &client.Crew{
		Site: site, Login: "clerk", Password: clerkPassword, People: 4, Pace: 2 * time.Second,
		Goods: p.goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "CREW",
	}
	require.NoError(t, crew.Start(ctx))
	require.Eventually(t, func() bool { _, shipped := crew.Orders(); return shipped >= 12 }, 2*time.Minute, 100*time.Millisecond)
	require.NoError(t, crew.Stop())

	count := crew.Tally.Since(0)
	require.Zero(t, count.Failed, "%+v", count.Failures)
	begun, shipped := crew.Orders()
	require.Equal(t, begun, shipped)
	require.NoError(t, ledger.Close())
	t.Logf("%d orders, %d requests, median %s, p95 %s, slowest %s, by bucket %v", shipped, count.Requests, count.Median, count.P95, count.Slowest, count.ByBucket)

	ledger, err = client.OpenLedger(path) // as another process finds it
	require.NoError(t, err)
	audit, err := ledger.Audit(ctx, p.url("crew"))
	require.NoError(t, err)
	require.NoError(t, audit.Err())
	require.EqualValues(t, shipped, audit.Checked)

	// An audit that cannot fail is none.
	require.NoError(t, p.sql(ctx, "crew", `UPDATE sale_order SET client_order_ref = 'gone' WHERE client_order_ref = 'CREW-1'`))
	require.NoError(t, p.sql(ctx, "crew", `UPDATE sale_order SET client_order_ref = 'CREW-3' WHERE client_order_ref = 'CREW-2'`))
	require.NoError(t, p.sql(ctx, "crew", `UPDATE stock_picking SET state = 'assigned' WHERE sale_id IN (SELECT id FROM sale_order WHERE client_order_ref = 'CREW-4')`))
	audit, err = ledger.Audit(ctx, p.url("crew"))
	require.NoError(t, err)
	require.Equal(t, []string{"CREW-1", "CREW-2"}, audit.Lost)
	require.Equal(t, []string{"CREW-3"}, audit.Doubled)
	require.Equal(t, []string{"CREW-4"}, audit.Behind)
	require.ErrorContains(t, audit.Err(), "2 are lost")
}
