package check

import (
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
)

// dataReader collects what a module's data files define and name, in the order of loading.
type dataReader struct {
	module *Module
	data   *moduleData
	file   *dataFile
	doc    *document
	order  int
}

func (r *dataReader) read(f *dataFile) {
	r.file = f
	switch strings.ToLower(path.Ext(f.name)) {
	case ".xml":
		doc, err := readXML(f.file.Content)
		if errors.As(err, &f.err) {
			return
		}
		r.doc = doc
		if f.err = structure(doc.root); f.err != nil {
			return
		}
		r.root(doc.root)
		r.doc = nil
	case ".csv":
		r.csv(f)
	}
}

func (r *dataReader) at(line int) place {
	r.order++
	return place{r.file, line, r.order}
}

// qualify adds the module to an external id that has none.
func (r *dataReader) qualify(id string) string {
	if id == "" || strings.Contains(id, ".") {
		return id
	}
	return r.module.Name + "." + id
}

func (r *dataReader) define(id, model string, line int) {
	if id != "" {
		r.data.records = append(r.data.records, record{r.qualify(id), model, r.at(line)})
	}
}

func (r *dataReader) refer(e *element, id, what string, soft bool) {
	if id = strings.TrimSpace(id); id != "" {
		r.data.refs = append(r.data.refs, reference{id: r.qualify(id), what: what, soft: soft, place: r.at(r.doc.lineOf(e, id))})
	}
}

func (r *dataReader) use(e *element, model, what string) {
	if model != "" {
		r.data.uses = append(r.data.uses, modelUse{model, what, r.at(r.doc.lineOf(e, model))})
	}
}

func (r *dataReader) root(root *element) {
	r.evaluated(root, "context", "uid")
	for _, e := range root.children {
		switch e.name {
		case "odoo", "openerp", "data":
			r.root(e)
		case "record":
			r.record(e)
		case "template":
			r.template(e)
		case "menuitem":
			r.menu(e)
		case "function":
			r.function(e)
		case "asset":
			r.define(e.get("id"), "ir.asset", e.line)
		case "act_window", "report": // up to series 13; later ones let them pass and do nothing
			r.define(e.get("id"), "", e.line)
		case "delete":
			r.use(e, e.get("model"), "delete")
		}
	}
}

var (
	refCall = regexp.MustCompile(`(?:^|[^.\w])ref\(\s*(?:'([^']+)'|"([^"]+)")\s*\)`)
	madeID  = regexp.MustCompile(`["']xml_?id["']\s*:\s*(?:'([^']+)'|"([^"]+)")`)
	percent = regexp.MustCompile(`(?:^|[^%])%\((.*?)\)[ds]`)
)

// maxNamed bounds how many references of one text are looked at.
const maxNamed = 2000

// evaluated finds the references in attributes that Odoo evaluates.
func (r *dataReader) evaluated(e *element, names ...string) {
	for _, name := range names {
		value, ok := e.lookup(name)
		if !ok {
			continue
		}
		if name == "uid" {
			r.refer(e, value, "uid", false)
			continue
		}
		for _, match := range refCall.FindAllStringSubmatch(value, maxNamed) {
			// Under a condition, it may never be asked for.
			r.refer(e, match[1]+match[2], "ref()", strings.Contains(value, " if "))
		}
		for _, match := range madeID.FindAllStringSubmatch(value, maxNamed) { // as _update_xmlids takes them
			r.define(match[1]+match[2], "", e.line)
		}
	}
}

func (r *dataReader) record(e *element) {
	id, model := e.get("id"), e.get("model")
	r.use(e, model, "record")
	r.evaluated(e, "context", "uid")
	force, hasForce := e.lookup("forcecreate")
	optional := hasForce && !truthy(force)
	foreign := strings.Contains(id, ".") && !strings.HasPrefix(id, r.module.Name+".")

	var nested []*element
	var right accessRight
	for _, f := range e.children {
		if f.name != "field" {
			continue
		}
		name := f.get("name")
		if strings.Contains(name, "@") {
			continue
		}
		if model == "ir.model.access" && (name == "model_id" || name == "group_id") {
			if target := r.target(f); name == "model_id" {
				right.model = target
			} else {
				right.group = target
			}
			continue
		}
		r.field(f, optional)
		r.named(model, name, f)
		for _, child := range f.children {
			if child.name == "record" {
				nested = append(nested, child)
			}
		}
		switch {
		case model == "ir.ui.view" && name == "key":
			r.data.views[strings.TrimSpace(f.text)] = true
		case model == "ir.attachment" && name == "url":
			r.data.urls = append(r.data.urls, f.text)
		}
	}
	if model == "ir.model.access" {
		right.id, right.place = r.qualify(id), r.at(e.line)
		r.data.access = append(r.data.access, right)
	}
	if foreign {
		r.data.refs = append(r.data.refs, reference{id: id, what: "record", own: true, soft: hasForce, place: r.at(e.line)})
	}
	if !foreign || hasForce {
		r.define(id, model, e.line)
	}
	for _, child := range nested {
		r.record(child)
	}
}

// target is the one external id that a field is set to; empty where that is not plain.
func (r *dataReader) target(f *element) string {
	if ref := f.get("ref"); ref != "" {
		return r.qualify(ref)
	}
	if match := refCall.FindStringSubmatch(f.get("eval")); match != nil {
		return r.qualify(match[1] + match[2])
	}
	return ""
}

func (r *dataReader) field(f *element, optional bool) {
	if ref := f.get("ref"); ref != "" && f.get("search") == "" && !optional {
		r.refer(f, ref, "ref", false)
	}
	r.evaluated(f, "eval", "search")
	if name := f.get("file"); name != "" {
		r.data.fileUses = append(r.data.fileUses, fileUse{strings.TrimLeft(name, "/"), r.at(r.doc.lineOf(f, name))})
	}
	switch f.get("type") {
	case "xml", "html":
		for _, child := range f.children {
			r.arch(child)
		}
	case "list", "tuple":
		for _, child := range f.children {
			r.field(child, optional)
		}
	}
}

// named collects models that a record's fields name.
func (r *dataReader) named(model, name string, f *element) {
	if _, ok := f.lookup("eval"); ok || len(f.children) > 0 {
		return
	}
	switch {
	case model == "ir.ui.view" && name == "model", model == "ir.actions.act_window" && name == "res_model", model == "ir.actions.report" && name == "model":
		r.use(f, f.text, "field "+name)
	}
}

// arch walks what a view or a template holds.
func (r *dataReader) arch(e *element) {
	for _, a := range e.attributes {
		for _, match := range percent.FindAllStringSubmatch(a.value, maxNamed) {
			r.refer(e, match[1], "%()d", false)
		}
		switch {
		case a.name == "groups" && e.name != "attribute":
			r.groups(e, a.value)
		case a.name == "t-call" && strings.Contains(a.value, ".") && !strings.ContainsAny(a.value, "{}#$ "):
			r.refer(e, a.value, "t-call", true)
		}
	}
	if e.name == "attribute" && e.get("name") == "groups" {
		r.groups(e, e.text)
		r.groups(e, e.get("add"))
	}
	for _, text := range []string{e.text, e.rest} {
		for _, match := range percent.FindAllStringSubmatch(text, maxNamed) {
			r.refer(e, match[1], "%()d", false)
		}
	}
	for _, child := range e.children {
		r.arch(child)
	}
}

func (r *dataReader) groups(e *element, list string) {
	for group := range strings.SplitSeq(list, ",") {
		group = strings.TrimPrefix(strings.TrimSpace(group), "!")
		if strings.Contains(group, ".") && !strings.ContainsAny(group, " {}()'\"") {
			r.refer(e, group, "groups", true)
		}
	}
}

func (r *dataReader) template(e *element) {
	id := e.get("id")
	if id == "" {
		id = e.get("t-name")
	}
	if parent := e.get("inherit_id"); parent != "" {
		r.refer(e, parent, "inherit_id", false)
	}
	if groups := e.get("groups"); groups != "" {
		for group := range strings.SplitSeq(groups, ",") {
			r.refer(e, group, "groups", false)
		}
	}
	if key := e.get("key"); key != "" {
		r.data.views[key] = true
	}
	for _, text := range []string{e.text, e.rest} {
		for _, match := range percent.FindAllStringSubmatch(text, maxNamed) {
			r.refer(e, match[1], "%()d", false)
		}
	}
	for _, child := range e.children {
		r.arch(child)
	}
	r.define(id, "ir.ui.view", e.line)
}

func (r *dataReader) menu(e *element) {
	for _, name := range []string{"parent", "action"} {
		if id := e.get(name); id != "" {
			r.refer(e, id, name, false)
		}
	}
	for group := range strings.SplitSeq(e.get("groups"), ",") {
		r.refer(e, strings.TrimPrefix(group, "-"), "groups", false)
	}
	r.define(e.get("id"), "ir.ui.menu", e.line)
	for _, child := range e.children {
		if child.name == "menuitem" {
			r.menu(child)
		}
	}
}

func (r *dataReader) function(e *element) {
	r.use(e, e.get("model"), "function")
	r.evaluated(e, "eval", "context", "uid")
	for _, child := range e.children {
		switch child.name {
		case "value":
			r.field(child, false)
		case "function":
			r.function(child)
		}
	}
}

// truthy is Odoo's reading of an attribute.
func truthy(value string) bool {
	value = strings.ToLower(strings.TrimSpace(value))
	return !slices.Contains([]string{"0", "false", "off"}, value)
}
