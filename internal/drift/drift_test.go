package drift

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// read makes an object of JSON.
func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal([]byte(text), &o.Object))
	return o
}

// A deployment as the API server answers a dry-run with, with what it fills in: ours are the image, one variable, a label and the replicas.
const applied = `{
  "apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": {"namespace": "shop", "name": "web", "labels": {"waybill.dev/pool": "p1"}, "resourceVersion": "7", "managedFields": [
    {"manager": "waybill", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-22T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
      "f:metadata": {"f:labels": {"f:waybill.dev/pool": {}}},
      "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:name": {}, "f:image": {}, "f:command": {},
        "f:env": {"k:{\"name\":\"WAYBILL_ROLE\"}": {".": {}, "f:name": {}, "f:value": {}}},
        "f:ports": {"k:{\"containerPort\":8069,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}},
    {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "subresource": "status", "time": "2026-11-22T12:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
      "f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}}, "f:status": {"f:replicas": {}}}}]},
  "spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"spec": {"restartPolicy": "Always", "containers": [
    {"name": "app", "image": "r/acme@sha256:1", "command": ["odoo"], "env": [{"name": "WAYBILL_ROLE", "value": "web"}], "ports": [{"containerPort": 8069, "protocol": "TCP"}]}]}}},
  "status": {"replicas": 2}}`

// changed is the live object after edit, with an entry of managed fields for whoever did it.
func changed(t *testing.T, manager, fields string, edit func(spec, container map[string]any, o *unstructured.Unstructured)) (live, dry *unstructured.Unstructured) {
	t.Helper()
	live, dry = read(t, applied), read(t, applied)
	containers, _, err := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	container := containers[0].(map[string]any)
	spec := live.Object["spec"].(map[string]any)
	edit(spec, container, live)
	if list, _, _ := unstructured.NestedSlice(spec, "template", "spec", "containers"); len(list) == 1 {
		require.NoError(t, unstructured.SetNestedSlice(spec, []any{container}, "template", "spec", "containers"))
	}
	if fields != "" {
		entries := live.Object["metadata"].(map[string]any)["managedFields"].([]any)
		var content any
		require.NoError(t, json.Unmarshal([]byte(fields), &content))
		live.Object["metadata"].(map[string]any)["managedFields"] = append(entries, map[string]any{
			"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-22T11:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": content})
	}
	return live, dry
}

func TestCompare(t *testing.T) {
	const container = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":`
	at := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	const app = `.spec.template.spec.containers[name="app"]`
	for name, c := range map[string]struct {
		manager, fields string
		edit            func(spec, container map[string]any, o *unstructured.Unstructured)
		want            []Change
	}{
		"nothing": {edit: func(map[string]any, map[string]any, *unstructured.Unstructured) {}},
		"status only": {edit: func(_, _ map[string]any, o *unstructured.Unstructured) {
			o.Object["status"] = map[string]any{"replicas": int64(7)}
		}},
		"image": {"kubectl-edit", container + `{"f:image":{}}}}}}}`, func(_, c map[string]any, _ *unstructured.Unstructured) { c["image"] = "evil:latest" },
			[]Change{{Kind: Changed, Path: app + ".image", Declared: `"r/acme@sha256:1"`, Live: `"evil:latest"`, Owner: "kubectl-edit", Way: "Update", At: at}}},
		"command, a whole": {"kubectl-edit", container + `{"f:command":{}}}}}}}`, func(_, c map[string]any, _ *unstructured.Unstructured) { c["command"] = []any{"sh", "-c"} },
			[]Change{{Kind: Changed, Path: app + ".command", Declared: `["odoo"]`, Live: `["sh","-c"]`, Owner: "kubectl-edit", Way: "Update", At: at}}},
		"replicas, by somebody": {"scaler", `{"f:spec":{"f:replicas":{}}}`, func(s, _ map[string]any, _ *unstructured.Unstructured) { s["replicas"] = int64(0) },
			[]Change{{Kind: Changed, Path: ".spec.replicas", Declared: "2", Live: "0", Owner: "scaler", Way: "Update", At: at}}},
		"a variable added": {"kubectl-set", container + `{"f:env":{"k:{\"name\":\"DEBUG\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`, func(_, c map[string]any, _ *unstructured.Unstructured) {
			c["env"] = append(c["env"].([]any), map[string]any{"name": "DEBUG", "value": "1"})
		}, []Change{{Kind: Added, Path: app + `.env[name="DEBUG"]`, Live: `{"name":"DEBUG","value":"1"}`, Owner: "kubectl-set", Way: "Update", At: at}}},
		"a variable removed": {"kubectl-edit", `{"f:metadata":{"f:annotations":{"f:note":{}}}}`, func(_, c map[string]any, o *unstructured.Unstructured) {
			c["env"] = []any{}
			o.SetAnnotations(map[string]string{"note": "x"})
		}, []Change{
			{Kind: Added, Path: ".metadata.annotations.note", Live: `"x"`, Owner: "kubectl-edit", Way: "Update", At: at},
			{Kind: Removed, Path: app + `.env[name="WAYBILL_ROLE"]`, Declared: `{"name":"WAYBILL_ROLE","value":"web"}`, Owner: "kubectl-edit", Way: "Update", At: at},
		}},
		"a label removed": {edit: func(_, _ map[string]any, o *unstructured.Unstructured) { o.SetLabels(nil) },
			want: []Change{{Kind: Removed, Path: ".metadata.labels", Declared: `{"waybill.dev/pool":"p1"}`}}},
		"another port": {"kubectl-patch", container + `{"f:ports":{"k:{\"containerPort\":9,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}`, func(_, c map[string]any, _ *unstructured.Unstructured) {
			c["ports"] = []any{map[string]any{"containerPort": int64(9), "protocol": "TCP"}}
		}, []Change{
			{Kind: Removed, Path: app + `.ports[containerPort=8069,protocol="TCP"]`, Declared: `{"containerPort":8069,"protocol":"TCP"}`, Owner: "kubectl-patch", Way: "Update", At: at},
			{Kind: Added, Path: app + `.ports[containerPort=9,protocol="TCP"]`, Live: `{"containerPort":9,"protocol":"TCP"}`, Owner: "kubectl-patch", Way: "Update", At: at},
		}},
		"a container added": {"istio", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"proxy\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`, func(s, _ map[string]any, _ *unstructured.Unstructured) {
			list, _, _ := unstructured.NestedSlice(s, "template", "spec", "containers")
			_ = unstructured.SetNestedSlice(s, append(list, map[string]any{"name": "proxy", "image": "p"}), "template", "spec", "containers")
		}, []Change{{Kind: Added, Path: `.spec.template.spec.containers[name="proxy"]`, Live: `{"image":"p","name":"proxy"}`, Owner: "istio", Way: "Update", At: at}}},
		"by the cluster itself": {"kube-controller-manager", `{"f:metadata":{"f:annotations":{"f:note":{}}}}`, func(_, _ map[string]any, o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{"note": "x"})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			live, dry := changed(t, c.manager, c.fields, c.edit)
			// A forced apply keeps what it does not declare: what was added is in the answer too.
			for _, w := range c.want {
				if w.Kind == Added {
					merge(dry.Object, live.Object)
				}
			}
			found, err := Compare("waybill", live, dry)
			require.NoError(t, err)
			for i := range found {
				found[i].path = nil
			}
			require.Equal(t, c.want, found)
		})
	}
}

// merge adds to a dry-run's answer what is only in the live object.
func merge(dry, live map[string]any) {
	for k, v := range live {
		switch have := dry[k].(type) {
		case nil:
			dry[k] = v
		case map[string]any:
			if m, ok := v.(map[string]any); ok && k != "managedFields" {
				merge(have, m)
			}
		case []any:
			list, ok := v.([]any)
			if !ok || k == "managedFields" || k == "command" {
				continue
			}
			for _, item := range list {
				m, _ := item.(map[string]any)
				same := -1
				for i, h := range have {
					if hm, ok := h.(map[string]any); ok && equal(hm["name"], m["name"]) && equal(hm["containerPort"], m["containerPort"]) {
						same = i
					}
				}
				if same >= 0 {
					merge(have[same].(map[string]any), m)
				} else {
					have = append(have, item)
				}
			}
			dry[k] = have
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	const secret = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","managedFields":[{"manager":"waybill","operation":"Apply","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:key":{}}}},
		{"manager":"kubectl-edit","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:more":{}}}}]},"data":{"key":"aHVudGVyMg==","more":"aHVudGVyMw=="}}`
	live := read(t, strings.NewReplacer(`"f:key"`, `"f:none"`, `"f:more":{}`, `"f:more":{},"f:key":{}`).Replace(secret)) // whoever changes a field takes it
	require.NoError(t, unstructured.SetNestedField(live.Object, "b3RoZXI=", "data", "key"))
	found, err := Compare("waybill", live, read(t, secret))
	require.NoError(t, err)
	require.Len(t, found, 2)
	raw, err := json.Marshal(found)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "aHVu")
	require.NotContains(t, string(raw), "b3Ro")
	require.Contains(t, string(raw), "(not shown)")
}

func TestFingerprint(t *testing.T) {
	base := Fingerprint(read(t, applied))
	quiet := read(t, applied)
	quiet.SetResourceVersion("99")
	quiet.SetManagedFields(nil)
	quiet.Object["status"] = map[string]any{"replicas": int64(9)}
	require.Equal(t, base, Fingerprint(quiet), "status, versions and bookkeeping are not what somebody wrote")
	for name, edit := range map[string]func(*unstructured.Unstructured){
		"label":      func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) },
		"annotation": func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{"a": "b"}) },
		"finalizer":  func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"a/b"}) },
		"made anew":  func(o *unstructured.Unstructured) { o.SetUID("other") },
		"spec": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, int64(1), "spec", "replicas")
		},
		"data": func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{"a": "b"} },
	} {
		o := read(t, applied)
		edit(o)
		require.NotEqual(t, base, Fingerprint(o), name)
	}
}

// A count of replicas belongs to the autoscaler that sets it; by anybody else's hand, through the same door, it is a change.
func TestReplicasOfAnAutoscaler(t *testing.T) {
	for manager, drifts := range map[string]int{"kube-controller-manager": 0, "kubectl": 1} {
		live, dry := changed(t, manager, `{"f:spec":{"f:replicas":{}}}`, func(s, _ map[string]any, o *unstructured.Unstructured) { s["replicas"] = int64(5) })
		entries := live.Object["metadata"].(map[string]any)["managedFields"].([]any)
		entries[len(entries)-1].(map[string]any)["subresource"] = "scale"
		found, err := Compare("waybill", live, dry)
		require.NoError(t, err)
		require.Len(t, found, drifts, manager)
		require.Equal(t, drifts == 0, Scaled(live), manager)
		if drifts > 0 {
			require.Equal(t, ".spec.replicas is 5 and not 2 (kubectl, Update scale, 2026-11-22 11:00:00)", found[0].String())
		}
	}
}

// As long as the fields that were applied are still the manager's, they hold what was applied, and nobody has to be asked.
func TestApplied(t *testing.T) {
	base, err := Applied("waybill", read(t, applied))
	require.NoError(t, err)
	require.NotEmpty(t, base)
	quiet := read(t, applied)
	quiet.Object["status"] = map[string]any{"replicas": int64(9)}
	quiet.SetResourceVersion("99")
	same, err := Applied("waybill", quiet)
	require.NoError(t, err)
	require.Equal(t, base, same)
	taken := read(t, strings.Replace(applied, `"f:image": {}, `, "", 1)) // as the API server writes it when somebody sets the image
	other, err := Applied("waybill", taken)
	require.NoError(t, err)
	require.NotEqual(t, base, other)
	none, err := Applied("somebody", quiet)
	require.NoError(t, err)
	require.Empty(t, none)
}

// What Waybill itself has written since, as an update or with a newer apply, is no drift.
func TestOwnHand(t *testing.T) {
	live, dry := changed(t, "waybill", `{"f:spec":{"f:replicas":{}},"f:metadata":{"f:annotations":{"f:note":{}}}}`, func(s, c map[string]any, o *unstructured.Unstructured) {
		s["replicas"], c["image"] = int64(5), "newer" // the image is still among what waybill has applied
		o.SetAnnotations(map[string]string{"note": "x"})
	})
	found, err := Compare("waybill", live, dry)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestRemove(t *testing.T) {
	live, _ := changed(t, "kubectl-edit", `{"f:metadata":{"f:annotations":{"f:a/b":{},"f:kept":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{"f:env":{"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"B\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`,
		func(_, c map[string]any, o *unstructured.Unstructured) {
			c["env"] = append(c["env"].([]any), map[string]any{"name": "A", "value": "1"}, map[string]any{"name": "B", "value": "2"})
			o.SetAnnotations(map[string]string{"a/b": "x", "kept": "y"})
		})
	found, err := Additions("waybill", live)
	require.NoError(t, err)
	require.Len(t, found, 4)
	patch, left, err := Remove(found, live, func(path string) bool { return path == ".metadata.annotations.kept" })
	require.NoError(t, err)
	require.True(t, left)
	require.JSONEq(t, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"}, {"op":"remove","path":"/spec/template/spec/containers/0/env/2"},
		{"op":"remove","path":"/spec/template/spec/containers/0/env/1"}, {"op":"remove","path":"/metadata/annotations/a~1b"}]`, string(patch))
	patch, left, err = Remove(nil, live, nil)
	require.NoError(t, err)
	require.False(t, left)
	require.Nil(t, patch)
}

func TestManagedFieldsThatDoNotParse(t *testing.T) {
	broken := read(t, `{"kind":"ConfigMap","metadata":{"name":"c","managedFields":[{"manager":"x","operation":"Update","fieldsType":"FieldsV1","fieldsV1":[3]}]}}`)
	_, err := Compare("waybill", broken, broken)
	require.ErrorContains(t, err, "fields of x")
}
