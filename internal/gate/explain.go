package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// Need is what a rule lacks: one thing (Text), all of several, or one of several.
type Need struct {
	All []Need `json:"all,omitempty"`
	Any []Need `json:"any,omitempty"`

	Text    string    `json:"text,omitempty"`    // in words: what was found and what is needed
	Part    string    `json:"part,omitempty"`    // of the expression
	Facts   []string  `json:"facts,omitempty"`   // that it reads
	Unknown []string  `json:"unknown,omitempty"` // those of them that are not known
	From    time.Time `json:"from,omitzero"`     // when it will hold by itself, if nothing else changes
	Final   bool      `json:"final,omitempty"`   // nothing that may still change would make it hold
}

// String says it in one sentence.
func (n Need) String() string {
	parts, word := n.All, "; "
	if len(n.Any) > 0 {
		parts, word = n.Any, ", or "
	}
	if len(parts) == 0 {
		if n.From.IsZero() {
			return n.Text
		}
		return n.Text + ": from " + instant(n.From)
	}
	var texts []string
	for _, part := range parts {
		text := part.String()
		if len(n.All) > 0 && len(part.Any) > 0 || len(n.Any) > 0 && len(part.All) > 0 {
			text = "(" + text + ")"
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, word)
}

// truth is a value of three-valued logic.
type truth int

const (
	no truth = iota
	unknown
	yes
)

// explainer reads the values of an evaluation's parts.
type explainer struct {
	x     *expression
	facts values
	state interpreter.EvalState
	err   error // of the whole; the parts have their own in state
}

func (x *expression) explain(v values) explainer {
	_, details, err := x.slow.Eval(v.vars)
	e := explainer{x: x, facts: v, err: err}
	if details != nil {
		e.state = details.State()
	}
	return e
}

// activation hands facts to CEL; what is not known is marked so.
func activation(known map[string]any) any {
	var patterns []*cel.AttributePatternType
	for _, f := range catalogue() {
		if _, given := known[f.Name]; !given {
			patterns = append(patterns, cel.AttributePattern(f.Name))
		}
	}
	vars, err := cel.PartialVars(known, patterns...)
	if err != nil {
		return known // plain facts: what is missing is an error, which allows nothing
	}
	return vars
}

// holds evaluates quickly. An error counts as unknown.
func (x *expression) holds(v values) truth {
	result, _, err := x.quick.Eval(v.vars)
	if err != nil {
		return unknown
	}
	return truthOf(result, true)
}

func truthOf(v ref.Val, wanted bool) truth {
	b, isBool := v.(types.Bool)
	switch {
	case !isBool:
		return unknown
	case bool(b) == wanted:
		return yes
	}
	return no
}

func (e explainer) value(of ast.Expr) ref.Val {
	if of == nil || e.state == nil {
		return nil
	}
	if of.Kind() == ast.LiteralKind {
		return of.AsLiteral()
	}
	v, ok := e.state.Value(of.ID())
	if !ok || types.IsUnknownOrError(v) {
		return nil
	}
	return v
}

// weigh says whether a condition holds, and if not, what it lacks.
func (e explainer) weigh(c *condition) (truth, Need) {
	switch {
	case c.leaf != nil:
		t := unknown
		if v := e.value(c.leaf); v != nil {
			t = truthOf(v, c.wanted)
		}
		if t == yes {
			return yes, Need{}
		}
		return t, e.lack(c)
	case len(c.choice) > 0:
		held, need := e.weigh(c.choice[0])
		switch {
		case held == yes:
			return e.weigh(c.choice[1])
		case held == no:
			return e.weigh(c.choice[2])
		}
		return unknown, need
	case len(c.all) > 0:
		worst, lacks := yes, []Need{}
		for _, part := range c.all {
			t, need := e.weigh(part)
			worst = min(worst, t)
			if t != yes {
				lacks = append(lacks, flat(need, true)...)
			}
		}
		return worst, together(lacks, true)
	}
	best, lacks := no, []Need{}
	for _, part := range c.any {
		t, need := e.weigh(part)
		best = max(best, t)
		if t != yes {
			lacks = append(lacks, flat(need, false)...)
		}
	}
	if best == yes {
		return yes, Need{}
	}
	return best, together(lacks, false)
}

// flat opens a need of the same kind: all of all, any of any.
func flat(n Need, all bool) []Need {
	switch {
	case all && len(n.All) > 0:
		return n.All
	case !all && len(n.Any) > 0:
		return n.Any
	}
	return []Need{n}
}

func together(lacks []Need, all bool) Need {
	isFinal := func(n Need) bool { return n.Final }
	switch {
	case len(lacks) == 1:
		return lacks[0]
	case all:
		n := Need{All: lacks, Final: slices.ContainsFunc(lacks, isFinal)}
		for _, part := range lacks { // it holds from when the last of them does
			if part.From.IsZero() {
				n.From = time.Time{}
				break
			}
			if part.From.After(n.From) {
				n.From = part.From
			}
		}
		return n
	}
	n := Need{Any: lacks, Final: !slices.ContainsFunc(lacks, func(n Need) bool { return !n.Final })}
	for _, part := range lacks {
		if !part.From.IsZero() && (n.From.IsZero() || part.From.Before(n.From)) {
			n.From = part.From
		}
	}
	return n
}

// lack says what a leaf lacks.
func (e explainer) lack(c *condition) Need {
	n := Need{Part: c.text, Facts: c.reads, Final: !slices.ContainsFunc(c.reads, e.facts.may)}
	for _, name := range c.reads {
		if _, known := e.facts.known[name]; !known {
			n.Unknown = append(n.Unknown, name)
		}
	}
	if len(n.Unknown) > 0 {
		var texts []string
		for _, name := range n.Unknown {
			text := label(name) + " is not known"
			if why := e.facts.why(name); why != "" {
				text += ": " + why
			}
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
		n.Text = strings.Join(texts, "; ")
		return n
	}
	if v, ok := e.stateOf(c.leaf); ok && types.IsError(v) {
		n.Text = fmt.Sprintf("%s cannot be evaluated: %v", c.text, v)
		return n
	}
	if e.err != nil && e.value(c.leaf) == nil {
		n.Text = fmt.Sprintf("%s cannot be evaluated: %v", c.text, e.err)
		return n
	}
	n.Text = e.sentence(c)
	n.From = e.from(c)
	n.Final = n.Final || e.never(c)
	return n
}

func (e explainer) stateOf(of ast.Expr) (ref.Val, bool) {
	if e.state == nil {
		return nil, false
	}
	return e.state.Value(of.ID())
}

// sentence says what was found and what is needed.
func (e explainer) sentence(c *condition) string {
	fact := factsByName()[c.fact]
	if c.compare == "" {
		switch {
		case c.fact != "" && fact.short != "" && c.wanted:
			return e.fill(fact.short, "", "")
		case c.fact != "" && c.wanted:
			return label(c.fact) + ": no, and yes is needed"
		case c.fact != "":
			return label(c.fact) + ": yes, which is not allowed"
		case c.wanted:
			return "not so: " + c.text
		}
		return "so, which is not allowed: " + written(e.x.ast, c.leaf)
	}
	name := c.fact
	if name != "" {
		name = label(name)
	} else {
		name = written(e.x.ast, c.left)
	}
	value, bound := say(e.value(c.left)), say(e.value(c.right))
	if right, ok := factOf(c.right); ok {
		bound = label(right) + " (" + bound + ")"
	}
	switch c.compare {
	case operators.GreaterEquals, operators.Greater:
		if _, isDuration := e.value(c.left).(types.Duration); isDuration && fact.short != "" {
			return e.fill(fact.short, value, bound)
		}
		return fmt.Sprintf("%s is %s, %s %s is needed", name, value, map[string]string{operators.GreaterEquals: "at least", operators.Greater: "more than"}[c.compare], bound)
	case operators.LessEquals, operators.Less:
		return fmt.Sprintf("%s is %s, %s %s is allowed", name, value, map[string]string{operators.LessEquals: "at most", operators.Less: "less than"}[c.compare], bound)
	case operators.Equals:
		return fmt.Sprintf("%s is %s, %s is needed", name, value, bound)
	case operators.NotEquals:
		return fmt.Sprintf("%s is %s, which is not allowed", name, value)
	}
	if !c.wanted { // "in"
		return fmt.Sprintf("%s is %s, which is not allowed", name, value)
	}
	return fmt.Sprintf("%s is %s, %s is needed", name, value, bound)
}

// fill puts values into a sentence of a fact.
func (e explainer) fill(sentence, value, bound string) string {
	sentence = strings.NewReplacer("{value}", value, "{bound}", bound).Replace(sentence)
	for _, f := range catalogue() {
		if mark := "{" + f.Name + "}"; strings.Contains(sentence, mark) {
			sentence = strings.ReplaceAll(sentence, mark, say(e.facts.known[f.Name]))
		}
	}
	return sentence
}

func label(name string) string { return factsByName()[name].label }
