package estate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	maxRules = 100  // of one policy
	maxExpr  = 4000 // bytes of an expression
)

// The words of a Policy.
var (
	severities  = []string{"deny", "warn"}
	emergencies = []string{"keep", "skip"}
)

// fill leaves the defaults to package gate: an empty word means the first of its list.
func (*Policy) fill(func(string) bool) {}

// policy checks a Policy by itself. What its expressions mean is not known here; package gate reads them.
func (d *document) policy(p *Policy) {
	p.file, p.places, p.texts = d.file, d.where, d.texts
	d.where[""] = d.at
	d.name("name", p.Name)
	d.once("environments", p.Environments)
	d.once("rings", p.Rings)
	d.once("classes", p.Classes)
	for i, ring := range p.Rings[:min(len(p.Rings), maxList)] {
		d.name(fmt.Sprintf("rings[%d]", i), ring)
	}
	for i, class := range p.Classes[:min(len(p.Classes), maxList)] {
		if field := fmt.Sprintf("classes[%d]", i); !d.unread(field) {
			d.oneOf(field, class, classes)
		}
	}
	d.labels("tenants", p.Tenants)
	d.need("rules", "at least one rule")
	switch {
	case d.unread("rules"):
	case d.given("rules") && len(p.Rules) == 0:
		d.problem("rules", "is empty; at least one rule expected", "remove the document where nothing shall be asked")
	case len(p.Rules) > maxRules:
		d.problem("rules", fmt.Sprintf("has %d entries; at most %d are possible", len(p.Rules), maxRules), "")
		return
	}
	seen := map[string]int{}
	for i := range p.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if d.unread(at) {
			continue
		}
		r := &p.Rules[i]
		d.policyRule(at, r)
		if r.ID == "" {
			continue
		}
		if first, twice := seen[r.ID]; twice {
			field := at + ".id"
			if !d.given(field) {
				field = at + ".use"
			}
			d.problem(field, shorten(r.ID)+" is the name of another rule already", fmt.Sprintf("see line %d; give one of them another id", d.where[fmt.Sprintf("rules[%d]", first)].line))
			continue
		}
		seen[r.ID] = i
	}
}

func (d *document) policyRule(at string, r *PolicyRule) {
	if r.ID == "" && !d.given(at+".id") {
		r.ID = r.Use
	}
	use, expr := d.given(at+".use"), d.given(at+".expr")
	switch {
	case use && expr:
		d.problem(at+".expr", "is given beside use; one of the two expected", "")
	case !use && !expr:
		d.problem(at, "has no condition; expr or use expected", "see: waybill policy list --library")
	case expr && !d.unread(at+".expr") && strings.TrimSpace(r.Expr) == "":
		d.problem(at+".expr", "is empty; a condition in CEL expected", "")
	case len(r.Expr) > maxExpr:
		d.problem(at+".expr", fmt.Sprintf("is longer than %d characters", maxExpr), "make several rules of it")
	}
	if d.given(at+".id") || expr {
		d.name(at+".id", r.ID)
	}
	if d.given(at+".with") && !use && !d.unread(at+".with") {
		d.problem(at+".with", "is given without use", "parameters belong to a ready rule")
	}
	if expr && !d.given(at+".why") || d.given(at+".why") && !d.unread(at+".why") && strings.TrimSpace(r.Why) == "" {
		d.problem(at+".why", "is missing; say why there is the rule", "those whom it stops will ask")
	}
	for _, f := range []struct{ field, value string }{{"message", r.Message}, {"why", r.Why}} {
		if len(f.value) > maxText {
			d.problem(at+"."+f.field, fmt.Sprintf("is longer than %d characters", maxText), "")
		}
	}
	if d.given(at+".severity") && !d.unread(at+".severity") {
		d.oneOf(at+".severity", r.Severity, severities)
	}
	if d.given(at+".emergency") && !d.unread(at+".emergency") {
		d.oneOf(at+".emergency", r.Emergency, emergencies)
	}
	if len(r.Exceptions) > maxList {
		d.problem(at+".exceptions", fmt.Sprintf("has %d entries; at most %d are possible", len(r.Exceptions), maxList), "")
		return
	}
	for i, x := range r.Exceptions {
		d.policyException(fmt.Sprintf("%s.exceptions[%d]", at, i), x)
	}
}

func (d *document) policyException(at string, x PolicyException) {
	if d.unread(at) {
		return
	}
	if !d.given(at+".environment") && !d.given(at+".tenant") && !d.given(at+".release") {
		d.problem(at, "lets everything pass; environment, tenant or release expected", "to switch a rule off for all, remove it")
	}
	for _, f := range []struct{ field, value string }{{at + ".environment", x.Environment}, {at + ".tenant", x.Tenant}, {at + ".release", x.Release}} {
		if d.given(f.field) && !d.unread(f.field) && (strings.TrimSpace(f.value) == "" || len(f.value) > maxText) {
			d.problem(f.field, "is empty or too long; a name expected", "")
		}
	}
	d.reasoned(at+".reason", x.Reason)
	d.day(at+".expires", x.Expires)
}

// policiesTogether compares policies with each other and with environments and tenants.
func (all *declarations) policiesTogether() {
	var environments []string
	for _, e := range all.environments {
		environments = append(environments, e.value.Name)
	}
	var tenants []string
	for _, t := range all.tenants {
		tenants = append(tenants, t.value.Name)
	}
	first := map[string]*document{}
	for _, p := range all.policies {
		if p.value.Name != "" {
			unique(first, p.value.Name, p.doc, "name", "there is a Policy "+shorten(p.value.Name)+" already")
		}
		if all.unreadable() {
			continue
		}
		known := func(field, name, kind string, names []string) {
			if name != "" && !slices.Contains(names, name) && !p.doc.unread(field) {
				p.doc.problem(field, "there is no "+kind+" "+shorten(name), suggest(name, names))
			}
		}
		for i, name := range p.value.Environments {
			known(fmt.Sprintf("environments[%d]", i), name, "Environment", environments)
		}
		for i, r := range p.value.Rules {
			for j, x := range r.Exceptions {
				at := fmt.Sprintf("rules[%d].exceptions[%d]", i, j)
				known(at+".environment", x.Environment, "Environment", environments)
				known(at+".tenant", x.Tenant, "Tenant", tenants)
			}
		}
	}
}

// textStart is where the first character of a text stands: behind the quote, or in the line under the mark of a block.
func textStart(node ast.Node) (position, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		at := place(n)
		if kind := n.GetToken().Type; kind == token.DoubleQuoteType || kind == token.SingleQuoteType {
			at.column++
		}
		return at, true
	case *ast.LiteralNode:
		if n.Value == nil || n.Value.GetToken() == nil || n.Start == nil {
			return position{}, false
		}
		// The lexer gives a block's text the place where it ends; its first line is the one under the mark.
		indent := 1
		if origin := n.Value.GetToken().Origin; origin != "" {
			first, _, _ := strings.Cut(origin, "\n")
			indent += len(first) - len(strings.TrimLeft(first, " "))
		}
		return position{n.Start.Position.Line + 1, indent}, true
	}
	return position{}, false
}
