package check

import (
	"regexp"
	"slices"
	"strings"
)

// modelIndex is which models the product's modules define or extend.
type modelIndex struct {
	names    map[string]bool            // technical names, "sale.order"
	ids      map[string]bool            // the same as external ids have them, "sale_order"
	base     map[string]bool            // ids of the base's models
	by       map[string]map[string]bool // module → ids of the models that it defines or extends
	abstract map[string]bool            // names of abstract models
	vague    map[string]bool            // modules of which it is not known
}

// indexModels reads the models from the Python sources' facts.
func indexModels(in *Input) modelIndex {
	x := modelIndex{
		names: map[string]bool{}, ids: map[string]bool{}, base: map[string]bool{},
		by: map[string]map[string]bool{}, abstract: map[string]bool{}, vague: map[string]bool{},
	}
	if in.Base != nil {
		for name := range in.Base.Models {
			x.base[modelID(name)] = true
		}
	}
	for _, m := range in.installable() {
		if x.by[m.Name] == nil {
			x.by[m.Name] = map[string]bool{}
		}
		for _, f := range m.Files {
			if !loadable(m, f) {
				continue
			}
			if f.Python == nil || f.Python.SyntaxError != "" {
				x.vague[m.Name] = true
				continue
			}
			for _, model := range f.Python.Models {
				if model.Dynamic {
					x.vague[m.Name] = true
				}
				for _, name := range model.names() {
					x.abstract[name] = x.abstract[name] || model.Kind == "AbstractModel"
					x.names[name] = true
					x.ids[modelID(name)] = true
					x.by[m.Name][modelID(name)] = true
				}
			}
		}
		for _, r := range in.data.modules[m].records {
			if r.model == "ir.model" { // a model of the data base alone
				x.vague[m.Name] = true
			}
		}
	}
	return x
}

// loadable says whether Odoo may import a file when it loads the module.
func loadable(m *Module, f *File) bool {
	if !strings.HasSuffix(f.Path, ".py") || f.Link != "" {
		return false
	}
	top, _, deeper := strings.Cut(strings.TrimPrefix(f.Path, m.Folder+"/"), "/")
	return !deeper || !slices.Contains([]string{"tests", "static", "migrations", "upgrades", "doc", "docs", "examples", "i18n", "data", "demo"}, top)
}

var capital = regexp.MustCompile(`([^_.])([A-Z])`)

// names are the technical names that a class may stand for: more than one where series differ.
func (p PythonModel) names() []string {
	if p.Name != "" {
		return []string{p.Name}
	}
	list := slices.Clone(p.Inherit)
	if len(p.Inherit) != 1 && p.Class != "" {
		dotted := p.Class
		for range 2 { // matches overlap in "ABC"
			dotted = capital.ReplaceAllString(dotted, "$1.$2")
		}
		list = append(list, strings.ToLower(dotted))
	}
	return list
}

// modelID is a model's name as external ids have it.
func modelID(name string) string { return strings.ReplaceAll(name, ".", "_") }

// vague says whether a module, or one that it depends on, may have models that are not known of.
func (d *dataIndex) vague(m *Module) bool {
	for name := range d.models.vague {
		if name == m.Name || d.closure[m.Name][name] {
			return true
		}
	}
	return false
}

// lacksDependency says whether anything that a module depends on is not there.
func (d *dataIndex) lacksDependency(in *Input, m *Module) bool {
	for name := range d.closure[m.Name] {
		if d.isAbsent(in, m, name) {
			return true
		}
	}
	return false
}

// hasID says whether any module has a model of that name, as external ids have it.
func (x modelIndex) hasID(id string) bool { return x.ids[id] || x.base[id] }

// allKnown says whether every model of the product is known.
func (x modelIndex) allKnown() bool { return len(x.vague) == 0 }

var modelUnknown = Check{
	ID:       "model-unknown",
	Severity: Error,
	Why:      "Odoo stops the update at a record of a model that no module defines.",
	Needs:    Needs{Base: true, Python: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		if in.Base == nil || len(in.Base.Models) == 0 {
			return nil
		}
		for _, m := range in.installable() {
			if d.vague(m) || d.lacksDependency(in, m) {
				continue
			}
			for _, use := range d.modules[m].uses {
				model := strings.TrimSpace(use.model)
				if in.Base.Models[model] || d.models.names[model] {
					continue
				}
				found = append(found, use.finding(m,
					"write the model's technical name (its _name), or depend on the module that defines it",
					"the model %q (%s) is defined nowhere", model, use.what))
			}
		}
		return found
	},
}

var modelWithoutAccess = Check{
	ID:       "model-without-access",
	Severity: Warning,
	Why:      "Nobody but the superuser can use a model without access rules.",
	Needs:    Needs{Python: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		granted, anything := map[string]bool{}, map[string]bool{}
		for _, m := range in.installable() {
			for _, right := range d.modules[m].access {
				_, id, _ := strings.Cut(right.model, ".")
				granted[id] = true
				anything[m.Name] = anything[m.Name] || right.model == "" // by name, or computed: it may be any
			}
		}
		for _, m := range in.installable() {
			if anything[m.Name] {
				continue
			}
			for _, f := range m.Files {
				if !loadable(m, f) || f.Python == nil {
					continue
				}
				for _, model := range f.Python.Models {
					name := model.Name
					if name == "" || model.Dynamic || model.Kind == "AbstractModel" || slices.Contains(model.Inherit, name) {
						continue
					}
					if in.Base != nil && in.Base.Models[name] || granted["model_"+modelID(name)] || d.models.abstract[name] {
						continue
					}
					found = append(found, m.at(f.Path, model.Line,
						"add a line for model_"+modelID(name)+" to security/ir.model.access.csv, and name that file in the manifest's \"data\"",
						"the new model %q has no access rule", name))
				}
			}
		}
		return found
	},
}
