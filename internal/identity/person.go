package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// LocalPrefix begins the name of whoever holds the data folder's own token. No user of an estate can have it.
const LocalPrefix = "local:"

// Person is somebody who has shown who they are.
type Person struct {
	Name   string
	Emails []string       // a commit with one of them is theirs
	Grants []estate.Grant // what they may, by the estate and the token together
	Groups []string

	Token   string    // ID of the token that was shown; empty for the data folder's own
	Expires time.Time // of that token; zero: it does not
}

// Local is whoever holds the data folder's own token: admin everywhere.
func Local(user string) Person {
	return Person{Name: LocalPrefix + user, Grants: []estate.Grant{{Role: Admin}}}
}

// IsLocal says whether the person holds the data folder's own token.
func (p Person) IsLocal() bool { return strings.HasPrefix(p.Name, LocalPrefix) }

// PersonOf is a user of the estate, with all that the estate gives.
func PersonOf(access *estate.Access, name string) (Person, bool) {
	u, ok := access.User(name)
	if !ok {
		return Person{}, false
	}
	return Person{Name: u.Name, Emails: u.Emails, Groups: u.Groups, Grants: access.GrantsOf(u)}, true
}

// PersonNamed is a user of the estate by name, or by one of their addresses.
func PersonNamed(access *estate.Access, name string) (Person, bool) {
	if !strings.Contains(name, "@") {
		return PersonOf(access, name)
	}
	for _, u := range access.Users {
		if slices.ContainsFunc(u.Emails, func(address string) bool { return strings.EqualFold(address, name) }) {
			return PersonOf(access, u.Name)
		}
	}
	return Person{}, false
}

// Limited is the person with no more than some roles in some environments; an empty list limits nothing.
func (p Person) Limited(roles []Role, environments []string) Person {
	var left []estate.Grant
	for _, g := range p.Grants {
		if len(roles) > 0 && !slices.Contains(roles, g.Role) {
			continue
		}
		switch {
		case len(environments) == 0:
		case len(g.Environments) == 0:
			g.Environments = slices.Clone(environments)
		default:
			g.Environments = intersection(g.Environments, environments)
			if len(g.Environments) == 0 {
				continue
			}
		}
		left = append(left, g)
	}
	p.Grants = left
	return p
}

func intersection(a, b []string) []string {
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}

// Roles are the person's roles in an environment, in the order of estate.Roles.
func (p Person) Roles(environment string) []Role {
	return p.roles(func(g estate.Grant) bool {
		return len(g.Environments) == 0 || slices.Contains(g.Environments, environment)
	})
}

func (p Person) roles(holds func(estate.Grant) bool) []Role {
	var found []Role
	for _, role := range estate.Roles {
		if slices.ContainsFunc(p.Grants, func(g estate.Grant) bool { return g.Role == role && holds(g) }) {
			found = append(found, role)
		}
	}
	return found
}

// Subject is what an operation is about.
type Subject struct {
	Environment string // empty where the operation concerns none
	Name        string // of the promotion, release, token …; for the record
	Own         bool   // the person has made or asked for it
}

// Denied says that somebody may not do what they asked for.
type Denied struct {
	Person    string
	Operation Operation
	Subject   Subject
	Reason    string
}

func (d *Denied) Error() string { return d.Reason }

// May returns a *Denied when the person may not do it, with what it would take.
func (p Person) May(op Operation, s Subject) error {
	rule, ok := RuleOf(op)
	deny := func(format string, args ...any) error {
		return &Denied{Person: p.Name, Operation: op, Subject: s, Reason: fmt.Sprintf(format, args...)}
	}
	if !ok {
		return deny("nobody may do %s: it is in no table", op)
	}
	var has []Role
	where := string(rule.Reach)
	switch rule.Reach {
	case Here:
		has, where = p.Roles(s.Environment), "in "+s.Environment
	case Everywhere:
		has = p.roles(func(g estate.Grant) bool { return len(g.Environments) == 0 })
		if s.Own { // what is one's own is nobody else's matter, wherever the role holds
			has = p.roles(func(estate.Grant) bool { return true })
		}
	default:
		has = p.roles(func(estate.Grant) bool { return true })
	}
	for _, role := range has {
		if rule.May(role, s.Own) {
			return nil
		}
	}
	does := rule.Does
	needs := rule.Others
	if s.Own {
		needs = rule.Own
		if slices.ContainsFunc(has, func(r Role) bool { return rule.May(r, false) }) {
			if len(needs) == 0 {
				return deny("%s may not %s that is their own: it takes somebody else with the role %s %s", p.Name, does, orList(rule.Others), where)
			}
			return deny("%s may not %s where it is their own: that takes %s %s, or somebody else", p.Name, does, orList(needs), where)
		}
		if len(needs) == 0 {
			needs = rule.Others
		}
	}
	return deny("%s may not %s: that takes the role %s %s, and %s %s", p.Name, does, orList(needs), where, p.Name, hasList(has, where))
}

func orList(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func hasList(roles []Role, where string) string {
	if len(roles) == 0 {
		return "has none " + where
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return "has " + strings.Join(words, ", ")
}

// Could returns a *Denied when no role of the person, wherever it holds, lets them do it, with whatever.
func (p Person) Could(op Operation) error {
	rule, _ := RuleOf(op)
	for _, role := range p.roles(func(estate.Grant) bool { return true }) {
		if rule.May(role, true) || rule.May(role, false) {
			return nil
		}
	}
	has := p.roles(func(estate.Grant) bool { return true })
	needs := rule.Others
	if len(needs) == 0 {
		needs = rule.Own
	}
	return &Denied{Person: p.Name, Operation: op, Reason: fmt.Sprintf("%s may not %s: that takes the role %s %s, and %s %s",
		p.Name, rule.Does, orList(needs), rule.Reach, p.Name, hasList(has, string(Anywhere)))}
}

// Made says whether the person is one of those who have made a release.
func (p Person) Made(m store.Makers) bool {
	return slices.Contains(m.People, p.Name) || slices.ContainsFunc(p.Emails, func(address string) bool { return slices.Contains(m.Emails, strings.ToLower(address)) })
}
