package check

import "strings"

var accessUnknownModel = Check{
	ID:       "access-unknown-model",
	Severity: Error,
	Why:      "Odoo stops at an access rule of a model that it does not know.",
	Needs:    Needs{Base: true, Python: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			for _, right := range d.modules[m].access {
				if right.model == "" || d.isKnown(in, right.model) {
					continue
				}
				module, name, _ := strings.Cut(right.model, ".")
				if d.isAbsent(in, m, module) {
					continue
				}
				fix := "write model_ and the model's _name with underscores, with the module that defines it in front"
				message := "the access rule %q is for %q, and there is no such model"
				if id := strings.TrimPrefix(name, "model_"); module == m.Name && d.models.hasID(id) {
					message = "the access rule %q is for %q, and " + m.Name + " neither defines nor extends that model"
					fix = "put the module that defines the model in front of " + name
				}
				found = append(found, right.finding(m, fix, message, right.id, right.model))
			}
		}
		return found
	},
}

var accessUnknownGroup = Check{
	ID:       "access-unknown-group",
	Severity: Error,
	Why:      "Odoo stops at an access rule for a group that it does not know.",
	Needs:    Needs{Base: true},
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			for _, right := range d.modules[m].access {
				if right.group == "" {
					continue
				}
				module, _, _ := strings.Cut(right.group, ".")
				if d.isAbsent(in, m, module) {
					continue
				}
				if !d.isKnown(in, right.group) {
					found = append(found, right.finding(m, "correct the group's external id, or define it",
						"the access rule %q is for the group %q, which nothing defines", right.id, right.group))
					continue
				}
				if defined, ok := d.defined[right.group]; ok && defined.model != "" && defined.model != "res.groups" {
					found = append(found, right.finding(m, "name a record of res.groups",
						"the access rule %q is for %q, which is a record of %s and no group", right.id, right.group, defined.model))
				}
			}
		}
		return found
	},
}
