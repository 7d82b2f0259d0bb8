package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/waybill-dev/waybill/internal/estate"
)

// draws is how many facts a rule is tried on.
const draws = 1500

// WorldOf is what facts may be in an estate.
func WorldOf(e *estate.Estate) World {
	w := World{Labels: map[string][]string{}}
	add := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, env := range e.Environments {
		add(&w.Environments, env.Name)
	}
	for _, t := range e.Tenants {
		add(&w.Tenants, t.Name)
		add(&w.Rings, t.Ring)
		for key, value := range t.Labels {
			values := w.Labels[key]
			add(&values, value)
			w.Labels[key] = values
		}
	}
	return w
}

// Lint looks for rules that do not do what they seem to: that always hold or never can, parts without effect,
// names that nothing in the estate has. It tries each rule on many facts made at random, so it may miss what
// turns at a very rare value; what it reports as always or never so was so for all of them.
func Lint(e *estate.Estate) ([]*estate.Problem, error) {
	set, err := Compile(e.Policies)
	if err != nil {
		return nil, err
	}
	w := WorldOf(e)
	var found []*estate.Problem
	at := map[string]int{}
	for i := range set.rules {
		r := &set.rules[i]
		index := at[r.policy.Name]
		at[r.policy.Name]++
		field := fmt.Sprintf("rules[%d]", index)
		place := field + ".expr"
		if r.policy.Rules[index].Use != "" {
			place = field + ".use"
		}
		add := func(m mistake) {
			if strings.HasSuffix(place, ".use") {
				m.line, m.column = 0, 0
			}
			found = append(found, r.policy.Problem(place, m.line, m.column, m.message, m.hint))
		}
		for _, m := range lintRule(r.x, w) {
			add(m)
		}
	}
	for _, p := range e.Policies {
		found = append(found, lintSelectors(p, e, w)...)
	}
	return found, nil
}

func lintSelectors(p estate.Policy, e *estate.Estate, w World) []*estate.Problem {
	var found []*estate.Problem
	known := slices.Sorted(maps.Keys(w.Labels))
	for _, key := range slices.Sorted(maps.Keys(p.Tenants)) {
		field := "tenants." + key
		switch {
		case !slices.Contains(known, key):
			found = append(found, p.Problem(field, 0, 0, "no tenant has a label "+key, meant(key, known)))
		case !slices.Contains(w.Labels[key], p.Tenants[key]):
			found = append(found, p.Problem(field, 0, 0, fmt.Sprintf("no tenant's label %s is %s", key, p.Tenants[key]), meant(p.Tenants[key], w.Labels[key])))
		}
	}
	for i, ring := range p.Rings {
		if !slices.Contains(w.Rings, ring) {
			found = append(found, p.Problem(fmt.Sprintf("rings[%d]", i), 0, 0, "no tenant is in ring "+ring, meant(ring, w.Rings)))
		}
	}
	if len(found) == 0 && !slices.ContainsFunc(e.Tenants, func(t estate.Tenant) bool { return p.Selects(t.Environment, t) }) {
		found = append(found, p.Problem("name", 0, 0, "the policy holds for no tenant of the estate", "see its environments, tenants and rings"))
	}
	return found
}

func meant(word string, known []string) string {
	if near, ok := estate.Nearest(word, known); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(known, ", ")
}

// lintRule looks at one rule.
func lintRule(x *expression, w World) []mistake {
	if len(x.reads) == 0 {
		return []mistake{{1, 1, "reads no fact: it is always the same", "compare a fact with something"}}
	}
	found := unknownNames(x, w)
	always, never := true, true
	leaves := x.root.leaves()
	held, failed := make([]bool, len(leaves)), make([]bool, len(leaves))
	d := newDraw(x, w, 7)
	for range draws {
		e := x.explain(d.facts())
		if value := e.value(x.ast.Expr()); value != nil {
			never = never && truthOf(value, true) != yes
			always = always && truthOf(value, true) != no
		}
		for i, leaf := range leaves {
			if value := e.value(leaf.leaf); value != nil {
				held[i] = held[i] || truthOf(value, leaf.wanted) == yes
				failed[i] = failed[i] || truthOf(value, leaf.wanted) == no
			}
		}
	}
	whole := false
	switch {
	case always:
		found = append(found, mistake{1, 1, "never keeps anything out: it held for all facts that were tried", "look for a slip in what it compares, or an || that is always so"})
		whole = true
	case never:
		found = append(found, mistake{1, 1, "can never hold: it failed for all facts that were tried", "look for conditions that contradict each other"})
		whole = true
	}
	for i, leaf := range leaves {
		if len(leaf.reads) == 0 {
			found = append(found, mistakeAt(x.ast, leaf.leaf, "the part "+leaf.text+" reads no fact: it is always the same", "remove it"))
			continue
		}
		if whole && len(leaves) == 1 {
			continue
		}
		switch {
		case held[i] && !failed[i]:
			found = append(found, mistakeAt(x.ast, firstOf(leaf.leaf), "the part "+leaf.text+" always holds", "it has no effect, or makes what stands beside it vain"))
		case failed[i] && !held[i]:
			found = append(found, mistakeAt(x.ast, firstOf(leaf.leaf), "the part "+leaf.text+" never holds", "it has no effect, or can never be met"))
		}
	}
	return found
}

// firstOf is the part of a comparison that stands first, which is where people look.
func firstOf(e ast.Expr) ast.Expr {
	for e.Kind() == ast.CallKind {
		c := e.AsCall()
		switch {
		case c.IsMemberFunction():
			e = c.Target()
		case len(c.Args()) > 0 && c.FunctionName() != operators.LogicalNot:
			e = c.Args()[0]
		default:
			return e
		}
	}
	return e
}

// unknownNames finds comparisons with environments, tenants, rings and labels that the estate does not have.
func unknownNames(x *expression, w World) []mistake {
	var found []mistake
	names := map[string][]string{"environment.name": w.Environments, "previous.environment": w.Environments, "tenant.name": w.Tenants, "tenant.ring": w.Rings}
	kinds := map[string]string{"environment.name": "environment", "previous.environment": "environment", "tenant.name": "tenant", "tenant.ring": "ring"}
	for _, leaf := range x.root.leaves() {
		if known, ok := names[leaf.fact]; ok && leaf.compare != "" {
			for _, v := range constants(leaf.right) {
				if word, isText := v.(string); isText && word != "" && !slices.Contains(known, word) {
					found = append(found, mistakeAt(x.ast, firstOf(leaf.right), fmt.Sprintf("the estate has no %s %q", kinds[leaf.fact], word), meant(word, known)))
				}
			}
		}
	}
	walk(x.ast.Expr(), nil, func(e ast.Expr, _ []string) bool {
		if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
			return true
		}
		args := e.AsCall().Args()
		var key ast.Expr
		switch fact, other := args[0], args[1]; {
		case e.AsCall().FunctionName() == operators.Index && isFact(fact, "tenant.labels"):
			key = other
		case e.AsCall().FunctionName() == operators.In && isFact(other, "tenant.labels"):
			key = fact
		default:
			return true
		}
		if key.Kind() == ast.LiteralKind {
			if word, ok := key.AsLiteral().(types.String); ok && len(w.Labels[string(word)]) == 0 {
				found = append(found, mistakeAt(x.ast, key, fmt.Sprintf("no tenant has a label %q", string(word)), meant(string(word), slices.Sorted(maps.Keys(w.Labels)))))
			}
		}
		return true
	})
	return found
}

func isFact(e ast.Expr, name string) bool {
	found, ok := factOf(e)
	return ok && found == name
}
