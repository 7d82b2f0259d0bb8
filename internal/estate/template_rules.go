package estate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/secret"
)

func (t *TenantTemplate) fill(given func(string) bool) {
	or(given, "hosting", &t.Hosting, Shared)
}

// template checks a TenantTemplate by itself.
func (d *document) template(t *TenantTemplate) {
	d.name("name", t.Name)
	for _, list := range []struct{ field, what string }{{"environments", "the environments where tenants may be made from it"}, {"hosts", "the host names of a tenant, with {name} for its name"}} {
		d.need(list.field, list.what)
	}
	d.once("environments", t.Environments)
	d.once("hosts", t.Hosts)
	if d.given("hosts") && len(t.Hosts) == 0 && !d.unread("hosts") {
		d.problem("hosts", "is empty; at least one host name expected", "for example {name}.shops.example")
	}
	if d.given("environments") && len(t.Environments) == 0 && !d.unread("environments") {
		d.problem("environments", "is empty; the name of an environment expected", "")
	}
	for i, host := range t.Hosts[:min(len(t.Hosts), maxList)] {
		field := fmt.Sprintf("hosts[%d]", i)
		switch {
		case d.unread(field):
		case !strings.Contains(host, nameMark):
			d.problem(field, shorten(host)+" has no {name} in it: it would lead to every tenant that is made from this template", "for example {name}."+shortenBare(host))
		default:
			d.host(field, strings.ReplaceAll(host, nameMark, "x"))
		}
	}
	if d.given("hosting") && !d.unread("hosting") {
		d.oneOf("hosting", string(t.Hosting), hostings)
	}
	d.contents(t.Modules, t.Languages)
	if d.given("ring") && !d.unread("ring") {
		d.name("ring", t.Ring)
	}
	d.labels("labels", t.Labels)
	if !d.unread("data") && t.Data != "" {
		if parts := strings.Split(t.Data, "/"); len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			d.problem("data", shorten(t.Data)+" is no tenant and no checkpoint; ENVIRONMENT/TENANT or ENVIRONMENT/TENANT/CHECKPOINT expected", "")
		}
	}
	switch {
	case d.unread("admin_password"):
	case t.AdminPassword != "" && !secret.Is(t.AdminPassword):
		d.problem("admin_password", "is no reference to a secret", secret.Forms+"; the secret itself never stands here")
	case t.AdminPassword == "" && t.Data == "" && !d.unread("data"):
		d.problem("admin_password", "is missing: without data of its own a tenant would begin with Odoo's user admin, whose password everybody knows", "env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY, or data: with a tenant to begin with")
	}
}

// templatesTogether holds the templates against environments, rings and tenants.
func (all *declarations) templatesTogether() {
	var environments []string
	rings, tenants := map[string][]string{}, map[string]bool{}
	for _, e := range all.environments {
		environments = append(environments, e.value.Name)
		for _, r := range e.value.Rings {
			rings[e.value.Name] = append(rings[e.value.Name], r.Name)
		}
	}
	for _, t := range all.tenants {
		tenants[t.value.Environment+"/"+t.value.Name] = true
	}
	first := map[string]*document{}
	for _, t := range all.templates {
		if t.value.Name != "" {
			unique(first, t.value.Name, t.doc, "name", "there is a TenantTemplate "+shorten(t.value.Name)+" already")
		}
		for i, in := range t.value.Environments {
			field := fmt.Sprintf("environments[%d]", i)
			if !slices.Contains(environments, in) {
				if in != "" && !t.doc.unread(field) && !all.unreadable() {
					t.doc.problem(field, "there is no Environment "+shorten(in), suggest(in, environments))
				}
				continue
			}
			if r := t.value.Ring; r != "" && len(rings[in]) > 0 && !slices.Contains(rings[in], r) && !t.doc.unread("ring") {
				t.doc.problem("ring", fmt.Sprintf("Environment %s has no ring %s", in, shorten(r)), suggest(r, rings[in]))
			}
		}
		if parts := strings.Split(t.value.Data, "/"); len(parts) == 2 && !slices.Contains(parts, "") && !tenants[t.value.Data] && !t.doc.unread("data") && !all.unreadable() {
			t.doc.problem("data", "there is no Tenant "+shorten(parts[1])+" in Environment "+shorten(parts[0]), "name a checkpoint of a tenant that is gone: ENVIRONMENT/TENANT/CHECKPOINT")
		}
	}
}
