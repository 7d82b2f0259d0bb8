//go:build odoo

// Package tenants releases to many tenants on a real Odoo, ring by ring, while people work at each.
package tenants

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
)

const rings = `rings:
  - name: canary
    soak: 5s
  - name: shops
  - name: rest
    labels: {kind: depot}
    at_once: 2
`

// tenant is one of the six. Acme is the stage's own, and the first to get a release.
type tenant struct {
	name, more string
	crew       *client.Crew
	ledger     *client.Ledger
}

var tenants = []*tenant{
	{name: "acme", more: "ring: canary"},
	{name: "bolt", more: "ring: shops"},
	{name: "cord", more: "ring: shops"},
	{name: "dune", more: "ring: shops"},
	{name: "echo", more: "labels: {kind: depot}\nmodules: [acme_base, acme_dock, acme_label, sale_margin]"}, // which nobody else has
	{name: "fern", more: "labels: {kind: depot}\nhosting: dedicated"},
}

func (n tenant) database() string { return n.name + "_production" }

// troubled is whose data the bad release cannot take.
const troubled = "dune"

type estate struct {
	*stage.Stage
	t     *testing.T
	first string // acme's checkpoint with r1
	odd   int    // the order whose reference not every release can take
}

// TestTenants: a good release passes ring by ring; one that fails on the fourth tenant's data stops there, and is resumed once that
// is mended. Nobody's request fails, and no order is lost.
func TestTenants(t *testing.T) {
	e := open(t)
	e.hire()

	good := e.promote("r2", 0)
	require.Equal(t, "promoted", good.Outcome, story(good))
	e.inOrder(good)
	e.serve("r2", "r2", "r2", "r2", "r2", "r2")

	e.reference(troubled, client.OddReference)
	bad := e.promote("r3", 3) // it waits for a person
	require.Equal(t, "waiting", bad.Outcome, story(bad))
	e.serve("r3", "r3", "r3", "r2", "r2", "r2")
	require.Equal(t, "rolled_back", rollout(bad, troubled).Outcome)
	require.Contains(t, rollout(bad, troubled).Reason, "acme_label")
	require.Equal(t, "stopped", string(bad.Rings[1].State))
	require.Contains(t, bad.Rings[2].Why, "ring shops has stopped")

	e.reference(troubled, "DOCK1")
	e.ask(0, "promotion", "resume", bad.ID)
	again, err := e.Promotion(t.Context(), bad.ID)
	require.NoError(t, err)
	require.Equal(t, "promoted", again.Outcome, story(again))
	e.inOrder(again)
	e.serve("r3", "r3", "r3", "r3", "r3", "r3")

	e.impact()
	e.besides()
	e.isolation()
	e.top()
	e.moves()
	e.goHome()
}

// live is a production with acme alone.
func live(t *testing.T, releases ...string) *estate {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	options, err := stage.Here(ctx, "tenants")
	require.NoError(t, err)
	options.Log, options.Releases, options.Workers = t.Logf, releases, 2
	opened, err := stage.Open(ctx, options)
	require.NoError(t, err)
	e := &estate{Stage: opened, t: t}
	t.Cleanup(func() {
		assert.NoError(t, e.Close(context.Background()))
		_ = os.Remove(options.Binary)
	})
	return e
}

// open makes the six.
func open(t *testing.T) *estate {
	e := live(t, "r1", "r2", "r3")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	e.query("acme", "select id from sale_order where client_order_ref = $1", []any{client.OddReference}, &e.odd)
	e.reference("acme", "DOCK1")
	var err error
	e.first, err = e.Checkpoint(ctx)
	require.NoError(t, err)
	var others strings.Builder
	for _, n := range tenants[1:] {
		fmt.Fprintf(&others, "kind: Tenant\nname: %s\nenvironment: production\nhosts: [%s.example]\n", n.name, n.name)
		if !strings.Contains(n.more, "modules:") {
			fmt.Fprintln(&others, "modules: [acme_base, acme_dock, acme_label]")
		}
		fmt.Fprintf(&others, "%s\n---\n", n.more)
	}
	require.NoError(t, os.WriteFile(filepath.Join(e.Folder, "estate", "tenants.yaml"), []byte(strings.TrimSuffix(others.String(), "---\n")), 0o644))
	e.TenantMore = tenants[0].more + "\n"
	require.NoError(t, e.Declare(ctx, rings))
	var names []string
	for _, n := range tenants[1:] {
		require.NoError(t, e.Ask(ctx, nil, "tenant", "create", "production/"+n.name, "--release", "r1", "--from", stage.Tenant+"/"+e.first), e.LogTail())
		names = append(names, n.name)
	}
	e.ask(0, "promote", "r1", stage.Environment, "--tenant", strings.Join(names, ","))
	e.serve("r1", "r1", "r1", "r1", "r1", "r1")
	return e
}

// ask runs a verb that ends with an exit code.
func (e *estate) ask(code int, args ...string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Minute)
	defer cancel()
	err := e.Ask(ctx, nil, args...)
	var refused *waybill.Refused
	if code > 0 && errors.As(err, &refused) {
		require.Equal(e.t, code, refused.Code, refused.Error())
		return
	}
	require.NoError(e.t, err, e.LogTail())
	require.Zero(e.t, code)
}

func (e *estate) promote(release string, code int) api.Promotion {
	e.t.Helper()
	e.ask(code, "promote", release, stage.Environment)
	p, err := e.Newest(e.t.Context())
	require.NoError(e.t, err)
	return p
}

func rollout(p api.Promotion, tenant string) api.Rollout {
	for _, r := range p.Rollouts {
		if r.Tenant == tenant {
			return r
		}
	}
	return api.Rollout{}
}

func story(p api.Promotion) string {
	var b strings.Builder
	for _, r := range p.Rollouts {
		fmt.Fprintf(&b, "%s (%s): %s %s\n", r.Tenant, r.Ring, r.Outcome, r.Reason)
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "  %s %s undo %t %s %s\n", s.Started.Format("15:04:05"), s.Name, s.Undo, s.Outcome, s.Detail)
		}
	}
	return b.String()
}

// begun is when a tenant's pool was asked for, the last time: after its gates and its turn.
func begun(t *testing.T, p api.Promotion, tenant string) (begun, ended time.Time) {
	t.Helper()
	for _, s := range rollout(p, tenant).Steps {
		if s.Name == "start pool" && !s.Undo {
			begun = s.Started
		}
		if s.Finished != nil {
			ended = *s.Finished
		}
	}
	require.False(t, begun.IsZero(), tenant)
	return begun, ended
}

// inOrder looks whether no tenant began before those of the rings before it had ended, and the shops went one after the other.
func (e *estate) inOrder(p api.Promotion) {
	e.t.Helper()
	after := func(second string, first ...string) {
		for _, name := range first {
			_, ended := begun(e.t, p, name)
			began, _ := begun(e.t, p, second)
			require.False(e.t, began.Before(ended), "%s began at %s, and %s ended at %s\n%s", second, began, name, ended, story(p))
		}
	}
	after("bolt", "acme")
	after("cord", "bolt")
	after("dune", "cord")
	after("echo", "dune")
	after("fern", "dune")
}

// serve looks whether the tenants, in order, are served by these releases.
func (e *estate) serve(releases ...string) {
	e.t.Helper()
	var said api.Status
	require.NoError(e.t, e.Ask(e.t.Context(), &said, "status"))
	found := map[string]string{}
	for _, s := range said.Environments[0].Tenants {
		found[s.Name] = s.Serving
		require.Equal(e.t, "open", s.Mode, s.Name)
	}
	for i, n := range tenants {
		require.Equal(e.t, releases[i], found[n.name], "%s: %v", n.name, found)
	}
}

// reference changes what a customer wrote on the order that only some releases can take; all tenants have it.
func (e *estate) reference(name, to string) {
	e.t.Helper()
	var id int
	e.query(name, "update sale_order set client_order_ref = $2 where id = $1 returning id", []any{e.odd, to}, &id)
}

// query reads one value from a tenant's database.
func (e *estate) query(name, sql string, args []any, to any) {
	e.t.Helper()
	url, err := e.DatabaseURL(stage.TenantsServer, name+"_production")
	require.NoError(e.t, err)
	db, err := pgx.Connect(e.t.Context(), url)
	require.NoError(e.t, err)
	defer db.Close(context.WithoutCancel(e.t.Context()))
	require.NoError(e.t, db.QueryRow(e.t.Context(), sql, args...).Scan(to), name)
}

// hire lets one person work at each tenant.
func (e *estate) hire() {
	e.t.Helper()
	for _, n := range tenants {
		var err error
		n.ledger, err = client.OpenLedger(filepath.Join(e.t.TempDir(), n.name+".jsonl"))
		require.NoError(e.t, err)
		site := client.Site{Address: e.Site.Address, Host: n.name + ".example", Database: n.database(), Patience: 3 * time.Minute}
		if n.name == "acme" {
			site = e.Site
		}
		n.crew = &client.Crew{Site: site, Login: stage.Clerk, Password: e.Initial.Clerk, People: 1, Pace: 3 * time.Second, Goods: e.Initial.Goods,
			Ledger: n.ledger, Tally: client.NewTally(), Prefix: "RING-" + n.name}
		require.NoError(e.t, n.crew.Start(e.t.Context()), n.name)
		e.t.Cleanup(func() { _ = n.crew.Stop() })
	}
}

// goHome compares what everybody was told with what is there.
func (e *estate) goHome() {
	e.t.Helper()
	for _, n := range tenants {
		require.NoError(e.t, n.crew.Stop())
		count := n.crew.Tally.Since(0)
		url, err := e.DatabaseURL(stage.TenantsServer, n.database())
		require.NoError(e.t, err)
		found, err := n.ledger.Audit(e.t.Context(), url)
		require.NoError(e.t, err)
		begun, shipped := n.crew.Orders()
		e.t.Logf("%s: %d orders placed, %d shipped, %d looked for, %d lost; %d requests, %d failed", n.name, begun, shipped, found.Checked, found.Missing(), count.Requests, count.Failed)
		assert.NoError(e.t, found.Err(), n.name)
		assert.Zero(e.t, count.Failed, "%s: %v", n.name, count.Failures)
		assert.Positive(e.t, shipped, n.name)
		require.NoError(e.t, n.ledger.Close())
	}
}
