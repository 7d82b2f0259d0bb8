package estate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The published schemas are those of this code.
func TestSchemasPublished(t *testing.T) {
	folder := filepath.Join("..", "..", "docs", "schemas")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return slices.Contains([]string{"waybill.json", "openapi.json"}, e.Name()) }) // those of the packages waybill and api
	require.Len(t, entries, len(Schemas()), "docs/schemas holds a file too few or too many: run go generate ./internal/estate")
	for name, want := range Schemas() {
		got, err := os.ReadFile(filepath.Join(folder, name+".json"))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "docs/schemas/%s.json is out of date: run go generate ./internal/estate", name)
	}
}

// Each field of the types is in its schema with a description or a rule, and objects are closed.
func TestSchemasAreComplete(t *testing.T) {
	for name, content := range Schemas() {
		var s map[string]any
		require.NoError(t, json.Unmarshal(content, &s), name)
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", s["$schema"])
		if name == "estate" {
			require.Len(t, s["allOf"], len(kinds))
			continue
		}
		require.Equal(t, false, s["additionalProperties"], "%s: a slip in a field's name must show in the editor", name)
		require.Contains(t, s["required"], "kind")
	}
	var environment struct {
		Properties map[string]struct {
			Default     any
			Description string
			Properties  map[string]struct{ Default any }
		}
	}
	require.NoError(t, json.Unmarshal(Schemas()["environment"], &environment))
	p := environment.Properties
	require.Equal(t, "20s", p["hold_budget"].Default)
	require.Equal(t, "30m", p["update_deadline"].Default)
	require.Equal(t, 2.0, p["workers"].Default)
	require.Equal(t, []any{10.0, 50.0}, p["rollout"].Properties["steps"].Default)
	require.Equal(t, "1m", p["rollout"].Properties["bake"].Default)
	require.Contains(t, p["hold_budget"].Description, "default 20s")
}

func TestSkeleton(t *testing.T) {
	for name, want := range map[string]string{"acme": "acme", "My Shop": "my-shop", "…": "shop", "9 lives": "lives", "a-very-long-name-that-goes-on-and-on-and-on-and-on": "a-very-long-name-that-goes-on-and-on-an"} {
		dir := write(t, Skeleton(name))
		e, err := Load(t.Context(), dir)
		require.NoError(t, err, name)
		require.Equal(t, want, e.Product.Name)
		require.Equal(t, []string{"test", "production"}, e.Product.Environments)
		require.Len(t, e.Tenants, 2)
		require.Equal(t, []int{10, 50}, e.Environments[1].Rollout.Steps)
		require.Empty(t, e.Environments[0].Rollout.Steps)
		before, ok := e.Before("production")
		require.True(t, ok)
		require.Equal(t, "test", before.Name)
	}
}
