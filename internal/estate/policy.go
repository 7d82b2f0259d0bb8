package estate

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Policy is a set of rules that must hold before a promotion touches anything. kind: Policy.
type Policy struct {
	Name         string            `yaml:"name" json:"name"`
	Environments []string          `yaml:"environments" json:"environments,omitempty"` // it holds in these alone; default: in all
	Tenants      map[string]string `yaml:"tenants" json:"tenants,omitempty"`           // it holds for tenants with all of these labels; default: for all
	Rings        []string          `yaml:"rings" json:"rings,omitempty"`               // it holds for tenants of these rings; default: of all
	Classes      []string          `yaml:"classes" json:"classes,omitempty"`           // it holds for releases of these classes: swap, compatible, breaking; default: of all
	Rules        []PolicyRule      `yaml:"rules" json:"rules"`                         // each of them must hold

	places map[string]position // of what was given
	texts  map[string]position // of the first character of each expression
	file   string
}

// PolicyRule is one condition: an expression over facts (see docs/gates.md), or a ready one by its name.
type PolicyRule struct {
	ID         string            `yaml:"id" json:"id"`                           // what people call the rule; default: the name in use
	Use        string            `yaml:"use" json:"use,omitempty"`               // name of a ready rule, see: waybill policy list --library; instead of expr
	With       map[string]string `yaml:"with" json:"with,omitempty"`             // parameters of the ready rule
	Expr       string            `yaml:"expr" json:"expr,omitempty"`             // condition in CEL; it must be true
	Message    string            `yaml:"message" json:"message,omitempty"`       // what is told when it does not hold
	Why        string            `yaml:"why" json:"why,omitempty"`               // why there is the rule; needed beside expr
	Severity   string            `yaml:"severity" json:"severity,omitempty"`     // deny keeps the promotion from going on, warn is told and no more; default deny
	Emergency  string            `yaml:"emergency" json:"emergency,omitempty"`   // whether an emergency promotion must meet it too: keep or skip; default keep
	Exceptions []PolicyException `yaml:"exceptions" json:"exceptions,omitempty"` // what need not meet the rule, for a while
}

// PolicyException lets something pass a rule until a date. All that is named must match.
type PolicyException struct {
	Environment string `yaml:"environment" json:"environment,omitempty"`
	Tenant      string `yaml:"tenant" json:"tenant,omitempty"`
	Release     string `yaml:"release" json:"release,omitempty"` // name, commit or digest
	Reason      string `yaml:"reason" json:"reason"`             // required: why this may pass, for now
	Expires     string `yaml:"expires" json:"expires"`           // required: the last day on which it holds, like 2027-03-31 (UTC)
}

// Until returns the moment from which the exception no longer holds.
func (x PolicyException) Until() time.Time { return CheckException{Expires: x.Expires}.Until() }

// Selects says whether the policy holds for a tenant of an environment.
func (p Policy) Selects(environment string, t Tenant) bool {
	if len(p.Environments) > 0 && !slices.Contains(p.Environments, environment) || len(p.Rings) > 0 && !slices.Contains(p.Rings, t.Ring) {
		return false
	}
	for _, key := range slices.Sorted(maps.Keys(p.Tenants)) {
		if t.Labels[key] != p.Tenants[key] {
			return false
		}
	}
	return true
}

// Place returns where in the estate a field stands, as "file:line"; empty for a policy that was not read from a file.
func (p Policy) Place(field string) string {
	if p.file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.file, p.nearest(field).line)
}

func (p Policy) nearest(field string) position {
	for ; field != ""; field = parent(field) {
		if at, ok := p.places[field]; ok {
			return at
		}
	}
	return p.places[""]
}

// Problem says what is wrong with a field. line and column lead to a place inside the field's text, both from
// 1; 0 where it is about the whole field.
func (p Policy) Problem(field string, line, column int, message, hint string) *Problem {
	at := p.nearest(field)
	if start, ok := p.texts[field]; ok && line > 0 && column > 0 {
		at = position{start.line + line - 1, start.column + column - 1}
	}
	return &Problem{File: p.file, Line: at.line, Column: at.column, Field: field, Message: message, Hint: hint}
}

// PoliciesFor are the policies that hold for a tenant of an environment, in the order of their names.
func (e *Estate) PoliciesFor(environment string, t Tenant) []Policy {
	var found []Policy
	for _, p := range e.Policies {
		if p.Selects(environment, t) {
			found = append(found, p)
		}
	}
	return found
}
