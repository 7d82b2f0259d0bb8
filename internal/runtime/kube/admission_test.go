package kube

import (
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// The rules that the API server is given are asked here in its own language, about pods as Waybill
// makes them and about others.
func TestAdmissionRules(t *testing.T) {
	env, err := cel.NewEnv(ext.Strings(), cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("namespaceObject", cel.DynType))
	require.NoError(t, err)
	rules := admission("waybill")
	asked := func(rule *unstructured.Unstructured, vars map[string]any) bool {
		validations, _, err := unstructured.NestedSlice(rule.Object, "spec", "validations")
		require.NoError(t, err)
		ast, issues := env.Compile(validations[0].(map[string]any)["expression"].(string))
		require.NoError(t, issues.Err())
		program, err := env.Program(ast)
		require.NoError(t, err)
		out, _, err := program.Eval(vars)
		return err == nil && out.Value() == true // an error refuses: failurePolicy Fail
	}
	m, _ := example(sharedGroup)
	pool := m.pool(runtime.Pool{Environment: "production", Name: "p", Image: "r/i" + digest})
	pod := func() map[string]any {
		template, _, _ := unstructured.NestedMap(pool[1].Object, "spec", "template")
		return template
	}
	container := func(pod map[string]any, list, field string, value any) map[string]any {
		all, _, _ := unstructured.NestedSlice(pod, "spec", list)
		all[0].(map[string]any)[field] = value
		_ = unstructured.SetNestedSlice(pod, all, "spec", list)
		return pod
	}
	listed := map[string]any{noteDigests: "ff00 " + digest[len("@sha256:"):]}
	created := func(pod, notes map[string]any) bool {
		metadata := map[string]any{"name": "waybill-production"}
		if notes != nil {
			metadata["annotations"] = notes
		}
		return asked(rules[0], map[string]any{"object": pod, "namespaceObject": map[string]any{"metadata": metadata}})
	}
	require.True(t, created(pod(), listed))
	require.False(t, created(pod(), nil), "nothing is listed")
	require.False(t, created(pod(), map[string]any{"other": "x"}), "nothing is listed")
	require.False(t, created(container(pod(), "containers", "image", "r/i@sha256:"), listed), "no digest")
	require.False(t, created(container(pod(), "containers", "image", "r/i:latest"), listed), "a tag")
	require.False(t, created(container(pod(), "containers", "image", "r/i@sha256:"+"ff"), listed), "another digest")
	require.False(t, created(container(pod(), "initContainers", "image", "r/i@sha256:"+"ff"), listed), "another digest beside it")

	changed := func(pod, old map[string]any) bool {
		return asked(rules[2], map[string]any{"object": pod, "oldObject": old})
	}
	require.True(t, changed(pod(), pod()))
	require.False(t, changed(container(pod(), "containers", "image", "r/j"+digest), pod()))
	added := pod()
	require.NoError(t, unstructured.SetNestedSlice(added, []any{map[string]any{"name": "shell", "image": "r/i" + digest}}, "spec", "ephemeralContainers"))
	require.False(t, changed(added, pod()), "a container added to a running pod")
}
