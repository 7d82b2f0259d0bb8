package check

import (
	"path"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/odoo"
)

var moduleDuplicate = Check{
	ID:       "module-duplicate",
	Severity: Error,
	Why:      "Odoo silently takes one of two modules of the same name, by the order of its addons path.",
	Find: func(in *Input) (found []Finding) {
		first := map[string]*Module{}
		for _, m := range in.Modules {
			if before, ok := first[m.Name]; ok {
				found = append(found, m.inManifest(in, "name", "", "remove or rename one of the two",
					"the module %q is there twice: here and in %s", m.Name, before.Folder))
				continue
			}
			first[m.Name] = m
			if in.Base != nil && in.baseHas(m.Name) {
				finding := m.inManifest(in, "name", "", "rename it, unless it is meant to replace the base's module",
					"the module %q hides one of the same name in the base", m.Name)
				finding.Severity = Warning
				found = append(found, finding)
			}
		}
		return found
	},
}

var moduleIncomplete = Check{
	ID:       "module-incomplete",
	Severity: Error,
	Why:      "Odoo loads no code of a folder without __init__.py, and no module under a name with other characters.",
	Find: func(in *Input) (found []Finding) {
		for _, m := range in.Modules {
			if !odoo.ModuleName.MatchString(m.Name) {
				found = append(found, m.at(m.Folder, 0, "rename it: letters, digits and underscores", "%q is no name of a module", m.Name))
				continue
			}
			// A module of data alone works without.
			code := func(f *File) bool {
				return loadable(m, f) && !slices.Contains(in.Series.ManifestNames, path.Base(f.Path))
			}
			if m.Manifest != nil && m.Manifest.Installable && slices.ContainsFunc(m.Files, code) && in.index().files[path.Join(m.Folder, "__init__.py")] == nil {
				found = append(found, m.at(m.Folder, 0, "add one that imports the module's code", "the module has code, and no __init__.py"))
			}
		}
		return found
	},
}

func (in *Input) baseHas(name string) bool { return in.index().base[name] }

var dependencyMissing = Check{
	ID:       "dependency-missing",
	Severity: Error,
	Why:      "A module cannot be installed or updated without all that it depends on.",
	Needs:    Needs{Base: true},
	Find: func(in *Input) (found []Finding) {
		if in.Base == nil {
			return nil
		}
		byName := map[string]*Module{}
		for _, m := range in.Modules {
			if byName[m.Name] == nil || byName[m.Name].Manifest == nil {
				byName[m.Name] = m
			}
		}
		for _, m := range in.installable() {
			for _, name := range m.Manifest.Depends {
				other, own := byName[name]
				switch {
				case in.baseHas(name) && !own, m.Name == "base":
				case !own:
					found = append(found, m.inManifest(in, "depends", name, "add the module to the product, or take it out of \"depends\"",
						"it depends on %q, which neither the product nor the base has", name))
				case other.Manifest == nil: // named already
				case !other.Manifest.Installable:
					found = append(found, m.inManifest(in, "depends", name, "make it installable, or take it out of \"depends\"",
						"it depends on %q, whose manifest says that it is not installable", name))
				}
			}
		}
		return found
	},
}

var dependencyCycle = Check{
	ID:       "dependency-cycle",
	Severity: Error,
	Why:      "Odoo never loads modules that depend on each other.",
	Find: func(in *Input) (found []Finding) {
		byName := map[string]*Module{}
		for _, m := range in.installable() {
			if byName[m.Name] == nil {
				byName[m.Name] = m
			}
		}
		const visiting, done = 1, 2
		state := map[string]int{}
		var stack []string
		var visit func(m *Module)
		visit = func(m *Module) {
			state[m.Name] = visiting
			stack = append(stack, m.Name)
			for _, name := range m.Manifest.Depends {
				next := byName[name]
				switch {
				case next == nil || m.Name == "base":
				case state[name] == 0:
					visit(next)
				case state[name] == visiting:
					circle := append(slices.Clone(stack[slices.Index(stack, name):]), name)
					found = append(found, m.inManifest(in, "depends", name, "take one of these dependencies out",
						"modules depend on each other in a circle: %s", strings.Join(circle, " → ")))
				}
			}
			stack = stack[:len(stack)-1]
			state[m.Name] = done
		}
		for _, m := range in.installable() {
			if byName[m.Name] == m && state[m.Name] == 0 {
				visit(m)
			}
		}
		return found
	},
}
