package gate

import (
	"slices"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// horizon is how far ahead an instant is looked for that depends on the hour or the day.
const horizon = 8 * 24 * time.Hour

// from is when a leaf that does not hold will hold by itself. It tells what grows and calendars only; the
// zero time says nothing.
func (e explainer) from(c *condition) time.Time {
	now, ok := e.facts.known["now"].(time.Time)
	if !ok || !c.wanted && c.compare == "" {
		return time.Time{}
	}
	if c.fact == "calendar.open" && c.compare == "" {
		next, _ := e.facts.known["calendar.next"].(time.Time)
		return next
	}
	t := e.meets(c, now)
	if c.compare != operators.GreaterEquals && c.compare != operators.Greater || !t.After(now) {
		return time.Time{}
	}
	return t
}

// never says that a leaf that does not hold, and reads the clock alone of what may still change, never will.
func (e explainer) never(c *condition) bool {
	if c.compare == "" || !e.from(c).IsZero() || e.value(c.left) == nil {
		return false
	}
	switch e.value(c.left).(type) {
	case types.Duration, types.Timestamp:
	default:
		return false // an hour or a day comes again
	}
	for _, name := range c.reads {
		if e.facts.may(name) && factsByName()[name].Changes != changesClock {
			return false
		}
	}
	return true
}

// meets is when both sides of a comparison of lengths or times are equal; zero where that cannot be told.
func (e explainer) meets(c *condition, now time.Time) time.Time {
	grows := func(side ast.Expr) bool {
		return slices.ContainsFunc(readsOf(side), func(name string) bool { return factsByName()[name].grows() })
	}
	if c.compare == "" || grows(c.left) == grows(c.right) {
		return time.Time{}
	}
	moving, fixed := c.left, c.right
	if grows(c.right) {
		moving, fixed = fixed, moving
	}
	switch value := e.value(moving).(type) {
	case types.Duration:
		if bound, ok := e.value(fixed).(types.Duration); ok {
			return now.Add(bound.Duration - value.Duration)
		}
	case types.Timestamp:
		if bound, ok := e.value(fixed).(types.Timestamp); ok {
			return now.Add(bound.Time.Sub(value.Time))
		}
	}
	return time.Time{}
}

// instants are the times after now at which an expression may turn, sorted.
func (e explainer) instants() []time.Time {
	now, ok := e.facts.known["now"].(time.Time)
	if !ok {
		return nil
	}
	var found []time.Time
	add := func(t time.Time) {
		if t.After(now) {
			found = append(found, t.UTC())
		}
	}
	for _, leaf := range e.x.root.leaves() {
		if slices.Contains(leaf.reads, "calendar.open") {
			for _, edge := range []string{"calendar.next", "calendar.until"} {
				if t, ok := e.facts.known[edge].(time.Time); ok {
					add(t)
				}
			}
		}
		if at := e.meets(leaf, now); !at.IsZero() {
			add(at)
			add(at.Add(time.Millisecond)) // for those that ask for more
		}
		for _, t := range clockEdges(leaf.leaf, now) {
			add(t)
		}
	}
	slices.SortFunc(found, time.Time.Compare)
	return slices.Compact(found)
}

// clockEdges are the times at which a function of the hour or the day may give another value.
func clockEdges(e ast.Expr, now time.Time) []time.Time {
	var found []time.Time
	walk(e, nil, func(e ast.Expr, _ []string) bool {
		if e.Kind() != ast.CallKind {
			return true
		}
		call := e.AsCall()
		zone := time.UTC
		if args := call.Args(); call.IsMemberFunction() && len(args) == 1 && args[0].Kind() == ast.LiteralKind {
			if name, ok := args[0].AsLiteral().(types.String); ok {
				if z, err := time.LoadLocation(string(name)); err == nil {
					zone = z
				}
			}
		}
		local := now.In(zone)
		switch call.FunctionName() {
		case "getDayOfWeek", "getDate", "getDayOfMonth", "getDayOfYear", "getMonth", "getFullYear":
			for day := range int(horizon / (24 * time.Hour)) {
				found = append(found, time.Date(local.Year(), local.Month(), local.Day()+day+1, 0, 0, 0, 0, zone))
			}
		case "getHours":
			edge := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), 0, 0, 0, zone)
			for range int(horizon / time.Hour) {
				edge = edge.Add(time.Hour)
				found = append(found, edge)
			}
		case "getMinutes":
			found = append(found, now.Truncate(time.Minute).Add(time.Minute))
		}
		return true
	})
	return found
}

// turns says when an expression first holds otherwise than it does now, and when it first holds, if nothing
// but the time changes; zero times where that does not come.
func (e explainer) turns(current truth) (next, holds time.Time) {
	for _, t := range e.instants() {
		then := e.x.holds(e.facts.at(t))
		if then != current && next.IsZero() {
			next = t
		}
		if then == yes {
			return next, t
		}
	}
	return next, time.Time{}
}
