package estate

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// together checks what only shows when all documents are known. Where a document could not be
// read, what depends on it is not judged: one slip gives one line.
func (all *declarations) together() {
	all.oneProduct()
	all.stages()
	all.listeners()
	all.tenancy()
	all.ringsTogether()
	all.templatesTogether()
	all.oneChecks()
	all.oneVulnerabilities()
	all.trusts()
	all.policiesTogether()
	all.accesses()
	all.calendarsTogether()
	all.notificationsTogether()
	all.gitops()
	first := map[string]*document{}
	for _, c := range all.classifications {
		if c.value.Release != "" {
			unique(first, c.value.Release, c.doc, "release", "has a classification already")
		}
	}
}

// unique reports a second object with the same key, naming the place of the first.
func unique(first map[string]*document, key string, d *document, field, message string) {
	before, twice := first[key]
	if !twice {
		first[key] = d
		return
	}
	at := before.at
	if where, ok := before.where[field]; ok {
		at = where
	}
	d.problem(field, fmt.Sprintf("%s; see %s:%d", message, before.file, at.line), "")
}

func (all *declarations) oneProduct() {
	if len(all.products) == 0 {
		if !all.unreadable() {
			all.report.add(&Problem{Message: "there is no document of kind: Product; exactly one expected", Hint: "waybill init writes a first estate"})
		}
		return
	}
	for _, second := range all.products[1:] {
		first := all.products[0].doc
		second.doc.problem("", fmt.Sprintf("is a second Product; exactly one expected; see %s:%d", first.file, first.at.line), "")
	}
}

// unreadable says whether a document was lost before its kind was known.
func (all *declarations) unreadable() bool {
	return slices.ContainsFunc(all.report.found, func(p *Problem) bool { return p.Field == "" || p.Field == "kind" })
}

// stages compares the Product's list with the Environments that exist.
func (all *declarations) stages() {
	var names []string
	first := map[string]*document{}
	for _, e := range all.environments {
		if name := e.value.Name; name != "" {
			unique(first, name, e.doc, "name", "there is an Environment "+shorten(name)+" already")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(all.products) == 0 || all.unreadable() {
		return
	}
	p := all.products[0]
	if !p.doc.unread("environments") {
		for _, e := range all.environments {
			if e.value.Name != "" && p.doc.given("environments") && !slices.Contains(p.value.Environments, e.value.Name) {
				e.doc.problem("name", "Environment "+shorten(e.value.Name)+" is not in the Product's list of environments",
					fmt.Sprintf("add it at %s:%d, in the place where a release shall pass it", p.doc.file, p.doc.where["environments"].line))
			}
		}
	}
	for i, name := range p.value.Environments {
		if name != "" && !slices.Contains(names, name) {
			p.doc.problem(fmt.Sprintf("environments[%d]", i), "there is no Environment "+shorten(name), suggest(name, names))
		}
	}
}

// listeners finds two environments that want the same port.
func (all *declarations) listeners() {
	type listener struct {
		address, environment, field string
		doc                         *document
	}
	var before []listener
	for _, e := range all.environments {
		k := e.value.Runtime.Docker
		if k == nil {
			continue
		}
		for _, now := range []listener{
			{k.HTTP, e.value.Name, "runtime.docker.http", e.doc}, {k.HTTPS, e.value.Name, "runtime.docker.https", e.doc},
		} {
			if now.address == "" {
				continue
			}
			for _, other := range before {
				if other.doc != now.doc && sameListener(other.address, now.address) {
					now.doc.problem(now.field, fmt.Sprintf("%s is taken by %s of Environment %s", now.address, other.field[strings.LastIndex(other.field, ".")+1:], shorten(other.environment)),
						fmt.Sprintf("see %s:%d", other.doc.file, other.doc.where[other.field].line))
					break
				}
			}
			before = append(before, now)
		}
	}
}

// tenancy checks tenants against environments and against each other.
func (all *declarations) tenancy() {
	servers := map[string]string{} // environment → server
	var environments []string
	for _, e := range all.environments {
		servers[e.value.Name] = server(e.value.Database.URL)
		environments = append(environments, e.value.Name)
	}
	names, hosts, databases := map[string]*document{}, map[string]*document{}, map[string]*document{}
	for _, t := range all.tenants {
		in := t.value.Environment
		at, known := servers[in]
		if in != "" && !known && !all.unreadable() {
			t.doc.problem("environment", "there is no Environment "+shorten(in), suggest(in, environments))
		}
		if t.value.Name != "" {
			unique(names, in+"/"+t.value.Name, t.doc, "name", fmt.Sprintf("Environment %s has a Tenant %s already", shorten(in), shorten(t.value.Name)))
		}
		for i, host := range t.value.Hosts {
			key := in + "/" + strings.ToLower(host)
			if hosts[key] != t.doc && host != "" { // twice in one list is reported there
				unique(hosts, key, t.doc, fmt.Sprintf("hosts[%d]", i), fmt.Sprintf("%s leads to another Tenant of Environment %s already", shorten(host), shorten(in)))
			}
		}
		if t.value.Database != "" && known {
			unique(databases, at+"/"+t.value.Database, t.doc, "database", "database "+shorten(t.value.Database)+" belongs to another Tenant of the same server already")
		}
	}
}

// server is host and port of a database URL, to tell two servers apart; empty: Waybill's own.
func server(raw string) string {
	u, err := url.Parse(raw)
	if raw == "" || err != nil {
		return ""
	}
	host, port := u.Hostname(), u.Port()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	if port == "" {
		port = "5432"
	}
	return strings.ToLower(host) + ":" + port
}
