//go:build kube && odoo

// Package kube works with a real Odoo on a real Kubernetes: parts of the cluster are taken away during promotions, which takes that of
// hack/cluster.sh, whose parts are processes of this machine; releases are rehearsed there.
package kube

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/cluster"
	"github.com/waybill-dev/waybill/examples/acme/initial"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
)

// fault is something that is taken away once a step of a promotion has begun.
type fault struct {
	step string
	what string
	do   func(ctx context.Context)
}

// TestChaos promotes twice while parts fail one after the other. Requests fail meanwhile; no acknowledged order may be lost, the
// promotions end, and afterwards people work as before.
func TestChaos(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	a := open(ctx, t, "waybill-chaos", "r1", "r2", "r3")
	people := a.hire(ctx)

	first := a.promote(ctx, "r2", []fault{
		{"update", "the server is killed", a.killServer},
		{"verify", "the API server is killed", func(ctx context.Context) { a.restart(ctx, "kube-apiserver") }},
		{"shift", "a pod of each pool is killed", a.killPods},
		{"shift", "Redis is flushed", a.flushRedis},
		{"shift", "Traefik is killed", a.killTraefik},
	})
	a.agrees(ctx, people, first)
	second := a.promote(ctx, "r3", []fault{
		{"start pool", "the kubelet is away for a minute", func(ctx context.Context) { a.away(ctx, "kubelet", time.Minute) }},
	})
	a.agrees(ctx, people, second)

	require.NoError(t, people.Stop())
	found, err := people.Ledger.Audit(ctx, a.cluster.DatabaseURL(a.site.Database))
	require.NoError(t, err)
	require.NoError(t, found.Err())
	require.NoError(t, people.Ledger.Close())
	count := people.Tally.Since(0)
	begun, shipped := people.Orders()
	t.Logf("%s and %s; %d orders begun, %d shipped, %d acknowledged and looked for, %d lost; %d of %d requests failed, %d of them logged out",
		first.Outcome, second.Outcome, begun, shipped, found.Checked, found.Missing(), count.Failed, count.Requests, count.LoggedOut)
	require.NotZero(t, count.Failed, "what was taken away was missed by nobody: the test proves nothing")
}

// acmeOnKube is Acme's production on the cluster.
type acmeOnKube struct {
	t       *testing.T
	cluster *cluster.Cluster
	objects dynamic.Interface
	cli     waybill.CLI
	up      waybill.Up
	server  *waybill.Server
	site    client.Site
	initial initial.Database
}

// open brings up Acme's production on the first of the releases; the others are built. The estate is a folder.
func open(ctx context.Context, t *testing.T, prefix string, releases ...string) *acmeOnKube {
	t.Helper()
	return openOn(ctx, t, prefix, func(string) {}, releases...)
}

// openOn is open, where kept says how the committed estate is kept from then on.
func openOn(ctx context.Context, t *testing.T, prefix string, kept func(folder string), releases ...string) *acmeOnKube {
	t.Helper()
	options, err := stage.Here(ctx, "kube")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(options.Folder, 0o755))
	a := &acmeOnKube{t: t, cli: waybill.CLI{Binary: options.Binary, Data: filepath.Join(options.Folder, "data")}}
	estate, source := filepath.Join(options.Folder, "estate"), filepath.Join(options.Folder, "source")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(waybill.Tail(a.up.Log))
		}
		assert.NoError(t, os.RemoveAll(options.Folder))
		assert.NoError(t, os.Remove(options.Binary))
	})
	require.NoError(t, os.MkdirAll(a.cli.Data, 0o755))
	a.cluster, err = cluster.Open(ctx, prefix, options.Folder)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", a.cluster.Kubeconfig)
	require.NoError(t, err)
	a.objects, err = dynamic.NewForConfig(config)
	require.NoError(t, err)
	a.site = client.Site{Address: a.cluster.Traefik, Host: stage.Host, Database: stage.Database, Patience: 3 * time.Minute}

	_, err = acme.WriteSource(ctx, source)
	require.NoError(t, err)
	ports := a.cluster.Ports()
	require.NoError(t, acme.WriteEstate(estate, ports[0], ports[1]))
	require.NoError(t, acme.Servers(estate, a.cluster.Servers()))
	// Production alone: nobody has to be asked first.
	require.NoError(t, os.Remove(filepath.Join(estate, "test.yaml")))
	product, err := os.ReadFile(filepath.Join(estate, "product.yaml"))
	require.NoError(t, err)
	alone := strings.Replace(string(product), "environments: [test, production]", "environments: [production]", 1)
	require.NotEqual(t, string(product), alone)
	require.NoError(t, os.WriteFile(filepath.Join(estate, "product.yaml"), []byte(alone), 0o644))
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=Acme IT", "-c", "user.email=it@acme.example", "commit", "-q", "--no-gpg-sign", "-m", "Acme's estate"}} {
		git := exec.CommandContext(ctx, "git", args...)
		git.Dir = estate
		out, err := git.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	kept(estate)
	// The demo's: without the order that r3 fails on.
	cached := initial.Cache{Folder: filepath.Join(filepath.Dir(options.Cache), "demo-initial"), Kind: "test", Base: options.Base}
	a.initial, err = cached.Take(a.cli.Data)
	require.NoError(t, err)
	flags, err := a.cluster.Serve(a.cli.Data)
	require.NoError(t, err)
	a.up = waybill.Up{Estate: estate, Listen: "127.0.0.1:17481", Log: filepath.Join(options.Folder, "waybill.log"), Serve: flags, WithParent: true}
	a.server, err = a.cli.Up(ctx, a.up)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, a.server.Stop())
		ending, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		assert.NoError(t, a.cluster.Clear(ending, func(ctx context.Context, args ...string) error { return a.cli.Ask(ctx, nil, args...) }))
	})

	a.ask(ctx, nil, "base", "import", "--name", "odoo:19.0", options.Base, "--registry", a.cluster.Registry)
	for _, release := range releases {
		a.ask(ctx, nil, "build", "--source", source, "--name", release, "--commit", release, "--registry", a.cluster.Registry)
	}
	create := []string{"tenant", "create", stage.Tenant, "--release", releases[0]}
	if a.initial.Checkpoint != "" {
		create = append(create, "--from", a.initial.Checkpoint)
	}
	a.ask(ctx, nil, create...)
	a.ask(ctx, nil, "promote", releases[0], stage.Environment)
	if a.initial.Checkpoint == "" {
		a.initial.Goods, err = client.Seed{ClerkPassword: a.initial.Clerk}.Fill(ctx, a.site)
		require.NoError(t, err)
	}
	return a
}

func (a *acmeOnKube) ask(ctx context.Context, into any, args ...string) {
	a.t.Helper()
	require.NoError(a.t, a.cli.Ask(ctx, into, args...), "%s", waybill.Tail(a.up.Log))
}

func (a *acmeOnKube) hire(ctx context.Context) *client.Crew {
	a.t.Helper()
	ledger, err := client.OpenLedger(filepath.Join(a.t.TempDir(), "orders.jsonl"))
	require.NoError(a.t, err)
	crew := &client.Crew{Site: a.site, Login: stage.Clerk, Password: a.initial.Clerk, People: 8, Pace: 4 * time.Second, Goods: a.initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "CHAOS"}
	require.NoError(a.t, crew.Start(a.t.Context()))
	a.t.Cleanup(func() { _ = crew.Stop() })
	return crew
}

// promote asks for a release and takes away what the faults say, one after the other, each once its step has begun.
func (a *acmeOnKube) promote(ctx context.Context, release string, faults []fault) api.Promotion {
	a.t.Helper()
	began := time.Now()
	var asked struct {
		Promotion string `json:"promotion"`
	}
	a.ask(ctx, &asked, "promote", release, stage.Environment, "--detach")
	say := func(format string, args ...any) {
		a.t.Logf("%s, %3.0f s: "+format, append([]any{release, time.Since(began).Seconds()}, args...)...)
	}
	for _, f := range faults {
		var p api.Promotion
		require.NoError(a.t, stage.Poll(ctx, 100*time.Millisecond, "step "+f.step, func() (bool, error) {
			p = a.look(ctx, asked.Promotion)
			return p.Outcome != "" || slices.ContainsFunc(p.Rollouts[0].Steps, func(s api.Step) bool { return s.Name == f.step && !s.Undo }), nil
		}))
		require.Empty(a.t, p.Outcome, "%s before %s: %s", p.Outcome, f.what, p.Rollouts[0].Reason)
		say("at %s: %s", f.step, f.what)
		f.do(ctx)
		say("over")
	}
	var p api.Promotion
	require.NoError(a.t, stage.Poll(ctx, 500*time.Millisecond, "the end of the promotion", func() (bool, error) {
		p = a.look(ctx, asked.Promotion)
		return p.Outcome != "", nil
	}))
	say("%s %s", p.Outcome, p.Rollouts[0].Reason)
	for _, s := range p.Rollouts[0].Steps {
		say("  %-20s undo %-5t %-8s %s", s.Name, s.Undo, s.Outcome, s.Detail)
	}
	return p
}

// look reads a promotion from a server that may be away for a moment.
func (a *acmeOnKube) look(ctx context.Context, id string) (p api.Promotion) {
	a.t.Helper()
	require.NoError(a.t, stage.Poll(ctx, 200*time.Millisecond, "the server's answer", func() (bool, error) {
		err := a.cli.Ask(ctx, &p, "promotion", "show", id)
		var refused *waybill.Refused
		if errors.As(err, &refused) && strings.Contains(refused.Error(), "does not answer") {
			return false, nil
		}
		return err == nil, err
	}))
	return p
}

// agrees looks at what a promotion has left: the route leads to the release that its end means, one pool serves, and people ship.
func (a *acmeOnKube) agrees(ctx context.Context, people *client.Crew, p api.Promotion) {
	a.t.Helper()
	var status api.Status
	a.ask(ctx, &status, "status")
	for _, e := range status.Environments {
		if e.Name != stage.Environment {
			continue
		}
		tenant := e.Tenants[0]
		assert.Equal(a.t, "open", tenant.Mode)
		assert.Zero(a.t, tenant.CanaryPercent)
		if p.Outcome == "promoted" {
			assert.Equal(a.t, p.ReleaseName, tenant.Serving)
		} else {
			assert.Equal(a.t, "rolled_back", p.Outcome)
			assert.NotEqual(a.t, p.ReleaseName, tenant.Serving)
		}
	}
	_, before := people.Orders()
	require.NoError(a.t, stage.Poll(ctx, 200*time.Millisecond, "people to ship again", func() (bool, error) {
		_, shipped := people.Orders()
		return shipped >= before+8, nil
	}))
	assert.Len(a.t, a.pools(ctx), 1, "pools that are left")
}

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	pods        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

const poolLabel, roleLabel = "waybill.dev/pool", "waybill.dev/role"

func (a *acmeOnKube) namespace() string { return a.cluster.Prefix + "-" + stage.Environment }

func (a *acmeOnKube) pools(ctx context.Context) []string {
	a.t.Helper()
	all, err := a.objects.Resource(deployments).Namespace(a.namespace()).List(ctx, metav1.ListOptions{LabelSelector: poolLabel})
	require.NoError(a.t, err)
	var names []string
	for _, d := range all.Items {
		names = append(names, d.GetLabels()[poolLabel])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// killServer ends Waybill as kill -9 does, and starts it again.
func (a *acmeOnKube) killServer(ctx context.Context) {
	a.server.Kill()
	server, err := a.cli.Up(ctx, a.up)
	require.NoError(a.t, err)
	a.server = server
}

// killPods removes the web pod of each pool at once, without grace.
func (a *acmeOnKube) killPods(ctx context.Context) {
	require.Len(a.t, a.pools(ctx), 2, "the old pool and the new one")
	a.kill(ctx, a.namespace(), poolLabel+","+roleLabel+"=web", 2)
}

func (a *acmeOnKube) killTraefik(ctx context.Context) { a.kill(ctx, "traefik", "app=traefik", 1) }

func (a *acmeOnKube) kill(ctx context.Context, namespace, selector string, count int) {
	all, err := a.objects.Resource(pods).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	require.NoError(a.t, err)
	require.Len(a.t, all.Items, count)
	at := int64(0)
	for _, p := range all.Items {
		require.NoError(a.t, a.objects.Resource(pods).Namespace(namespace).Delete(ctx, p.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &at}))
	}
}

func (a *acmeOnKube) flushRedis(ctx context.Context) {
	options, err := redis.ParseURL(a.cluster.Redis.String())
	require.NoError(a.t, err)
	c := redis.NewClient(options)
	defer c.Close()
	require.NoError(a.t, c.FlushAll(ctx).Err())
}

// restart kills a part of the cluster and starts it again.
func (a *acmeOnKube) restart(ctx context.Context, part string) { a.away(ctx, part, 0) }

// away kills a part of the cluster, and starts it after so long.
func (a *acmeOnKube) away(ctx context.Context, part string, long time.Duration) {
	a.script(ctx, "kill", part)
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
	a.script(ctx, "start", part)
}

func (a *acmeOnKube) script(ctx context.Context, args ...string) {
	out, err := exec.CommandContext(ctx, "../../hack/cluster.sh", args...).CombinedOutput()
	require.NoError(a.t, err, "%s", out)
}
