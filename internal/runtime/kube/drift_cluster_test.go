//go:build kube

package kube

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// asked notes the requests to the API server, but for the lists and watches of whole kinds.
type asked struct {
	mu  sync.Mutex
	all []string
}

func (a *asked) wrap(next http.RoundTripper) http.RoundTripper {
	return tripper(func(req *http.Request) (*http.Response, error) {
		if q := req.URL.Query(); q.Get("watch") == "" && q.Get("labelSelector") == "" {
			a.mu.Lock()
			a.all = append(a.all, req.Method+" "+req.URL.Path)
			a.mu.Unlock()
		}
		return next.RoundTrip(req)
	})
}

func (a *asked) since(n int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.all[n:]...)
}

type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// foundIn is how soon a change must be told.
const foundIn = 5 * time.Second

// TestDrift makes changes by hand, of each kind of object, and sees each told in time, with the field and who owns it; what nobody
// changed costs no question; and what was declared comes back where it is asked for.
func TestDrift(t *testing.T) {
	image := pushStandIn(t)
	people, err := dynamic.NewForConfig(cluster(t))
	require.NoError(t, err)
	_, err = people.Resource(resourceOf(kindIngressRoute)).List(t.Context(), metav1.ListOptions{Limit: 1})
	routed := !apierrors.IsNotFound(err)
	requests := &asked{}
	r, _ := setup(t, image, func(o *Options) {
		o.Keeper = &memory{}
		o.Config.Wrap(requests.wrap)
		if routed {
			o.Traefik.Namespace = "traefik"
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "production"))
	})
	require.NoError(t, r.EnsureEnvironment(ctx, runtime.Environment{Name: "production", HTTP: freeNodePort(t)}))
	_, err = r.EnsurePool(ctx, runtime.Pool{Environment: "production", Name: "p1", Group: sharedGroup, Image: image, Workers: 2,
		Files: runtime.Files{"odoo.conf": []byte("[options]\n"), "pool.json": []byte(`{"generation": 1}`)}})
	require.NoError(t, err)
	m := r.render("production", sharedGroup)
	table, err := m.table(router.Table{Environment: "production", Generation: 1})
	require.NoError(t, err)
	require.NoError(t, r.applyAll(ctx, table))
	if routed {
		require.NoError(t, r.applyAll(ctx, m.routes(r.opt.Traefik, []string{"shop.example"})...))
	}
	rendersWhatItApplied(ctx, t, r, people, m)

	told := newNoted()
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer func() { stop(); require.NoError(t, <-ended) }()
	before := len(requests.since(0))
	go func() { ended <- r.WatchDrift(watching, told) }()

	web, cron, door := poolObject("p1", roleWeb), poolObject("p1", roleCron), poolObject("p1", roleWebsocket)
	edit := func(kind, name, who, way string, patch any, sub ...string) {
		t.Helper()
		raw, ok := patch.(string)
		if !ok {
			content, err := json.Marshal(patch)
			require.NoError(t, err)
			raw = string(content)
		}
		namespace := m.namespace
		if resources[kind].cluster {
			namespace = ""
		}
		var of dynamic.ResourceInterface = people.Resource(resourceOf(kind))
		if namespace != "" {
			of = people.Resource(resourceOf(kind)).Namespace(namespace)
		}
		_, err := of.Patch(ctx, name, types.PatchType(way), []byte(raw), metav1.PatchOptions{FieldManager: who, Force: force(way)}, sub...)
		require.NoError(t, err, "%s %s", kind, name)
	}
	object := func(kind, name string) drift.Object {
		if resources[kind].cluster {
			return objectOf(kind, "", name)
		}
		return objectOf(kind, m.namespace, name)
	}
	expect := func(what string, began time.Time, o drift.Object, is func(drift.Finding) bool) drift.Finding {
		t.Helper()
		bounded, cancel := context.WithDeadline(ctx, began.Add(foundIn))
		defer cancel()
		open, ok := told.until(bounded, func(open map[drift.Object]drift.Finding) bool { return is(open[o]) })
		require.True(t, ok, "%s was not told in %s; told: %v", what, foundIn, open)
		t.Logf("%s: told after %d ms: %s", what, time.Since(began).Milliseconds(), open[o])
		return open[o]
	}
	change := func(path, owner, way string) func(drift.Finding) bool {
		return func(f drift.Finding) bool {
			for _, c := range f.Changes {
				if strings.HasPrefix(c.Path, path) && c.Owner == owner && c.Way == way && (!c.At.IsZero() || way == "Update scale") { // of which the cluster notes no time
					return true
				}
			}
			return false
		}
	}
	const merge, jsonPatch, apply = string(types.MergePatchType), string(types.JSONPatchType), string(types.ApplyPatchType)
	replace := func(path string, value any) []any {
		return []any{map[string]any{"op": "replace", "path": path, "value": value}}
	}
	app := `.spec.template.spec.containers[name="app"]`

	// The watch has begun once it tells of something; then everything else was looked at too, or is about to be.
	edit(kindLimits, quotaName, "kubectl-edit", jsonPatch, replace("/spec/limits/0/defaultRequest/cpu", "1m"))
	bounded, cancelFirst := context.WithTimeout(ctx, 30*time.Second)
	defer cancelFirst()
	_, ok := told.until(bounded, func(open map[drift.Object]drift.Finding) bool {
		return change(".spec.limits", "kubectl-edit", "Update")(open[object(kindLimits, quotaName)])
	})
	require.True(t, ok, "nothing is told")
	for _, line := range requests.since(before) {
		if !strings.Contains(line, "/limitranges/") && line != "GET /api/v1/namespaces/kube-system" {
			require.Fail(t, "what nobody has changed was asked for", line)
		}
	}

	// A pod that is made anew changes the status of half a dozen objects, and nothing that anybody declared.
	quiet := len(requests.since(0))
	replaced := func() {
		pods, err := people.Resource(resourceOf(kindPod)).Namespace(m.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelRole + "=" + roleCron})
		require.NoError(t, err)
		require.NotEmpty(t, pods.Items)
		now := int64(0)
		require.NoError(t, people.Resource(resourceOf(kindPod)).Namespace(m.namespace).Delete(ctx, pods.Items[0].GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now}))
		require.NoError(t, until(ctx, "the deployment is whole again", func() (bool, error) {
			d, err := people.Resource(resourceOf(kindDeployment)).Namespace(m.namespace).Get(ctx, cron, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			_, err = people.Resource(resourceOf(kindPod)).Namespace(m.namespace).Get(ctx, pods.Items[0].GetName(), metav1.GetOptions{})
			ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
			return apierrors.IsNotFound(err) && ready == 1, nil
		}))
	}
	replaced()
	require.Empty(t, requests.since(quiet), "a change of status was asked about")

	type made struct {
		what       string
		kind, name string
		do         func()
		is         func(drift.Finding) bool
	}
	deleted := func(f drift.Finding) bool { return f.Deleted }
	all := []made{
		{"an image", kindDeployment, web, func() {
			edit(kindDeployment, web, "kubectl-edit", jsonPatch, replace("/spec/template/spec/containers/0/image", "example/other@sha256:"+strings.Repeat("0", 64)))
		}, change(app+".image", "kubectl-edit", "Update")},
		{"a variable of the environment", kindDeployment, cron, func() {
			edit(kindDeployment, cron, "kubectl-set", jsonPatch, []any{map[string]any{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": map[string]any{"name": "DEBUG", "value": "1"}}})
		}, change(app+`.env[name="DEBUG"]`, "kubectl-set", "Update")},
		{"a count of replicas", kindDeployment, door, func() {
			edit(kindDeployment, door, "kubectl", merge, `{"spec":{"replicas":3}}`, "scale")
		}, change(".spec.replicas", "kubectl", "Update scale")},
		{"the table of routes", kindConfigMap, tableName, func() {
			edit(kindConfigMap, tableName, "kubectl-replace", merge, map[string]any{"data": map[string]any{"table.json": "{}"}})
		}, change(".data", "kubectl-replace", "Update")},
		{"a network policy", kindPolicy, policyName + "-pools", func() {
			edit(kindPolicy, policyName+"-pools", "argocd-controller", merge, `{"spec":{"ingress":[{}]}}`)
		}, change(".spec.ingress", "argocd-controller", "Update")},
		{"a quota", kindQuota, quotaName, func() {
			edit(kindQuota, quotaName, "kubectl-edit", merge, `{"spec":{"hard":{"pods":"5000"}}}`)
		}, change(".spec.hard.pods", "kubectl-edit", "Update")},
		{"a reference to a secret", kindDeployment, web, func() {
			d, err := people.Resource(resourceOf(kindDeployment)).Namespace(m.namespace).Get(ctx, web, metav1.GetOptions{})
			require.NoError(t, err)
			volumes, _, err := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "volumes")
			require.NoError(t, err)
			for i, v := range volumes {
				if v.(map[string]any)["name"] == "files" {
					edit(kindDeployment, web, "kubectl-patch", jsonPatch, replace(fmt.Sprintf("/spec/template/spec/volumes/%d/secret/secretName", i), "other"))
				}
			}
		}, change(`.spec.template.spec.volumes[name="files"].secret.secretName`, "kubectl-patch", "Update")},
		{"a secret's value", kindSecret, poolFiles("p1"), func() {
			edit(kindSecret, poolFiles("p1"), "kubectl-edit", merge, map[string]any{"data": map[string]any{"odoo.conf": []byte("hunter2")}})
		}, change(".data", "kubectl-edit", "Update")},
		{"a deleted budget for disruptions", kindDisruption, poolFiles("p1"), func() {
			require.NoError(t, people.Resource(resourceOf(kindDisruption)).Namespace(m.namespace).Delete(ctx, poolFiles("p1"), metav1.DeleteOptions{}))
		}, deleted},
		{"a limit range", kindLimits, quotaName, func() {
			edit(kindLimits, quotaName, "helm", jsonPatch, replace("/spec/limits/0/defaultRequest/memory", "1Mi"))
		}, change(".spec.limits", "helm", "Update")},
		{"a service account", kindAccount, accountName, func() {
			edit(kindAccount, accountName, "kubectl-patch", merge, `{"automountServiceAccountToken":true}`)
		}, change(".automountServiceAccountToken", "kubectl-patch", "Update")},
		{"a label of the namespace", kindNamespace, m.namespace, func() {
			edit(kindNamespace, m.namespace, "kubectl-label", merge, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`)
		}, change(`.metadata.labels["pod-security.kubernetes.io/enforce"]`, "kubectl-label", "Update")},
		{"the label by which it is watched", kindService, web, func() {
			edit(kindService, web, "kubectl-label", merge, map[string]any{"metadata": map[string]any{"labels": map[string]any{labelInstance: nil}}})
		}, func(f drift.Finding) bool {
			return len(f.Changes) == 1 && f.Changes[0].Kind == drift.Removed && f.Changes[0].Path == fmt.Sprintf(".metadata.labels[%q]", labelInstance)
		}},
		{"an admission policy's binding", kindBinding, r.opt.Prefix + "-images", func() {
			edit(kindBinding, r.opt.Prefix+"-images", "kubectl-edit", merge, `{"spec":{"validationActions":["Audit"]}}`)
		}, change(".spec.validationActions", "kubectl-edit", "Update")},
		{"a forced apply by another controller", kindDeployment, routerName, func() {
			edit(kindDeployment, routerName, "fleet", apply, map[string]any{"apiVersion": "apps/v1", "kind": kindDeployment, "metadata": map[string]any{"name": routerName}, "spec": map[string]any{"revisionHistoryLimit": 7}})
		}, change(".spec.revisionHistoryLimit", "fleet", "Apply")},
	}
	if routed {
		all = append(all, made{"a route", kindIngressRoute, routerName, func() {
			edit(kindIngressRoute, routerName, "kubectl-edit", jsonPatch, replace("/spec/routes/0/match", "Host(`evil.example`)"))
		}, change(".spec.routes", "kubectl-edit", "Update")})
	}
	// What an autoscaler sets is its own.
	edit(kindDeployment, web, "kube-controller-manager", merge, `{"spec":{"replicas":2}}`, "scale")
	touched := map[drift.Object]bool{object(kindLimits, quotaName): true}
	for _, c := range all {
		began := time.Now()
		c.do()
		f := expect(c.what, began, object(c.kind, c.name), c.is)
		require.NotContains(t, f.String(), "aHVudGVyMg", "a secret's value is shown")
		touched[f.Object] = true
		if f.Object == object(kindDeployment, web) {
			require.NotContains(t, f.String(), ".spec.replicas", "an autoscaler's count")
		}
	}
	open, _ := told.until(ctx, func(map[drift.Object]drift.Finding) bool { return true })
	for o := range open {
		require.True(t, touched[o], "told of %s, which nobody has changed", open[o])
	}

	// Asked to, Waybill brings all of it back, and then has nothing to tell.
	for o := range open {
		require.NoError(t, r.heal(ctx, o), o.String())
	}
	bounded, cancelHealed := context.WithTimeout(ctx, 20*time.Second)
	defer cancelHealed()
	left, ok := told.until(bounded, func(open map[drift.Object]drift.Finding) bool { return len(open) == 0 })
	require.True(t, ok, "not as declared again: %v", left)

	scaled, err := people.Resource(resourceOf(kindDeployment)).Namespace(m.namespace).Get(ctx, web, metav1.GetOptions{})
	require.NoError(t, err)
	replicas, _, _ := unstructured.NestedInt64(scaled.Object, "spec", "replicas")
	require.EqualValues(t, 2, replicas, "what an autoscaler has set is not healed")

	// What Waybill itself removes is nobody's drift.
	require.NoError(t, r.RemovePool(ctx, "production", "p1", time.Second))
	edit(kindLimits, quotaName, "kubectl-edit", jsonPatch, replace("/spec/limits/0/defaultRequest/cpu", "2m"))
	f := expect("a change after a pool was removed", time.Now(), object(kindLimits, quotaName), change(".spec.limits", "kubectl-edit", "Update"))
	open, _ = told.until(ctx, func(map[drift.Object]drift.Finding) bool { return true })
	require.Equal(t, map[drift.Object]drift.Finding{f.Object: f}, open)
}

func force(way string) *bool {
	if way != string(types.ApplyPatchType) {
		return nil
	}
	return ptr(true)
}

// rendersWhatItApplied: what is written down is whole enough that the cluster would take it, and tells nothing of a Secret.
func rendersWhatItApplied(ctx context.Context, t *testing.T, r *Runtime, people dynamic.Interface, m render) {
	t.Helper()
	files, err := r.Rendered(ctx)
	require.NoError(t, err)
	secrets := 0
	for name, content := range files {
		require.NotContains(t, string(content), base64.StdEncoding.EncodeToString([]byte("[options]")), name)
		var manifest unstructured.Unstructured
		require.NoError(t, yaml.Unmarshal(content, &manifest.Object), name)
		if manifest.GetKind() == kindSecret {
			secrets++
			require.NotContains(t, manifest.Object, "data", name)
			require.NotContains(t, manifest.Object, "stringData", name)
			continue
		}
		var of dynamic.ResourceInterface = people.Resource(resourceOf(manifest.GetKind()))
		if namespace := manifest.GetNamespace(); namespace != "" {
			of = people.Resource(resourceOf(manifest.GetKind())).Namespace(namespace)
		}
		_, err := of.Apply(ctx, manifest.GetName(), &manifest, metav1.ApplyOptions{FieldManager: "somebody", Force: true, DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err, name)
	}
	require.Positive(t, secrets)
	for _, kind := range []string{kindDeployment, kindService, kindPolicy, kindQuota} {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(name string) bool {
			return strings.HasPrefix(name, "production/"+m.namespace+"/"+strings.ToLower(kind)+"-")
		}), "%s in %v", kind, slices.Sorted(maps.Keys(files)))
	}
	t.Logf("%d manifests, %d of them Secrets", len(files), secrets)
}
