package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is what becomes of a promotion, or of one rule.
type Verdict string

// The verdicts.
const (
	Allowed  Verdict = "allow"
	Waits    Verdict = "wait"     // something that may still change keeps it: time, or what is listed in Needs
	Denied   Verdict = "deny"     // nothing that may still change would let it pass
	Warned   Verdict = "warn"     // of a rule: it does not hold, and only warns
	Skipped  Verdict = "skipped"  // of a rule: not asked of an emergency
	Excepted Verdict = "excepted" // of a rule: an exception lets it pass
)

// Result is the answer of a gate.
type Result struct {
	Verdict Verdict      `json:"verdict"`
	Rules   []RuleResult `json:"rules"`             // of all rules that were asked
	From    time.Time    `json:"from,omitzero"`     // from when it would be allowed if nothing but the time changed; zero: that alone does not help, or it is allowed
	Next    time.Time    `json:"next,omitzero"`     // when time alone changes the answer of a rule that keeps it waiting; zero: never
	Waiting []string     `json:"waiting,omitempty"` // groups of facts an event about which may change the answer, sorted
	At      time.Time    `json:"at"`                // of the evaluation
}

// RuleResult is the answer of one rule.
type RuleResult struct {
	Policy   string    `json:"policy"`
	Rule     string    `json:"rule"`
	Severity string    `json:"severity"`
	Verdict  Verdict   `json:"verdict"`
	Message  string    `json:"message,omitempty"`
	Why      string    `json:"why,omitempty"`
	Place    string    `json:"place,omitempty"`  // in the estate
	Need     *Need     `json:"need,omitempty"`   // what it lacks; nil where it holds
	From     time.Time `json:"from,omitzero"`    // when it holds by itself
	Reason   string    `json:"reason,omitempty"` // of an exception, and until when
}

// Evaluate asks all rules that concern these facts.
func (s *Set) Evaluate(f *Facts) Result {
	v := f.values()
	result := Result{Verdict: Allowed, At: f.Now, Rules: []RuleResult{}}
	var keeping []explainer
	var instants []time.Time
	for i := range s.rules {
		r := &s.rules[i]
		if !r.selects(f) {
			continue
		}
		answer, e := r.evaluate(f, v)
		if answer.Verdict == Waits || answer.Verdict == Denied {
			current := unknown
			if !slices.ContainsFunc(e.x.reads, func(name string) bool { _, known := v.known[name]; return !known }) {
				current = no
			}
			next, holds := e.turns(current)
			answer.From = holds
			if !next.IsZero() && (result.Next.IsZero() || next.Before(result.Next)) {
				result.Next = next
			}
			keeping = append(keeping, e)
			instants = append(instants, e.instants()...)
			for _, name := range e.x.reads {
				if group := groupOf(name); v.may(name) && group != "now" && factsByName()[name].Changes != changesClock && !slices.Contains(result.Waiting, group) {
					result.Waiting = append(result.Waiting, group)
				}
			}
			if answer.Verdict == Denied || result.Verdict == Allowed {
				result.Verdict = answer.Verdict
			}
		}
		result.Rules = append(result.Rules, answer)
	}
	slices.Sort(result.Waiting)
	if result.Verdict == Waits {
		result.From = s.allowedFrom(v, keeping, instants)
	} else {
		result.Next = time.Time{}
	}
	return result
}

// allowedFrom is the first of the instants at which all that keeps the promotion now would hold.
func (s *Set) allowedFrom(v values, keeping []explainer, instants []time.Time) time.Time {
	slices.SortFunc(instants, time.Time.Compare)
	for _, t := range slices.Compact(instants) {
		then := v.at(t)
		if !slices.ContainsFunc(keeping, func(e explainer) bool { return e.x.holds(then) != yes }) {
			return t
		}
	}
	return time.Time{}
}

func (r *rule) evaluate(f *Facts, v values) (RuleResult, explainer) {
	answer := RuleResult{Policy: r.policy.Name, Rule: r.id, Severity: r.severity, Verdict: Allowed, Place: r.place}
	if r.skips && f.Promotion.Emergency {
		answer.Verdict, answer.Reason = Skipped, "not asked of an emergency"
		return answer, explainer{}
	}
	if r.x.holds(v) == yes {
		return answer, explainer{}
	}
	answer.Message, answer.Why = r.message, r.why
	e := r.x.explain(v)
	_, need := e.weigh(r.x.root)
	answer.Need = &need
	switch x, excepted := r.excepted(f, f.Now); {
	case excepted:
		answer.Verdict, answer.Reason = Excepted, fmt.Sprintf("%s (until %s)", x.Reason, x.Expires)
	case r.severity == Warn:
		answer.Verdict = Warned
	case need.Final:
		answer.Verdict = Denied
	default:
		answer.Verdict = Waits
	}
	return answer, e
}

// String says in one line what the rule answers.
func (r RuleResult) String() string {
	name := r.Policy + "/" + r.Rule
	switch r.Verdict {
	case Allowed:
		return name + ": holds"
	case Skipped:
		return name + ": " + r.Reason
	}
	text := name + ": "
	if r.Message != "" {
		text += r.Message + ": "
	}
	if r.Need != nil {
		text += r.Need.String()
	}
	if r.Verdict == Excepted {
		text += "; let pass: " + r.Reason
	}
	return text
}

// Keeps are the answers that keep the promotion from going on.
func (r Result) Keeps() []RuleResult { return r.of(Waits, Denied) }

// Warnings are the answers of rules that do not hold and only warn.
func (r Result) Warnings() []RuleResult { return r.of(Warned) }

func (r Result) of(verdicts ...Verdict) []RuleResult {
	var found []RuleResult
	for _, rule := range r.Rules {
		if slices.Contains(verdicts, rule.Verdict) {
			found = append(found, rule)
		}
	}
	return found
}

// Summary says in one line what the gate answers.
func (r Result) Summary() string {
	switch keeps := r.Keeps(); {
	case len(keeps) > 0:
		var texts []string
		for _, k := range keeps {
			texts = append(texts, k.String())
		}
		text := strings.Join(texts, " · ")
		if r.Verdict == Waits && !r.From.IsZero() && len(keeps) > 1 {
			text += " · all of it from " + instant(r.From)
		}
		return text
	case len(r.Rules) == 0:
		return "no rule is asked"
	}
	asked := 0
	var passed []string
	for _, rule := range r.Rules {
		switch rule.Verdict {
		case Allowed:
			asked++
		case Excepted, Skipped:
			passed = append(passed, rule.String())
		case Warned:
			passed = append(passed, "warning: "+rule.String())
		}
	}
	holding := fmt.Sprintf("%d rules hold", asked)
	if asked == 1 {
		holding = "1 rule holds"
	}
	return strings.Join(append([]string{holding}, passed...), " · ")
}
