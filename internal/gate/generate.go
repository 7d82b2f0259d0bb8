package gate

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// World is what facts may be in an estate; rules are looked at in it.
type World struct {
	Environments []string
	Tenants      []string
	Rings        []string
	Labels       map[string][]string // the values that each label has
	Roles        []string
}

// draw makes facts at random: mostly what a rule compares with and what lies right beside that, since a rule
// turns there, and ordinary values otherwise. The same seed gives the same facts.
type draw struct {
	random  *rand.Rand
	world   World
	bounds  map[string][]any // values that the rule compares a fact with
	words   []string         // all texts that the rule mentions
	numbers []int64
	reads   []string       // facts that the rule reads
	rest    map[string]any // something for all facts
}

func newDraw(x *expression, w World, seed uint64) *draw {
	d := &draw{random: rand.New(rand.NewPCG(seed, 1)), world: w, bounds: map[string][]any{}, reads: x.reads, rest: (&Facts{}).values().known}
	for _, leaf := range x.root.leaves() {
		if leaf.compare == "" || leaf.fact == "" {
			continue
		}
		d.bounds[leaf.fact] = append(d.bounds[leaf.fact], constants(leaf.right)...)
	}
	for _, v := range constants(x.ast.Expr()) {
		switch v := v.(type) {
		case string:
			d.words = append(d.words, v)
		case int64:
			d.numbers = append(d.numbers, v)
		}
	}
	return d
}

// constants are the literal values within an expression: texts, whole numbers, lengths and times.
func constants(e ast.Expr) []any {
	var found []any
	walk(e, nil, func(e ast.Expr, _ []string) bool {
		if e.Kind() == ast.CallKind && len(e.AsCall().Args()) == 1 && e.AsCall().Args()[0].Kind() == ast.LiteralKind {
			text, _ := e.AsCall().Args()[0].AsLiteral().(types.String)
			switch e.AsCall().FunctionName() {
			case "duration":
				if d, err := time.ParseDuration(string(text)); err == nil {
					found = append(found, d)
				}
				return false
			case "timestamp":
				if t, err := time.Parse(time.RFC3339, string(text)); err == nil {
					found = append(found, t)
				}
				return false
			}
		}
		if e.Kind() == ast.LiteralKind {
			found = append(found, native(e.AsLiteral()))
		}
		return true
	})
	return slices.DeleteFunc(found, func(v any) bool { return v == nil })
}

func native(v ref.Val) any {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Int:
		return int64(v)
	}
	return nil
}

func one[T any](r *rand.Rand, list ...T) T {
	var zero T
	if len(list) == 0 {
		return zero
	}
	return list[r.IntN(len(list))]
}

// facts are one draw.
func (d *draw) facts() values {
	v := values{known: maps.Clone(d.rest)}
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).Add(time.Duration(d.random.IntN(366*24*60)) * time.Minute)
	for _, name := range d.reads {
		v.known[name] = d.value(factsByName()[name], now)
	}
	v.known["now"] = now
	v.vars = activation(v.known)
	return v
}

func (d *draw) value(f Fact, now time.Time) any {
	var bound any
	if list := d.bounds[f.Name]; len(list) > 0 && d.random.IntN(4) > 0 {
		bound = one(d.random, list...)
	}
	switch f.kind.Kind() {
	case reflect.Bool:
		return d.random.IntN(2) == 0
	case reflect.String:
		if text, ok := bound.(string); ok && (f.Of == nil || slices.Contains(f.Of, text)) {
			return text
		}
		return d.text(f)
	case reflect.Int:
		if n, ok := bound.(int64); ok {
			return max(0, int(n)+d.random.IntN(3)-1)
		}
		return one(d.random, 0, 0, 1, 2, 3, 10, 100)
	case reflect.Map:
		labels := map[string]string{}
		for key, list := range d.world.Labels {
			if d.random.IntN(2) == 0 {
				labels[key] = one(d.random, list...)
			}
		}
		for i, word := range d.words { // a word beside another may be a label and its value
			if d.random.IntN(4) == 0 {
				labels[word] = one(d.random, append([]string{"x"}, d.words[i:]...)...)
			}
		}
		return labels
	case reflect.Slice:
		if f.Name == "approvals" {
			return d.approvals(now)
		}
		var list []string
		for range d.size() {
			list = append(list, one(d.random, append([]string{"sale", "stock", "acme_lane"}, d.words...)...))
		}
		return list
	}
	switch f.kind {
	case durationType:
		if b, ok := bound.(time.Duration); ok {
			return max(0, b+one(d.random, -time.Hour, -time.Second, 0, time.Second, time.Hour))
		}
		return one(d.random, 0, time.Second, time.Minute, time.Hour, 25*time.Hour, 8*24*time.Hour, 400*24*time.Hour)
	case timeType:
		if b, ok := bound.(time.Time); ok {
			return b.Add(one(d.random, -time.Hour, 0, time.Hour))
		}
		return now.Add(one(d.random, -400*24*time.Hour, -25*time.Hour, -time.Hour, time.Hour, 25*time.Hour))
	}
	return nil
}

func (d *draw) text(f Fact) string {
	switch {
	case f.Of != nil:
		return one(d.random, f.Of...)
	case strings.HasSuffix(f.Name, "environment.name"), f.Name == "previous.environment":
		return one(d.random, append([]string{"another"}, d.world.Environments...)...)
	case f.Name == "tenant.name":
		return one(d.random, append([]string{"another"}, d.world.Tenants...)...)
	case f.Name == "tenant.ring":
		return one(d.random, append([]string{""}, d.world.Rings...)...)
	case strings.HasSuffix(f.Name, "digest"), f.Name == "rehearsal.subject": // the same ones, so that they may be equal
		return one(d.random, "sha256:aaaa", "sha256:bbbb")
	case strings.HasSuffix(f.Name, "author"):
		return one(d.random, append([]string{"ann", "bob"}, d.words...)...)
	}
	return one(d.random, append([]string{"", "word"}, d.words...)...)
}

// size is the length of a list: a short one, or about a number that the rule mentions.
func (d *draw) size() int {
	if len(d.numbers) > 0 && d.random.IntN(2) == 0 {
		return int(min(max(0, one(d.random, d.numbers...)+d.random.Int64N(4)-1), 2*maxModules))
	}
	return d.random.IntN(4)
}

func (d *draw) approvals(now time.Time) []Approval {
	var list []Approval
	roles := append(append([]string{"approver", "operator", "security", "admin"}, d.world.Roles...), d.words...)
	for range d.size() {
		list = append(list, Approval{By: one(d.random, append([]string{"ann", "bob", "eve"}, d.words...)...), Roles: []string{one(d.random, roles...), one(d.random, roles...)}, At: now.Add(-one(d.random, time.Minute, 25*time.Hour))})
	}
	return list
}
