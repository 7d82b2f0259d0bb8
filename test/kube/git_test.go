//go:build kube && odoo

package kube

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
)

// TestWhatRunsIsInGit keeps Acme's estate in a repository with rendered: true. Each promotion ends in one commit of what it has come
// to in the cluster, nothing is written while it is under way, what is written down is what runs, and no Secret's value is there.
func TestWhatRunsIsInGit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	r := repository{t: t, folder: filepath.Join(t.TempDir(), "estate.git")}
	a := openOn(ctx, t, "waybill-git", func(folder string) {
		r.git(ctx, "clone", "-q", "--bare", folder, r.folder)
		// poll: 0s: the server alone pushes here, and wakes by itself.
		document := "kind: Repository\nremote: " + r.folder + "\npoll: 0s\nrendered: true\n"
		require.NoError(t, os.WriteFile(filepath.Join(folder, "repository.yaml"), []byte(document), 0o644))
	}, "r1", "r2", "r4")
	first := r.await(ctx, "the first release")
	a.runs(ctx, &r)
	people := a.hire(ctx)

	var asked struct {
		Promotion string `json:"promotion"`
	}
	a.ask(ctx, &asked, "promote", "r2", stage.Environment, "--detach")
	var p api.Promotion
	saw := map[string]bool{}
	require.NoError(t, stage.Poll(ctx, 100*time.Millisecond, "the end of the promotion", func() (bool, error) {
		written := r.written(ctx) // before the promotion is looked at: it may end in between, and not begin
		p = a.look(ctx, asked.Promotion)
		if p.Outcome == "" {
			saw[written] = true
		}
		return p.Outcome != "", nil
	}))
	require.Equal(t, "promoted", p.Outcome, p.Rollouts[0].Reason)
	assert.Equal(t, map[string]bool{first: true}, saw, "nothing is written down while the promotion is under way")
	second := r.await(ctx, "the second release")
	a.runs(ctx, &r)
	assert.Equal(t, "r2", a.serves(ctx))

	// What goes back is written down first as what is wanted, and then as what runs: no pool of it.
	a.ask(ctx, &asked, "promote", "r4", stage.Environment, "--detach")
	require.NoError(t, stage.Poll(ctx, 200*time.Millisecond, "the end of the promotion", func() (bool, error) {
		p = a.look(ctx, asked.Promotion)
		return p.Outcome != "", nil
	}))
	require.Equal(t, "rolled_back", p.Outcome, "r4 cannot ship where deliveries are packed")
	require.NoError(t, stage.Poll(ctx, 200*time.Millisecond, "the commit of what went back", func() (bool, error) {
		return strings.Contains(r.git(ctx, "show", "main:targets/production.yaml"), "r2"), nil
	}))
	r.await(ctx, "what went back")
	a.runs(ctx, &r)
	t.Logf("what is written down:\n%s\nby the commits:\n%s\nthe second, against the first:\n%s", r.git(ctx, "ls-tree", "-r", "--name-only", "main", estate.RenderedFolder),
		r.git(ctx, "log", "--reverse", "--format=%h %an: %s", "main"), r.git(ctx, "diff", "--stat", first, second, "--", estate.RenderedFolder))
	commits := strings.Fields(r.git(ctx, "log", "--format=%H", second, "^"+first, "--", r.production()))
	assert.Equal(t, []string{second}, commits, "one commit says what the promotion came to")

	require.NoError(t, people.Stop())
	found, err := people.Ledger.Audit(ctx, a.cluster.DatabaseURL(a.site.Database))
	require.NoError(t, err)
	require.NoError(t, found.Err())
	require.NoError(t, people.Ledger.Close())
	count := people.Tally.Since(0)
	t.Logf("%d orders looked for, %d lost; %d of %d requests failed", found.Checked, found.Missing(), count.Failed, count.Requests)
	require.Zero(t, count.Failed)
}

// serves is the release that Acme's production serves.
func (a *acmeOnKube) serves(ctx context.Context) string {
	a.t.Helper()
	var status api.Status
	a.ask(ctx, &status, "status")
	i := slices.IndexFunc(status.Environments, func(e api.Environment) bool { return e.Name == stage.Environment })
	require.GreaterOrEqual(a.t, i, 0)
	return status.Environments[i].Tenants[0].Serving
}

// runs compares what is written down with the cluster: each manifest is of an object that is there and would change nothing of it, every
// Deployment and Service of the environment is written down, and no Secret's value is.
func (a *acmeOnKube) runs(ctx context.Context, r *repository) {
	a.t.Helper()
	files := r.files(ctx)
	require.NotEmpty(a.t, files)
	known := map[string]bool{}
	for name, content := range files {
		require.True(a.t, strings.HasPrefix(content, estate.RenderedMark), "%s begins otherwise:\n%.200s", name, content)
		var object unstructured.Unstructured
		require.NoError(a.t, yaml.Unmarshal([]byte(content), &object.Object), name)
		kind, namespace := object.GetKind(), object.GetNamespace()
		known[kind+" "+namespace+"/"+object.GetName()] = true
		resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		of := a.objects.Resource(resource).Namespace(namespace)
		live, err := of.Get(ctx, object.GetName(), metav1.GetOptions{})
		require.NoError(a.t, err, "%s is written down", name)
		if kind == "Secret" { // its values are missing on purpose
			assert.NotContains(a.t, object.Object, "data", name)
			continue
		}
		// Said by the manager that owns it all: what is left out would be removed, and what differs would change.
		after, err := of.Apply(ctx, object.GetName(), &object, metav1.ApplyOptions{FieldManager: "waybill", DryRun: []string{metav1.DryRunAll}})
		require.NoError(a.t, err, name)
		assert.Equal(a.t, plain(live), plain(after), "%s would change what runs", name)
	}
	for _, resource := range []schema.GroupVersionResource{deployments, {Version: "v1", Resource: "services"}} {
		all, err := a.objects.Resource(resource).Namespace(a.namespace()).List(ctx, metav1.ListOptions{})
		require.NoError(a.t, err)
		require.NotEmpty(a.t, all.Items)
		for _, o := range all.Items {
			assert.Contains(a.t, known, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
		}
	}
	secrets, err := a.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(a.namespace()).List(ctx, metav1.ListOptions{})
	require.NoError(a.t, err)
	require.NotEmpty(a.t, secrets.Items)
	for _, s := range secrets.Items {
		values, _, err := unstructured.NestedStringMap(s.Object, "data")
		require.NoError(a.t, err)
		for key, encoded := range values {
			value, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(a.t, err)
			for name, content := range files {
				if len(value) > 0 && (strings.Contains(content, string(value)) || strings.Contains(content, encoded)) {
					a.t.Errorf("%s holds the value of Secret %s's %s", name, s.GetName(), key)
				}
			}
		}
	}
}

// plain is an object without what the server notes of it by itself.
func plain(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(o.Object, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(o.Object, "status")
	return o.Object
}

// repository is the estate's, as a forge keeps it.
type repository struct {
	t      *testing.T
	folder string
}

func (r *repository) git(ctx context.Context, args ...string) string {
	r.t.Helper()
	if args[0] != "clone" {
		args = append([]string{"-C", r.folder}, args...)
	}
	out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput()
	require.NoError(r.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func (r *repository) production() string { return estate.RenderedFolder + "/" + stage.Environment }

// written is the commit in which what runs in production was written down last; empty: never.
func (r *repository) written(ctx context.Context) string {
	r.t.Helper()
	return r.git(ctx, "log", "-1", "--format=%H", "main", "--", r.production())
}

// await waits until there is such a commit after the one that asked for the newest release.
func (r *repository) await(ctx context.Context, what string) (now string) {
	r.t.Helper()
	began := time.Now()
	require.NoError(r.t, stage.Poll(ctx, 100*time.Millisecond, "the commit of what runs after "+what, func() (bool, error) {
		asked := r.git(ctx, "log", "-1", "--format=%H", "main", "--", "targets")
		now = r.git(ctx, "log", "-1", "--format=%H", asked+"..main", "--", r.production())
		return now != "", nil
	}))
	r.t.Logf("written down %.1f s after %s", time.Since(began).Seconds(), what)
	return now
}

// files are what is written down, by their paths.
func (r *repository) files(ctx context.Context) map[string]string {
	r.t.Helper()
	files := map[string]string{}
	for name := range strings.Lines(r.git(ctx, "ls-tree", "-r", "--name-only", "main", estate.RenderedFolder)) {
		name = strings.TrimSpace(name)
		files[name] = r.git(ctx, "show", "main:"+name)
	}
	return files
}
