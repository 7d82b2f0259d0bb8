package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Rendered are the manifests of what was applied, as YAML by the path of a file: ENVIRONMENT/NAMESPACE/KIND-NAME.yaml, and
// cluster/KIND-NAME.yaml of what is the whole cluster's. A Secret is there with the names of what it holds and without the values.
func (r *Runtime) Rendered(ctx context.Context) (map[string][]byte, error) {
	scope, err := r.scope(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := r.opt.Keeper.Kept(ctx, scope)
	if err != nil {
		return nil, err
	}
	return rendered(kept)
}

func rendered(kept []Declared) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, d := range kept {
		if strings.HasPrefix(d.Environment, copies) {
			continue // a rehearsal's: it is gone when anybody reads of it
		}
		var manifest map[string]any
		if err := json.Unmarshal(d.Manifest, &manifest); err != nil {
			return nil, fmt.Errorf("what was declared of %s: %w", d.Object, err)
		}
		var notes strings.Builder
		if d.Object.Kind == kindSecret {
			for _, field := range []string{"data", "stringData"} {
				if held, ok := manifest[field].(map[string]any); ok {
					for _, name := range slices.Sorted(maps.Keys(held)) {
						fmt.Fprintf(&notes, "# It holds %s, which is written down nowhere.\n", name)
					}
					delete(manifest, field)
				}
			}
		}
		content, err := yaml.Marshal(manifest)
		if err != nil {
			return nil, fmt.Errorf("write down %s: %w", d.Object, err)
		}
		folder, namespace := d.Environment, d.Object.Namespace
		if folder == "" {
			folder = "cluster"
		}
		files[path.Join(folder, namespace, strings.ToLower(d.Object.Kind)+"-"+d.Object.Name+".yaml")] = append([]byte(notes.String()), content...)
	}
	return files, nil
}
