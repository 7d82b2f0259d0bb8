package estate

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// kinds are the kinds of documents, in the order in which the reference explains them.
var kinds = []string{"Product", "Environment", "Tenant", "TenantTemplate", "Classification", "Checks", "Vulnerabilities", "Trust", "Policy", "Access", "Calendar", "Notifications", "Repository", "Target"}

// declared is an object together with the document that it was read from.
type declared[T any] struct {
	value T
	doc   *document
}

// declarations are all the objects of an estate before they are checked against each other.
type declarations struct {
	products        []declared[Product]
	environments    []declared[Environment]
	tenants         []declared[Tenant]
	templates       []declared[TenantTemplate]
	classifications []declared[Classification]
	checks          []declared[Checks]
	vulnerabilities []declared[Vulnerabilities]
	trust           []declared[Trust]
	policies        []declared[Policy]
	access          []declared[Access]
	calendars       []declared[Calendar]
	notifications   []declared[Notifications]
	repositories    []declared[Repository]
	targets         []declared[Target]
	report          report
	documents       int
}

// Parse reads an estate from the contents of its files, by path relative to the estate's folder.
// It fills in the defaults and checks everything; the error joins every Problem found. Root,
// Commit and Dirty stay empty.
func Parse(files map[string][]byte) (*Estate, error) {
	var all declarations
	if len(files) > maxFiles {
		return nil, &Problem{Message: fmt.Sprintf("the estate has %d files; at most %d are read", len(files), maxFiles)}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all.file(name, files[name])
	}
	e := all.assemble()
	if err := all.report.err(); err != nil {
		return nil, err
	}
	return e, nil
}

// file reads all documents of one file.
func (all *declarations) file(name string, content []byte) {
	if all.documents > maxDocuments {
		return
	}
	parsed, problem := syntax(name, content)
	if problem != nil {
		all.report.add(problem)
		return
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if _, empty := doc.Body.(*ast.NullNode); empty {
			continue
		}
		if _, comment := doc.Body.(*ast.CommentGroupNode); comment {
			continue
		}
		if all.documents++; all.documents > maxDocuments {
			all.report.add(&Problem{File: name, Message: fmt.Sprintf("the estate has more than %d documents", maxDocuments)})
			return
		}
		all.document(&document{file: name, at: place(doc.Body), where: map[string]position{}, texts: map[string]position{}, report: &all.report}, doc.Body)
	}
}

// document reads one document by its kind.
func (all *declarations) document(d *document, body ast.Node) {
	body, ok := d.resolve(body, "")
	if !ok {
		return
	}
	if !isMapping(body) {
		d.unreadable(body, "", found(body)+"; a document with kind: expected", "one of kind: "+strings.Join(kinds, ", "))
		return
	}
	for _, entry := range entries(body) {
		if key := entry.Key.GetToken(); key == nil || key.Value != "kind" {
			continue
		}
		text, isString := entry.Value.(*ast.StringNode)
		if !isString {
			d.unreadable(entry.Value, "kind", found(entry.Value)+"; the name of a kind expected", suggest("", kinds))
			return
		}
		d.kind = text.Value
		if !slices.Contains(kinds, d.kind) {
			d.unreadable(text, "kind", "unknown kind "+shorten(d.kind), suggest(d.kind, kinds))
			return
		}
	}
	switch d.kind {
	case "Product":
		all.products = read(all.products, d, body, (*Product).fill)
	case "Environment":
		all.environments = read(all.environments, d, body, (*Environment).fill)
	case "Tenant":
		all.tenants = read(all.tenants, d, body, (*Tenant).fill)
	case "TenantTemplate":
		all.templates = read(all.templates, d, body, (*TenantTemplate).fill)
	case "Classification":
		all.classifications = read(all.classifications, d, body, (*Classification).fill)
	case "Checks":
		all.checks = read(all.checks, d, body, (*Checks).fill)
	case "Vulnerabilities":
		all.vulnerabilities = read(all.vulnerabilities, d, body, (*Vulnerabilities).fill)
	case "Trust":
		all.trust = read(all.trust, d, body, (*Trust).fill)
	case "Policy":
		all.policies = read(all.policies, d, body, (*Policy).fill)
	case "Access":
		all.access = read(all.access, d, body, (*Access).fill)
	case "Calendar":
		all.calendars = read(all.calendars, d, body, (*Calendar).fill)
	case "Notifications":
		all.notifications = read(all.notifications, d, body, (*Notifications).fill)
	case "Repository":
		all.repositories = read(all.repositories, d, body, (*Repository).fill)
	case "Target":
		all.targets = read(all.targets, d, body, (*Target).fill)
	default:
		d.problem("kind", "is missing", suggest("", kinds))
	}
}

// read decodes a document and appends it to the list of its kind.
func read[T any](list []declared[T], d *document, body ast.Node, fill func(*T, func(string) bool)) []declared[T] {
	var value T
	d.decode(body, "", reflect.ValueOf(&value).Elem())
	fill(&value, d.given)
	return append(list, declared[T]{value, d})
}

// assemble checks every object, then all together, and puts them in order.
func (all *declarations) assemble() *Estate {
	for i := range all.products {
		all.products[i].doc.product(&all.products[i].value)
	}
	for i := range all.environments {
		all.environments[i].doc.environment(&all.environments[i].value)
	}
	for i := range all.tenants {
		all.tenants[i].doc.tenant(&all.tenants[i].value)
	}
	for i := range all.templates {
		all.templates[i].doc.template(&all.templates[i].value)
	}
	for i := range all.classifications {
		all.classifications[i].doc.classification(&all.classifications[i].value)
	}
	for i := range all.checks {
		all.checks[i].doc.checks(&all.checks[i].value)
	}
	for i := range all.vulnerabilities {
		all.vulnerabilities[i].doc.vulnerabilities(&all.vulnerabilities[i].value)
	}
	for i := range all.trust {
		all.trust[i].doc.trust(&all.trust[i].value)
	}
	for i := range all.access {
		all.access[i].doc.access(&all.access[i].value)
	}
	for i := range all.policies {
		all.policies[i].doc.policy(&all.policies[i].value)
	}
	for i := range all.calendars {
		all.calendars[i].doc.calendar(&all.calendars[i].value)
	}
	for i := range all.notifications {
		all.notifications[i].doc.notifications(&all.notifications[i].value)
	}
	for i := range all.repositories {
		all.repositories[i].doc.repository(&all.repositories[i].value)
	}
	for i := range all.targets {
		all.targets[i].doc.target(&all.targets[i].value)
	}
	all.together()
	if len(all.report.found) > 0 {
		return nil
	}
	e := &Estate{Product: all.products[0].value}
	for _, name := range e.Product.Environments {
		for _, env := range all.environments {
			if env.value.Name == name {
				e.Environments = append(e.Environments, env.value)
			}
		}
		var tenants []Tenant
		for _, t := range all.tenants {
			if t.value.Environment == name {
				tenants = append(tenants, t.value)
			}
		}
		slices.SortFunc(tenants, func(a, b Tenant) int { return strings.Compare(a.Name, b.Name) })
		e.Tenants = append(e.Tenants, tenants...)
	}
	for _, t := range all.templates {
		e.Templates = append(e.Templates, t.value)
	}
	slices.SortFunc(e.Templates, func(a, b TenantTemplate) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range all.checks { // at most one
		e.Checks = c.value
	}
	for i := range all.vulnerabilities { // at most one
		e.Vulnerabilities = &all.vulnerabilities[i].value
	}
	for _, t := range all.trust {
		e.Trusts = append(e.Trusts, t.value)
	}
	for _, a := range all.access {
		e.Access.Users = append(e.Access.Users, a.value.Users...)
		e.Access.Groups = append(e.Access.Groups, a.value.Groups...)
	}
	for _, p := range all.policies {
		e.Policies = append(e.Policies, p.value)
	}
	slices.SortFunc(e.Policies, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range all.calendars {
		e.Calendars = append(e.Calendars, c.value)
	}
	for i := range all.notifications { // at most one
		e.Notifications = &all.notifications[i].value
	}
	for i := range all.repositories { // at most one
		e.Repository = &all.repositories[i].value
	}
	for _, name := range e.Product.Environments {
		for _, t := range all.targets {
			if t.value.Environment == name {
				e.Targets = append(e.Targets, t.value)
			}
		}
	}
	for _, c := range all.classifications {
		c.value.Reason = strings.TrimSpace(c.value.Reason)
		e.Classifications = append(e.Classifications, c.value)
	}
	return e
}
