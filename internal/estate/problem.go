package estate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds a report: past it more lines help nobody.
const maxProblems = 100

// Problem is one thing in an estate that does not hold. Load and Parse join all that they find
// (errors.Join); take them apart with Problems.
type Problem struct {
	File    string // relative to the estate's folder; empty where no file is to blame
	Line    int    // from 1; 0 where it is about the whole file
	Column  int    // from 1, in characters
	Field   string // for example "rollout.steps[1]"; empty for a whole document
	Message string // what is wrong and what was expected
	Hint    string // the way out, where there is an obvious one
}

// Error gives file:line:column: field: message (hint).
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems returns the problems joined in err, in the order of file and line; nil where err holds none.
func Problems(err error) []*Problem {
	var found []*Problem
	var p *Problem
	var joined interface{ Unwrap() []error }
	switch {
	case errors.As(err, &joined):
		for _, e := range joined.Unwrap() {
			found = append(found, Problems(e)...)
		}
	case errors.As(err, &p):
		found = append(found, p)
	}
	return found
}

// report gathers problems.
type report struct{ found []*Problem }

func (r *report) add(p *Problem) { r.found = append(r.found, p) }

// err joins what was found, sorted by place; nil where nothing was.
func (r *report) err() error {
	if len(r.found) == 0 {
		return nil
	}
	slices.SortStableFunc(r.found, func(a, b *Problem) int {
		return cmp.Or(
			strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list := r.found
	var rest *Problem
	if len(list) > maxProblems {
		rest = &Problem{Message: fmt.Sprintf("%d more problems, not shown", len(list)-maxProblems)}
		list = list[:maxProblems:maxProblems]
	}
	errs := make([]error, 0, len(list)+1)
	for _, p := range list {
		errs = append(errs, p)
	}
	if rest != nil {
		errs = append(errs, rest)
	}
	return errors.Join(errs...)
}
