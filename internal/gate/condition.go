package gate

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/waybill-dev/waybill/internal/estate"
)

// condition is an expression as a tree of and and or; what is neither is a leaf. Negations have been pushed
// down to the leaves, where wanted says which value would do.
type condition struct {
	all    []*condition // every one must hold
	any    []*condition // one must hold
	choice []*condition // condition, then, else

	leaf   ast.Expr
	wanted bool
	text   string // the leaf as it was written
	reads  []string

	compare     string   // operator between left and right as it must hold, turned so that left reads facts; empty: no comparison
	left, right ast.Expr // of a comparison, or of "in"
	fact        string   // that left is, when it is a fact and nothing else
}

func newCondition(a *ast.AST, e ast.Expr, negated bool) *condition {
	each := func(list ...ast.Expr) (out []*condition) {
		for _, e := range list {
			out = append(out, newCondition(a, e, negated))
		}
		return out
	}
	switch {
	case isCall(e, operators.LogicalNot):
		return newCondition(a, e.AsCall().Args()[0], !negated)
	case isCall(e, operators.LogicalAnd) != negated && (isCall(e, operators.LogicalAnd) || isCall(e, operators.LogicalOr)):
		return &condition{all: each(e.AsCall().Args()...)}
	case isCall(e, operators.LogicalAnd), isCall(e, operators.LogicalOr):
		return &condition{any: each(e.AsCall().Args()...)}
	case isCall(e, operators.Conditional):
		args := e.AsCall().Args()
		return &condition{choice: []*condition{newCondition(a, args[0], false), newCondition(a, args[1], negated), newCondition(a, args[2], negated)}}
	}
	c := &condition{leaf: e, wanted: !negated, reads: readsOf(e)}
	c.text = written(a, e)
	if negated {
		c.text = "!(" + c.text + ")"
	}
	c.compared()
	return c
}

// compared sees whether a leaf compares something that reads facts with something else.
func (c *condition) compared() {
	if c.fact, _ = factOf(c.leaf); c.fact != "" || c.leaf.Kind() != ast.CallKind {
		return
	}
	call := c.leaf.AsCall()
	operator := call.FunctionName()
	way, isComparison := comparisons[operator]
	if !isComparison && operator != operators.In {
		return
	}
	c.left, c.right = call.Args()[0], call.Args()[1]
	if isComparison {
		if len(readsOf(c.left)) == 0 {
			c.left, c.right, operator = c.right, c.left, way.turned
		}
		if !c.wanted {
			operator = comparisons[operator].negated
		}
	}
	c.compare = operator
	c.fact, _ = factOf(c.left)
}

// factOf is the fact that an expression is.
func factOf(e ast.Expr) (string, bool) {
	name, ok := chain(e)
	if !ok {
		return "", false
	}
	_, known := factsByName()[name]
	if !known {
		return "", false
	}
	return name, true
}

// written is a part of an expression as text.
func written(a *ast.AST, e ast.Expr) string {
	text, err := parser.Unparse(e, a.SourceInfo())
	if err != nil {
		return "a part of the expression"
	}
	return strings.Join(strings.Fields(text), " ")
}

// leaves are all leaves of a condition.
func (c *condition) leaves() []*condition {
	if c.leaf != nil {
		return []*condition{c}
	}
	var found []*condition
	for _, list := range [][]*condition{c.all, c.any, c.choice} {
		for _, part := range list {
			found = append(found, part.leaves()...)
		}
	}
	return found
}

// wrongWords finds comparisons of a fact with a word that it can never be: a slip that would make a rule hold
// always, or never.
func (c *condition) wrongWords(a *ast.AST) []mistake {
	var found []mistake
	for _, leaf := range c.leaves() {
		of := factsByName()[leaf.fact].Of
		if leaf.compare == "" || of == nil {
			continue
		}
		literals := []ast.Expr{leaf.right}
		if leaf.right.Kind() == ast.ListKind {
			literals = leaf.right.AsList().Elements()
		}
		for _, e := range literals {
			if e.Kind() != ast.LiteralKind {
				continue
			}
			word, isText := e.AsLiteral().(types.String)
			if !isText || slices.Contains(of, string(word)) {
				continue
			}
			hint := "one of " + strings.Join(of, ", ")
			if near, ok := estate.Nearest(string(word), of); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			found = append(found, mistakeAt(a, e, fmt.Sprintf("%s is never %q", leaf.fact, string(word)), hint))
		}
	}
	return found
}
