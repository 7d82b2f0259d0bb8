package estate

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
)

// access checks an Access by itself.
func (d *document) access(a *Access) {
	for _, list := range []struct {
		field string
		size  int
	}{{"users", len(a.Users)}, {"groups", len(a.Groups)}} {
		if list.size > maxList {
			d.problem(list.field, fmt.Sprintf("has %d entries; at most %d are possible", list.size, maxList), "spread them over several documents")
		}
	}
	for i, g := range a.Groups[:min(len(a.Groups), maxList)] {
		if at := fmt.Sprintf("groups[%d]", i); !d.unread(at) {
			d.name(at+".name", g.Name)
			d.grants(at+".roles", g.Roles)
		}
	}
	for i, u := range a.Users[:min(len(a.Users), maxList)] {
		at := fmt.Sprintf("users[%d]", i)
		if d.unread(at) {
			continue
		}
		d.name(at+".name", u.Name)
		d.once(at+".groups", u.Groups)
		d.once(at+".emails", u.Emails)
		d.grants(at+".roles", u.Roles)
		for j, address := range u.Emails[:min(len(u.Emails), maxList)] {
			field := fmt.Sprintf("%s.emails[%d]", at, j)
			parsed, err := mail.ParseAddress(address)
			if !d.unread(field) && (err != nil || parsed.Address != address || len(address) > maxText) {
				d.problem(field, shorten(address)+" is no address; one like anna@example.com expected", "")
			}
		}
	}
}

// grants checks roles by themselves.
func (d *document) grants(at string, grants []Grant) {
	if len(grants) > maxList {
		d.problem(at, fmt.Sprintf("has %d entries; at most %d are possible", len(grants), maxList), "")
		return
	}
	for i, g := range grants {
		field := fmt.Sprintf("%s[%d]", at, i)
		if d.unread(field) {
			continue
		}
		d.need(field+".role", "a role")
		if d.given(field+".role") && !d.unread(field+".role") {
			d.oneOf(field+".role", string(g.Role), names(Roles))
		}
		d.once(field+".environments", g.Environments)
		if d.given(field+".environments") && !d.unread(field+".environments") && len(g.Environments) == 0 {
			d.problem(field+".environments", "is empty: the role would hold nowhere", "name environments, or remove the line: then it holds in all")
		}
	}
}

// approvals checks what an Environment asks of people.
func (d *document) approvals(a *Approvals) {
	if a == nil {
		return
	}
	within(d, "approvals.required", a.Required, peopleSpan, "0 asks nobody")
	within(d, "approvals.breaking", a.Breaking, peopleSpan, "0 asks nobody")
	within(d, "approvals.expires", a.Expires, durationSpans["approvals.expires"], "")
	if d.given("approvals.breaking") && !d.unread("approvals.breaking") && !d.unread("approvals.required") && a.Breaking < a.Required {
		d.problem("approvals.breaking", fmt.Sprintf("%d is fewer than the %d that any release needs", a.Breaking, a.Required), "an estate may ask for more for class breaking, never for less")
	}
	d.approvers("approvals.roles", a.Roles)
	if a.Infrastructure != nil {
		within(d, "approvals.infrastructure.required", a.Infrastructure.Required, peopleSpan, "0 asks nobody")
		d.approvers("approvals.infrastructure.roles", a.Infrastructure.Roles)
	}
}

func (d *document) approvers(field string, roles []Role) {
	d.once(field, names(roles))
	if d.given(field) && !d.unread(field) && len(roles) == 0 {
		d.problem(field, "is empty: nobody could ever approve", "name roles, or remove the line")
	}
	for i, r := range roles[:min(len(roles), maxList)] {
		if at := fmt.Sprintf("%s[%d]", field, i); !d.unread(at) {
			d.oneOf(at, string(r), names(ApprovingRoles))
		}
	}
}

func names(roles []Role) []string {
	list := make([]string, len(roles))
	for i, r := range roles {
		list[i] = string(r)
	}
	return list
}

// accesses compares the documents of kind Access with each other and with the environments: a name is one user's,
// an address too, for a commit has one author.
func (all *declarations) accesses() {
	var environments, groups []string
	for _, e := range all.environments {
		environments = append(environments, e.value.Name)
	}
	users, named, addresses := map[string]string{}, map[string]string{}, map[string]string{}
	for _, a := range all.access {
		for i, g := range a.value.Groups {
			if g.Name != "" {
				field := fmt.Sprintf("groups[%d].name", i)
				only(named, g.Name, a.doc, field, "there is a group "+shorten(g.Name)+" already")
				groups = append(groups, g.Name)
			}
		}
	}
	for _, a := range all.access {
		for i, g := range a.value.Groups {
			all.granted(a.doc, fmt.Sprintf("groups[%d]", i), g.Roles, environments)
		}
		for i, u := range a.value.Users {
			at := fmt.Sprintf("users[%d]", i)
			if u.Name != "" {
				only(users, u.Name, a.doc, at+".name", "there is a user "+shorten(u.Name)+" already")
			}
			for j, group := range u.Groups {
				if field := fmt.Sprintf("%s.groups[%d]", at, j); !slices.Contains(groups, group) && !a.doc.unread(field) && !all.unreadable() {
					a.doc.problem(field, "there is no group "+shorten(group), suggest(group, groups))
				}
			}
			for j, address := range u.Emails {
				if slices.Index(u.Emails, address) == j && address != "" { // twice in one list is reported there
					only(addresses, strings.ToLower(address), a.doc, fmt.Sprintf("%s.emails[%d]", at, j), shorten(address)+" is another user's already")
				}
			}
			all.granted(a.doc, at, u.Roles, environments)
		}
	}
}

// only reports a second one of what there may be one of, also in the same document; first knows the places.
func only(first map[string]string, key string, d *document, field, message string) {
	if before, twice := first[key]; twice {
		d.problem(field, message, "see "+before)
		return
	}
	first[key] = fmt.Sprintf("%s:%d", d.file, d.where[field].line)
}

// granted finds roles in environments that there are not.
func (all *declarations) granted(d *document, at string, grants []Grant, environments []string) {
	for i, g := range grants {
		for j, name := range g.Environments {
			field := fmt.Sprintf("%s.roles[%d].environments[%d]", at, i, j)
			if !slices.Contains(environments, name) && !d.unread(field) && !all.unreadable() {
				d.problem(field, "there is no Environment "+shorten(name), suggest(name, environments))
			}
		}
	}
}
