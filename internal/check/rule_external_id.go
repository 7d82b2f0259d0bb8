package check

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

var externalIDUnknown = Check{
	ID:       "external-id-unknown",
	Severity: Error,
	Why:      "Odoo stops the installation or update at a reference to a record that nothing defines.",
	Needs:    Needs{Base: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		known := map[string]bool{}
		in.eachReference(func(m *Module, ref reference) {
			if _, ok := known[ref.id]; !ok {
				known[ref.id] = d.isKnown(in, ref.id)
			}
			if known[ref.id] {
				return
			}
			if ref.what == "t-call" && d.isTemplate(ref.id) {
				return
			}
			module, _, _ := strings.Cut(ref.id, ".")
			if d.isAbsent(in, m, module) {
				return
			}
			finding := ref.finding(m, "correct it, or define the record",
				"%s names %q, and nothing defines it", describe(ref), ref.id)
			if !in.hasModule(module) {
				finding.Message += "; there is no module " + module
			}
			if ref.soft || ref.file.demo {
				finding.Severity = Warning
			}
			found = append(found, finding)
		})
		return found
	},
}

var externalIDTooEarly = Check{
	ID:       "external-id-too-early",
	Severity: Error,
	Why:      "A database that has the module installs the update; a fresh one, or a rehearsal from scratch, stops.",
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		in.eachReference(func(m *Module, ref reference) {
			if ref.soft || ref.file.demo {
				return
			}
			defined, ok := d.defined[ref.id]
			owner, _, _ := strings.Cut(ref.id, ".")
			switch {
			case !ok && in.Base != nil && in.Base.DemoIDs.Has(ref.id):
				found = append(found, ref.finding(m, "define a record of your own in the manifest's \"data\"",
					"%s names %q, which only the base's demo data define", describe(ref), ref.id))
			case !ok || defined.module.Name != owner: // where others write to it, it is there before
			case defined.file.demo:
				found = append(found, ref.finding(m, "define it in a file of the manifest's \"data\"",
					"%s names %q, which only demo data define (%s)", describe(ref), ref.id, defined.file.path))
			case defined.module != m:
			case defined.order > ref.order && defined.file != ref.file:
				found = append(found, ref.finding(m, "name that file first in the manifest's \"data\"",
					"%s names %q before it is defined: %s is loaded later", describe(ref), ref.id, defined.file.path))
			case defined.order > ref.order && defined.line > ref.line:
				found = append(found, ref.finding(m, "move the definition up",
					"%s names %q before line %d defines it", describe(ref), ref.id, defined.line))
			}
		})
		return found
	},
}

var externalIDNotDepended = Check{
	ID:       "external-id-not-depended",
	Severity: Warning,
	Why:      "The record is there only where somebody installed its module for another reason.",
	Needs:    Needs{Base: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		if in.Base == nil {
			return nil
		}
		in.eachReference(func(m *Module, ref reference) {
			module, _, _ := strings.Cut(ref.id, ".")
			if ref.soft || ref.file.demo || module == m.Name || d.closure[m.Name][module] || !in.hasModule(module) {
				return
			}
			if !d.isKnown(in, ref.id) {
				return // the other check says so
			}
			found = append(found, ref.finding(m, "add "+module+" to the manifest's \"depends\", or take the reference out",
				"%s names %q, and %s does not depend on %s", describe(ref), ref.id, m.Name, module))
		})
		return found
	},
}

func describe(ref reference) string {
	switch {
	case ref.own:
		return "the record"
	case ref.what == "groups":
		return "the attribute groups"
	default:
		return ref.what
	}
}

// eachReference goes through all references, in the order of loading.
func (in *Input) eachReference(visit func(*Module, reference)) {
	d := in.index()
	for _, m := range in.installable() {
		for _, ref := range d.modules[m].refs {
			visit(m, ref)
		}
	}
}

// hasModule says whether a module is in the image, as far as that is known.
func (in *Input) hasModule(name string) bool {
	d := in.index()
	return d.byName[name] != nil || d.base[name]
}

// isAbsent says whether a module depends on one that is not there: one check says so, and what
// follows from it is not said again.
func (d *dataIndex) isAbsent(in *Input, m *Module, name string) bool {
	return d.closure[m.Name][name] && !in.hasModule(name)
}

var company = regexp.MustCompile(`^\d+_`)

// isKnown says whether a record is defined, may be defined by code, or cannot be known of.
func (d *dataIndex) isKnown(in *Input, id string) bool {
	if d.isDefined(in, id) {
		return true
	}
	module, name, ok := strings.Cut(id, ".")
	if !ok {
		return false
	}
	owner := d.byName[module]
	if owner == nil && in.Base == nil || owner != nil && d.modules[owner].partial {
		return true
	}
	if known, generated := d.generated(in, module, name); generated {
		return known
	}
	return d.isInherited(in, id) || owner != nil && definesInCode(owner, module, name)
}

// isDefined says whether a data file defines a record.
func (d *dataIndex) isDefined(in *Input, id string) bool {
	if _, ok := d.defined[id]; ok || d.loose[id] {
		return true
	}
	return in.Base != nil && (in.Base.ExternalIDs.Has(id) || in.Base.DemoIDs.Has(id))
}

// isInherited knows the records that Odoo makes along with another one, by _inherits: a product's
// template is called like the product, with "_product_template" behind.
func (d *dataIndex) isInherited(in *Input, id string) bool {
	for i := len(id) - 1; i > 0; i-- {
		if id[i] == '_' && d.isDefined(in, id[:i]) && (d.models.hasID(id[i+1:]) || !d.models.allKnown()) {
			return true
		}
	}
	return false
}

// generated judges the names that Odoo gives to records by itself.
func (d *dataIndex) generated(in *Input, module, name string) (known, generated bool) {
	switch {
	case strings.HasPrefix(name, "model_inherit__"), strings.HasPrefix(name, "selection__"), strings.HasPrefix(name, "constraint_"):
		return true, true
	case strings.HasPrefix(name, "field_") && strings.Contains(name, "__"):
		return true, true
	case module == "base" && (strings.HasPrefix(name, "module_") || strings.HasPrefix(name, "lang_")):
		return true, true // one for each module and each category of modules
	case company.MatchString(name):
		return true, true // of a company's chart of accounts
	case strings.HasPrefix(name, "model_"):
		return d.hasModelID(in, module, strings.TrimPrefix(name, "model_")), true
	}
	return false, false
}

// hasModelID says whether a module makes the record of a model: the one that defines it does, and
// each that extends it.
func (d *dataIndex) hasModelID(in *Input, module, id string) bool {
	if owner := d.byName[module]; owner != nil {
		return d.models.by[module][id] || d.models.vague[module]
	}
	if in.Base == nil || len(in.Base.Models) == 0 {
		return true
	}
	return d.models.base[id]
}

// definesInCode says whether a module's own code may make a record of that name: it holds the name
// as a string, other than to look it up.
func definesInCode(m *Module, module, name string) bool {
	var quoted *regexp.Regexp
	for _, f := range m.Files {
		if !strings.HasSuffix(f.Path, ".py") || !bytes.Contains(f.Content, []byte(name)) {
			continue
		}
		if quoted == nil {
			quoted = regexp.MustCompile(`(ref|get_object|xmlid_to_\w+)?\(?\s*(f?["'](?:` + regexp.QuoteMeta(module) + `\.)?` + regexp.QuoteMeta(name) + `["'])`)
		}
		for _, match := range quoted.FindAllSubmatch(f.Content, -1) {
			if len(match[1]) == 0 {
				return true
			}
		}
	}
	return false
}

func (d *dataIndex) isTemplate(key string) bool {
	for _, data := range d.modules {
		if data.views[key] {
			return true
		}
	}
	return false
}

// dependencyClosure is all that each module of the product depends on, the base's modules included.
func (in *Input) dependencyClosure(byName map[string]*Module) map[string]map[string]bool {
	depends := map[string][]string{}
	if in.Base != nil {
		for _, m := range in.Base.Modules {
			depends[m.Name] = m.Depends
		}
	}
	for name, m := range byName {
		depends[name] = m.Manifest.Depends
	}
	closure := map[string]map[string]bool{}
	for name := range byName {
		reached := map[string]bool{"base": true}
		todo := slices.Clone(depends[name])
		for len(todo) > 0 {
			next := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !reached[next] {
				reached[next] = true
				todo = append(todo, depends[next]...)
			}
		}
		closure[name] = reached
	}
	return closure
}
