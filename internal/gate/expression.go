package gate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/ext"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Limits of an expression. Costs are in CEL's own units: about one for each step.
const (
	maxCost      = 100_000 // both as estimated when it is loaded and while it runs
	maxRecursion = 60
	maxApprovals = 100 // what is estimated with; Facts that hold more are cut by the limit while it runs
	maxModules   = 500
	maxRoles     = 10 // of one person
	maxText      = 200
)

// environment is what expressions are checked in: CEL's own functions, all of them pure, and the facts.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		ext.NativeTypes(reflect.TypeFor[Approval](), ext.ParseStructTags(true)),
		cel.EnableMacroCallTracking(),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
	}
	for _, f := range catalogue() {
		options = append(options, cel.Variable(f.Name, f.celType))
	}
	return cel.NewEnv(options...)
})

// expression is a compiled condition.
type expression struct {
	source string
	ast    *ast.AST
	quick  cel.Program // says only whether it holds
	slow   cel.Program // keeps the value of each part, all of them evaluated
	root   *condition
	reads  []string // facts, sorted
}

// mistake is one thing wrong with an expression. Line and column are from 1.
type mistake struct {
	line, column int
	message      string
	hint         string
}

// compile reads an expression, or says all that is wrong with it.
func compile(source string) (*expression, []mistake) {
	env, err := environment()
	if err != nil {
		return nil, []mistake{{1, 1, "the environment of expressions cannot be made: " + err.Error(), ""}}
	}
	parsed, issues := env.Parse(source)
	if found := mistakesOf(issues); len(found) > 0 {
		return nil, found
	}
	if found := unknownFacts(parsed.NativeRep()); len(found) > 0 {
		return nil, found
	}
	checked, issues := env.Check(parsed)
	if found := mistakesOf(issues); len(found) > 0 {
		return nil, found
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, []mistake{{1, 1, "gives " + article(checked.OutputType().String()) + "; true or false expected", "compare it with something"}}
	}
	estimate, err := env.EstimateCost(checked, sizes{})
	if err != nil || estimate.Max > maxCost {
		return nil, []mistake{{1, 1, fmt.Sprintf("may take too much to evaluate (%d steps; at most %d)", estimate.Max, maxCost), "make it simpler: no macro inside a macro"}}
	}
	x := &expression{source: source, ast: checked.NativeRep()}
	x.root = newCondition(x.ast, x.ast.Expr(), false)
	x.reads = readsOf(x.ast.Expr())
	if found := x.root.wrongWords(x.ast); len(found) > 0 {
		return nil, found
	}
	limit := cel.CostLimit(maxCost)
	if x.quick, err = env.Program(checked, limit, cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval)); err == nil {
		x.slow, err = env.Program(checked, limit, cel.EvalOptions(cel.OptExhaustiveEval, cel.OptPartialEval))
	}
	if err != nil {
		return nil, []mistake{{1, 1, "cannot be used: " + err.Error(), ""}}
	}
	return x, nil
}

func mistakesOf(issues *cel.Issues) []mistake {
	if issues == nil {
		return nil
	}
	var found []mistake
	for _, e := range issues.Errors() {
		message, _, _ := strings.Cut(e.Message, "\n")
		message = strings.TrimSuffix(message, " (in container '')")
		found = append(found, mistake{e.Location.Line(), e.Location.Column() + 1, message, ""})
	}
	return found
}

// sizes bounds what a cost is estimated with.
type sizes struct{}

func (sizes) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	most := uint64(maxText)
	if path := element.Path(); len(path) > 0 {
		switch path[len(path)-1] {
		case "approvals":
			most = maxApprovals
		case "release.modules":
			most = maxModules
		case "roles":
			most = maxRoles
		}
	}
	return &cost.SizeEstimate{Min: 0, Max: most}
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// chain is the dotted name that a chain of selections spells: "previous.soaked"; ok is false for anything else.
func chain(e ast.Expr) (name string, ok bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return strings.TrimPrefix(e.AsIdent(), "."), true
	case ast.SelectKind:
		before, ok := chain(e.AsSelect().Operand())
		return before + "." + e.AsSelect().FieldName(), ok
	}
	return "", false
}

// walk visits an expression and all its parts, macros as they were expanded. bound are the names that macros
// have made. each returns false where the parts need no visit.
func walk(e ast.Expr, bound []string, each func(e ast.Expr, bound []string) bool) {
	if e == nil || e.Kind() == ast.UnspecifiedExprKind || !each(e, bound) {
		return
	}
	switch e.Kind() {
	case ast.SelectKind:
		walk(e.AsSelect().Operand(), bound, each)
	case ast.CallKind:
		c := e.AsCall()
		if c.IsMemberFunction() {
			walk(c.Target(), bound, each)
		}
		for _, arg := range c.Args() {
			walk(arg, bound, each)
		}
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			walk(element, bound, each)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			walk(entry.AsMapEntry().Key(), bound, each)
			walk(entry.AsMapEntry().Value(), bound, each)
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			walk(field.AsStructField().Value(), bound, each)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		walk(c.IterRange(), bound, each)
		inside := append(slices.Clone(bound), c.IterVar(), c.AccuVar())
		if c.HasIterVar2() {
			inside = append(inside, c.IterVar2())
		}
		walk(c.AccuInit(), bound, each)
		for _, part := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
			walk(part, inside, each)
		}
	}
}

// readsOf are the facts that a checked expression reads, sorted.
func readsOf(e ast.Expr) []string {
	var found []string
	walk(e, nil, func(e ast.Expr, bound []string) bool {
		if name, ok := chain(e); ok {
			if _, known := factsByName()[name]; known && !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
		return true
	})
	slices.Sort(found)
	return found
}

// unknownFacts finds names that are no facts, before the checker does: it would blame the group's name, and
// propose nothing.
func unknownFacts(a *ast.AST) []mistake {
	var found []mistake
	walk(a.Expr(), nil, func(e ast.Expr, bound []string) bool {
		if e.Kind() == ast.StructKind {
			found = append(found, mistakeAt(a, e, "an expression makes no objects; it compares facts", ""))
			return false
		}
		name, ok := chain(e)
		if !ok {
			return true
		}
		root := groupOf(name)
		if slices.Contains(bound, root) {
			return false
		}
		if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
			found = append(found, mistakeAt(a, e, "has() is not needed: a fact is known, or the rule waits for it", ""))
			return false
		}
		known := factsByName()
		for prefix := name; prefix != ""; prefix = beforeLastDot(prefix) {
			if _, ok := known[prefix]; ok { // what comes after it is for the checker
				return false
			}
		}
		found = append(found, unknownFact(a, e, name))
		return false
	})
	return found
}

func unknownFact(a *ast.AST, e ast.Expr, name string) mistake {
	var names, groups, inGroup []string
	for _, f := range catalogue() {
		names = append(names, f.Name)
		if g := f.Group(); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
		if f.Group() == groupOf(name) && f.Name != f.Group() {
			inGroup = append(inGroup, f.Name)
		}
	}
	switch {
	case slices.Contains(groups, name):
		return mistakeAt(a, e, name+" is a group of facts, not a fact", "one of "+strings.Join(inGroup, ", "))
	case len(inGroup) > 0:
		hint := "one of " + strings.Join(inGroup, ", ")
		if near, ok := estate.Nearest(name, inGroup); ok {
			hint = "did you mean " + near + "?"
		}
		return mistakeAt(a, e, "there is no fact "+name, hint)
	}
	hint := "the facts are in groups: " + strings.Join(groups, ", ")
	if near, ok := estate.Nearest(name, names); ok {
		hint = "did you mean " + near + "?"
	} else if near, ok := estate.Nearest(groupOf(name), groups); ok {
		hint = "did you mean " + near + "?"
	}
	return mistakeAt(a, e, "there is no fact "+name, hint)
}

// mistakeAt gives an expression's place. A chain of selections stands where its first name does.
func mistakeAt(a *ast.AST, e ast.Expr, message, hint string) mistake {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	at := a.SourceInfo().GetStartLocation(e.ID())
	column := at.Column() + 1
	if e.Kind() == ast.IdentKind { // a fact that the checker has made one name of; its place is that of the last dot
		column -= len(beforeLastDot(e.AsIdent()))
	}
	return mistake{max(at.Line(), 1), max(column, 1), message, hint}
}

func beforeLastDot(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	return name[:i]
}

func isCall(e ast.Expr, function string) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == function
}

// comparisons are the operators between two values, and what each becomes when it is turned around and when it
// is negated.
var comparisons = map[string]struct{ turned, negated string }{
	operators.Equals:        {operators.Equals, operators.NotEquals},
	operators.NotEquals:     {operators.NotEquals, operators.Equals},
	operators.Less:          {operators.Greater, operators.GreaterEquals},
	operators.LessEquals:    {operators.GreaterEquals, operators.Greater},
	operators.Greater:       {operators.Less, operators.LessEquals},
	operators.GreaterEquals: {operators.LessEquals, operators.Less},
}
