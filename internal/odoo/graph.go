package odoo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/release"
)

// Graph is modules and what they depend on. Make one with NewGraph.
type Graph struct {
	modules    map[string]release.Module
	dependents map[string][]string
	order      []string
}

// MissingDependencyError says that modules need one that is not there.
type MissingDependencyError struct {
	Module   string
	WantedBy []string
}

func (e *MissingDependencyError) Error() string {
	return fmt.Sprintf("module %q is not in the image; %s depends on it", e.Module, strings.Join(e.WantedBy, ", "))
}

// CycleError says that modules depend on each other in a circle.
type CycleError struct {
	Modules []string // the first one depends on the second, …, the last one on the first
}

func (e *CycleError) Error() string {
	return fmt.Sprintf("modules depend on each other in a circle: %s → %s", strings.Join(e.Modules, " → "), e.Modules[0])
}

// NewGraph joins modules by their dependencies. A name that comes twice counts once, the first
// time. Errors: *MissingDependencyError, *CycleError.
func NewGraph(lists ...[]release.Module) (*Graph, error) {
	g := &Graph{modules: map[string]release.Module{}, dependents: map[string][]string{}}
	for _, list := range lists {
		for _, m := range list {
			if _, ok := g.modules[m.Name]; !ok {
				g.modules[m.Name] = m
			}
		}
	}
	names := sortedKeys(g.modules)
	missing := map[string][]string{}
	for _, name := range names {
		for _, dep := range g.modules[name].Depends {
			if dep == name {
				return nil, &CycleError{Modules: []string{name}}
			}
			if _, ok := g.modules[dep]; !ok {
				missing[dep] = append(missing[dep], name)
				continue
			}
			if !slices.Contains(g.dependents[dep], name) {
				g.dependents[dep] = append(g.dependents[dep], name)
			}
		}
	}
	if len(missing) > 0 {
		first := sortedKeys(missing)[0]
		return nil, &MissingDependencyError{Module: first, WantedBy: missing[first]}
	}
	return g, g.sort(names)
}

// sort orders the graph as Odoo loads it: by the longest way to base, then by name.
func (g *Graph) sort(names []string) error {
	const visiting = -1
	depth := map[string]int{}
	var path []string
	var visit func(name string) error
	visit = func(name string) error {
		if d, ok := depth[name]; ok {
			if d == visiting {
				return &CycleError{Modules: slices.Clone(path[slices.Index(path, name):])}
			}
			return nil
		}
		depth[name] = visiting
		path = append(path, name)
		longest := 0
		for _, dep := range g.modules[name].Depends {
			if err := visit(dep); err != nil {
				return err
			}
			longest = max(longest, depth[dep]+1)
		}
		path = path[:len(path)-1]
		depth[name] = longest
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return err
		}
	}
	g.order = slices.Clone(names)
	slices.SortStableFunc(g.order, func(a, b string) int {
		if d := depth[a] - depth[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return nil
}

// Order returns every module after all that it depends on.
func (g *Graph) Order() []string { return slices.Clone(g.order) }

// Needs returns the modules given and all that they depend on, in Order. Unknown names are left out.
func (g *Graph) Needs(names ...string) []string {
	return g.reach(names, func(name string) []string { return g.modules[name].Depends })
}

// Dependents returns the modules given and all that depend on them, in Order.
func (g *Graph) Dependents(names ...string) []string {
	return g.reach(names, func(name string) []string { return g.dependents[name] })
}

func (g *Graph) reach(from []string, next func(string) []string) []string {
	seen := map[string]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, ok := g.modules[name]; !ok || seen[name] {
			continue
		}
		seen[name] = true
		todo = append(todo, next(name)...)
	}
	var reached []string
	for _, name := range g.order {
		if seen[name] {
			reached = append(reached, name)
		}
	}
	return reached
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
