package odoo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/release"
)

// Difference is what lies between two releases, and what an update from one to the other touches in
// a database that has all modules. One with fewer is touched less.
type Difference struct {
	Changed   []ModuleChange `json:"changed"`   // in both, and not the same
	Added     []ModuleChange `json:"added"`     // not in the release before
	Removed   []ModuleChange `json:"removed"`   // no longer there: a database that has one of them cannot take the release
	Dependent []ModuleChange `json:"dependent"` // the same, but loaded anew since they depend on a changed one
	Older     []string       `json:"older"`     // changed modules whose version goes down: no script goes that way
	Base      []FieldChange  `json:"base"`      // of the base image
}

// ModuleChange is one module and why it is named.
type ModuleChange struct {
	Name   string `json:"name"`
	Base   bool   `json:"base,omitempty"` // it comes with the base image, not with the product
	From   string `json:"from,omitempty"` // version before; empty: it was not there
	To     string `json:"to,omitempty"`   // version after; empty: it is gone
	Reason string `json:"reason"`
}

// FieldChange is a property of the base that is another one.
type FieldChange struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Empty says that the two hold the same modules on the same base.
func (d Difference) Empty() bool {
	return len(d.Changed)+len(d.Added)+len(d.Removed)+len(d.Base) == 0
}

// Compare says what changed between two releases, by the same plan that an update is made by. It
// fails when the modules of either do not hold together.
func Compare(from, to release.Release) (Difference, error) {
	before := modulesOf(from)
	facts := Facts{Checksums: map[string]string{}}
	for _, name := range sortedKeys(before) {
		facts.Modules = append(facts.Modules, InstalledModule{Name: name, Version: before[name].Version, State: StateInstalled})
		facts.Checksums[name] = before[name].Checksum
	}
	plan, err := MakePlan(PlanInput{Release: to, Facts: facts})
	if err != nil {
		return Difference{}, err
	}
	graph, err := NewGraph(to.Modules, to.Base.Modules)
	if err != nil {
		return Difference{}, err
	}
	// Empty lists, not none: whoever reads the JSON need not ask.
	d := Difference{Changed: []ModuleChange{}, Added: []ModuleChange{}, Removed: []ModuleChange{}, Dependent: []ModuleChange{},
		Older: append([]string{}, plan.Older...), Base: baseChanges(from.Base, to.Base)}
	after := modulesOf(to)
	own := map[string]bool{}
	for _, r := range []release.Release{from, to} {
		for _, m := range r.Modules {
			own[m.Name] = true
		}
	}
	change := func(name, reason string) ModuleChange {
		return ModuleChange{Name: name, Base: !own[name], From: before[name].Version, To: after[name].Version, Reason: reason}
	}
	changed := map[string]bool{}
	for name := range before {
		_, there := after[name]
		changed[name] = there && plan.Reason[name] != ""
	}
	for _, name := range graph.Order() {
		_, was := before[name]
		switch {
		case !was:
			d.Added = append(d.Added, change(name, "new"))
		case changed[name]:
			d.Changed = append(d.Changed, change(name, plan.Reason[name]))
		case slices.Contains(plan.Touched, name):
			d.Dependent = append(d.Dependent, change(name, "depends on "+dependsOn(graph, name, changed)))
		}
	}
	for _, name := range plan.Missing {
		d.Removed = append(d.Removed, change(name, "no longer in the release"))
	}
	return d, nil
}

// modulesOf are all modules of a release by name, the product's own before the base's.
func modulesOf(r release.Release) map[string]release.Module {
	all := map[string]release.Module{}
	for _, list := range [][]release.Module{r.Base.Modules, r.Modules} {
		for _, m := range list {
			all[m.Name] = m
		}
	}
	return all
}

// dependsOn names the changed modules that a module needs, a few of them.
func dependsOn(g *Graph, name string, changed map[string]bool) string {
	var needs []string
	for _, dep := range g.Needs(name) {
		if dep != name && changed[dep] {
			needs = append(needs, dep)
		}
	}
	if len(needs) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(needs[:3], ", "), len(needs)-3)
	}
	return strings.Join(needs, ", ")
}

func baseChanges(from, to release.Base) []FieldChange {
	list := []FieldChange{}
	for _, f := range []FieldChange{
		{"digest", from.Digest, to.Digest},
		{"version", from.Version, to.Version},
		{"python", from.Python, to.Python},
		{"addons paths", strings.Join(from.AddonsPaths, ", "), strings.Join(to.AddonsPaths, ", ")},
	} {
		if f.From != f.To {
			list = append(list, f)
		}
	}
	return list
}
