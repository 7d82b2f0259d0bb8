package gate

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Severities of a rule.
const (
	Deny = "deny"
	Warn = "warn"
)

// rule is a compiled rule of a policy.
type rule struct {
	policy     estate.Policy
	id         string
	message    string
	why        string
	severity   string
	skips      bool // emergency promotions need not meet it
	exceptions []estate.PolicyException
	x          *expression
	place      string
}

// Set is policies, compiled. It is safe for use by several goroutines.
type Set struct{ rules []rule }

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// programs bounds how many compiled expressions are kept.
const programs = 2000

// Evaluator compiles policies and keeps what it compiled: the same expression is compiled once.
type Evaluator struct {
	mu    sync.Mutex
	known map[string]*expression
}

// Compile reads policies. The error joins an estate.Problem with its place for everything that is wrong.
func (v *Evaluator) Compile(policies []estate.Policy) (*Set, error) {
	s := &Set{}
	var errs []error
	for _, p := range policies {
		for i := range p.Rules {
			r, problems := v.rule(p, i)
			if len(problems) > 0 {
				for _, problem := range problems {
					errs = append(errs, problem)
				}
				continue
			}
			s.rules = append(s.rules, r)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// Compile reads policies once, for those who check or show them.
func Compile(policies []estate.Policy) (*Set, error) { return new(Evaluator).Compile(policies) }

func (v *Evaluator) rule(p estate.Policy, i int) (rule, []*estate.Problem) {
	declared := p.Rules[i]
	at := fmt.Sprintf("rules[%d]", i)
	r := rule{policy: p, id: declared.ID, message: declared.Message, why: declared.Why, severity: declared.Severity, skips: declared.Emergency == "skip",
		exceptions: declared.Exceptions, place: p.Place(at)}
	if r.severity == "" {
		r.severity = Deny
	}
	source, field := declared.Expr, at+".expr"
	if declared.Use != "" {
		field = at + ".use"
		ready, problems := readyRule(p, at, declared)
		if len(problems) > 0 {
			return r, problems
		}
		source = ready.Expr
		if r.message == "" {
			r.message = ready.Message
		}
		if r.why == "" {
			r.why = ready.Why
		}
		if r.id == "" {
			r.id = declared.Use
		}
	}
	x, mistakes := v.expression(source)
	var problems []*estate.Problem
	for _, m := range mistakes {
		line, column := m.line, m.column
		if declared.Use != "" {
			line, column = 0, 0
		}
		problems = append(problems, p.Problem(field, line, column, m.message, m.hint))
	}
	r.x = x
	return r, problems
}

func (v *Evaluator) expression(source string) (*expression, []mistake) {
	v.mu.Lock()
	x := v.known[source]
	v.mu.Unlock()
	if x != nil {
		return x, nil
	}
	x, mistakes := compile(source)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) >= programs {
		v.known = map[string]*expression{}
	}
	v.known[source] = x
	return x, nil
}

// selects says whether the rule is asked of these facts.
func (r *rule) selects(f *Facts) bool {
	tenant := estate.Tenant{Name: f.Tenant.Name, Ring: f.Tenant.Ring, Labels: f.Tenant.Labels}
	if !r.policy.Selects(f.Environment.Name, tenant) {
		return false
	}
	// A class that is not known is asked everything.
	return len(r.policy.Classes) == 0 || f.Promotion.Class == "" || slices.Contains(r.policy.Classes, f.Promotion.Class)
}

// excepted is the exception that lets these facts pass.
func (r *rule) excepted(f *Facts, now time.Time) (estate.PolicyException, bool) {
	for _, x := range r.exceptions {
		if (x.Environment == "" || x.Environment == f.Environment.Name) && (x.Tenant == "" || x.Tenant == f.Tenant.Name) &&
			(x.Release == "" || x.Release == f.Release.Digest || x.Release == f.Release.Commit || x.Release == f.Release.Name) && now.Before(x.Until()) {
			return x, true
		}
	}
	return estate.PolicyException{}, false
}

// Reads are the facts that the rules which these facts concern read, sorted.
func (s *Set) Reads(f *Facts) []string {
	var names []string
	for i := range s.rules {
		if r := &s.rules[i]; r.selects(f) {
			names = append(names, r.x.reads...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ShownRule is a rule as it is evaluated.
type ShownRule struct {
	ID         string                   `json:"id"`
	Expr       string                   `json:"expr"`
	Severity   string                   `json:"severity"`
	Emergency  string                   `json:"emergency"`
	Message    string                   `json:"message,omitempty"`
	Why        string                   `json:"why,omitempty"`
	Reads      []string                 `json:"reads"`
	Exceptions []estate.PolicyException `json:"exceptions,omitempty"`
	Place      string                   `json:"place,omitempty"`
}

// Show gives a policy's rules as they are evaluated, ready ones written out.
func Show(p estate.Policy) ([]ShownRule, error) {
	s, err := Compile([]estate.Policy{p})
	if err != nil {
		return nil, err
	}
	var shown []ShownRule
	for _, r := range s.rules {
		emergency := "keep"
		if r.skips {
			emergency = "skip"
		}
		shown = append(shown, ShownRule{ID: r.id, Expr: r.x.source, Severity: r.severity, Emergency: emergency, Message: r.message, Why: r.why, Reads: r.x.reads,
			Exceptions: r.exceptions, Place: r.place})
	}
	return shown, nil
}
