//go:build kube && odoo

package kube

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/cluster"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
)

// TestChartPromotes has the chart's two servers promote a release of Acme's while people ship. One server after the other is killed
// meanwhile; whichever is left goes on. Then the database goes back to a checkpoint. The servers' PostgreSQL programs are those of
// their image, newer than the server that holds the tenants.
func TestChartPromotes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	i := prepare(ctx, t, func(c *cluster.Cluster) map[string]string { return acmeAlone(t, c) })
	i.install(ctx)

	source := filepath.Join(i.work, "source")
	_, err := acme.WriteSource(ctx, source)
	require.NoError(t, err)
	i.waybill(ctx, nil, "base", "import", "--name", "odoo:19.0", given(t, "WAYBILL_BASE"), "--registry", i.beside.Registry)
	estate := filepath.Join(i.work, "estate") // as whoever builds has it; the servers have theirs from a ConfigMap
	require.NoError(t, os.Mkdir(estate, 0o700))
	for name, content := range i.estate {
		require.NoError(t, os.WriteFile(filepath.Join(estate, name), []byte(content), 0o600))
	}
	for _, release := range []string{"r1", "r2"} {
		i.there(ctx, nil, "build", "--estate", estate, "--source", source, "--name", release, "--commit", release, "--registry", i.beside.Registry)
	}
	i.there(ctx, nil, "tenant", "create", stage.Tenant, "--release", "r1")
	i.there(ctx, nil, "promote", "r1", stage.Environment)

	site := client.Site{Address: i.beside.Traefik, Host: stage.Host, Database: stage.Database, Patience: 3 * time.Minute}
	seed := client.Seed{ClerkPassword: "a password of the test"}
	goods, err := seed.Fill(ctx, site)
	require.NoError(t, err)
	ledger, err := client.OpenLedger(filepath.Join(i.work, "orders.jsonl"))
	require.NoError(t, err)
	people := &client.Crew{Site: site, Login: stage.Clerk, Password: seed.ClerkPassword, People: 8, Pace: 4 * time.Second, Goods: goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "CHART"}
	require.NoError(t, people.Start(ctx))
	t.Cleanup(func() { _ = people.Stop() })

	i.promotesThoughKilled(ctx)
	_, before := people.Orders()
	require.NoError(t, stage.Poll(ctx, 200*time.Millisecond, "people to ship again", func() (bool, error) {
		_, shipped := people.Orders()
		return shipped >= before+8, nil
	}))
	require.NoError(t, people.Stop())
	found, err := ledger.Audit(ctx, i.beside.DatabaseURL(stage.Database))
	require.NoError(t, err)
	require.NoError(t, found.Err())
	require.NoError(t, ledger.Close())
	count := people.Tally.Since(0)
	t.Logf("%d orders looked for, %d lost; %d of %d requests failed", found.Checked, found.Missing(), count.Failed, count.Requests)
	require.Zero(t, count.Failed)

	i.goesBack(ctx)
	i.helm(ctx, "uninstall", "waybill", "--namespace", i.namespace, "--wait", "--timeout", "3m")
	i.clear(ctx)
}

// acmeAlone are the files of Acme's estate with production alone: nobody has to be asked first.
func acmeAlone(t *testing.T, c *cluster.Cluster) map[string]string {
	t.Helper()
	estate := t.TempDir()
	ports := c.Ports()
	require.NoError(t, acme.WriteEstate(estate, ports[0], ports[1]))
	require.NoError(t, acme.Servers(estate, c.Servers()))
	files := map[string]string{}
	for _, name := range []string{"product.yaml", "production.yaml", acme.Classifications} {
		content, err := os.ReadFile(filepath.Join(estate, name))
		require.NoError(t, err)
		files[name] = string(content)
	}
	product := strings.Replace(files["product.yaml"], "environments: [test, production]", "environments: [production]", 1)
	require.NotEqual(t, files["product.yaml"], product)
	files["product.yaml"] = product
	return files
}

// there runs a verb on whichever of the servers answers.
func (i *installation) there(ctx context.Context, result any, args ...string) {
	i.t.Helper()
	i.waybill(ctx, result, append(args, "--server", "http://"+i.service(ctx))...)
}

// promotesThoughKilled promotes r2, and kills one of the servers when the update has begun and the other when the flows have.
func (i *installation) promotesThoughKilled(ctx context.Context) {
	i.t.Helper()
	var asked struct {
		Promotion string `json:"promotion"`
	}
	i.there(ctx, &asked, "promote", "r2", stage.Environment, "--detach")
	began := time.Now()
	until := func(what string, reached func(api.Promotion) bool) (p api.Promotion) {
		require.NoError(i.t, stage.Poll(ctx, 100*time.Millisecond, what, func() (bool, error) {
			var now api.Promotion
			code, err := request(ctx, i.service(ctx), "GET", "/api/v1/promotions/"+asked.Promotion, i.token, nil, &now)
			if err != nil || code != http.StatusOK {
				return false, nil // a server that has just been killed
			}
			p = now
			return p.Outcome != "" || reached(p), nil
		}))
		return p
	}
	killed := []string{}
	for _, step := range []string{"update", "verify"} {
		p := until("step "+step, func(p api.Promotion) bool {
			return slices.ContainsFunc(p.Rollouts[0].Steps, func(s api.Step) bool { return s.Name == step && !s.Undo })
		})
		require.Empty(i.t, p.Outcome, "%s before %s", p.Outcome, step)
		for name := range i.servers(ctx) {
			if !slices.Contains(killed, name) {
				at := int64(0)
				require.NoError(i.t, i.cluster.CoreV1().Pods(i.namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &at}))
				killed = append(killed, name)
				i.t.Logf("%3.0f s: at %s, %s is killed", time.Since(began).Seconds(), step, name)
				break
			}
		}
	}
	p := until("the end of the promotion", func(api.Promotion) bool { return false })
	i.t.Logf("%3.0f s: %s %s", time.Since(began).Seconds(), p.Outcome, p.Rollouts[0].Reason)
	for _, s := range p.Rollouts[0].Steps {
		i.t.Logf("  %-20s undo %-5t %-8s %s", s.Name, s.Undo, s.Outcome, s.Detail)
	}
	require.Len(i.t, killed, 2)
	require.Equal(i.t, "promoted", p.Outcome)
}

// goesBack takes a checkpoint, loses an order, and goes back.
func (i *installation) goesBack(ctx context.Context) {
	i.t.Helper()
	orders := func() (n int) {
		c, err := pgx.Connect(ctx, i.beside.DatabaseURL(stage.Database))
		require.NoError(i.t, err)
		defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
		require.NoError(i.t, c.QueryRow(ctx, "SELECT count(*) FROM sale_order").Scan(&n))
		return n
	}
	before := orders()
	i.there(ctx, nil, "checkpoint", "create", stage.Tenant)
	var list []struct {
		ID string `json:"id"`
	}
	i.there(ctx, &list, "checkpoint", "list", stage.Tenant)
	require.NotEmpty(i.t, list)
	c, err := pgx.Connect(ctx, i.beside.DatabaseURL(stage.Database))
	require.NoError(i.t, err)
	_, err = c.Exec(ctx, "DELETE FROM sale_order WHERE id IN (SELECT id FROM sale_order ORDER BY id DESC LIMIT 1)")
	require.NoError(i.t, err)
	require.NoError(i.t, c.Close(ctx))
	require.Equal(i.t, before-1, orders())
	i.there(ctx, nil, "restore", stage.Tenant, list[0].ID)
	require.Equal(i.t, before, orders(), "what was lost is back")
	require.Equal(i.t, 200, i.ask(ctx, i.service(ctx), "GET", "/api/v1/status", i.token, nil, nil))
}
