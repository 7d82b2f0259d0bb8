// Package judge gives verdicts on a release from counts. It is pure: no clock, no network, no
// state; the caller says what was seen and asks again when there is more.
//
// Its tests may be looked at after every request: the chance that they ever call a release worse
// that is not worse stays below Alpha, however often one looks and whenever one stops. (Step's
// absolute guard stands outside that bound; it adds nothing to speak of while less than a fifth of
// the old pool's requests fail.)
package judge

import (
	"fmt"
	"math"
	"strings"
)

// Outcome is what the evidence says.
type Outcome string

// The outcomes. No data is Inconclusive, which never promotes.
const (
	Pass         Outcome = "PASS"
	Fail         Outcome = "FAIL"
	Inconclusive Outcome = "INCONCLUSIVE"
)

// Verdict is an outcome with its evidence.
type Verdict struct {
	Outcome  Outcome
	Evidence string  // one line for people
	EValue   float64 // evidence that the canary fails more often than the stable pool; 1/Alpha is enough. 0: nothing to compare
	// Lower and Upper bound the canary's failure share minus the stable pool's (0 without one), together
	// true at every look with probability 1-Alpha.
	Lower, Upper float64
}

func (v Verdict) String() string { return string(v.Outcome) + ": " + v.Evidence }

// Counts are the requests of one pool since a step began.
type Counts struct {
	Requests int64
	Failed   int64
}

func (c Counts) share() float64 {
	if c.Requests == 0 {
		return 0
	}
	return float64(c.Failed) / float64(c.Requests)
}

func (c Counts) sound() bool { return c.Failed >= 0 && c.Requests >= c.Failed }

func (c Counts) String() string {
	if c.Requests == 0 {
		return "no request"
	}
	return fmt.Sprintf("%d of %d requests failed (%s)", c.Failed, c.Requests, percent(c.share()))
}

// StepInput is what was seen of a traffic step.
type StepInput struct {
	Stable, Canary Counts // since the step began, over the same time
	Ready          bool   // the new pool says that it can serve the tenant
	FlowFailure    string // why a flow failed on the new pool, or why it is not ready; empty: all passed
	MinRequests    int64  // of the canary, before it may pass
	Tolerance      float64
	DeadlinePassed bool
	Alone          bool // the canary has all the traffic: compare with nothing, and with Tolerance alone
}

// Alpha is the chance of calling a release worse that is not, over a whole step.
const Alpha = 0.01

// guardFailures and guardShare are the absolute guard: a pool that fails so many requests, and such
// a part of all it gets, while the other one serves, needs no statistics.
const (
	guardFailures = 5
	guardShare    = 0.5
	guardOther    = 0.1 // the other pool fails at most this part of at least guardFailures requests
)

// Step judges a traffic step.
//
// It fails when the pool is not ready or a flow failed; when the e-value that it fails more often than
// the stable pool reaches 1/Alpha and the excess seen is above Tolerance (a share, 0.01 = one in a
// hundred); when the whole confidence sequence of the excess is above Tolerance; or at the absolute
// guard. It passes when MinRequests are reached and none failed, or the whole confidence sequence is
// below Tolerance. Before the stable pool has had any request, only the guard can fail it. Anything else is inconclusive, at the deadline as before.
func Step(in StepInput) Verdict {
	tolerance := in.Tolerance
	if !(tolerance >= 0) { // also when it is no number
		tolerance = 0
	}
	if in.FlowFailure != "" {
		return Verdict{Outcome: Fail, Evidence: in.FlowFailure, Lower: -1, Upper: 1}
	}
	if !in.Ready {
		return Verdict{Outcome: Fail, Evidence: "the new pool is not ready to serve the tenant", Lower: -1, Upper: 1}
	}
	if !in.Stable.sound() || !in.Canary.sound() {
		return Verdict{Outcome: Inconclusive, Evidence: fmt.Sprintf("the counts do not hold together: %+v on the new pool, %+v on the old one", in.Canary, in.Stable), Lower: -1, Upper: 1}
	}
	compare := !in.Alone && in.Stable.Requests > 0
	v := Verdict{Outcome: Inconclusive}
	if compare {
		v.EValue = worse(in.Canary, in.Stable)
		v.Lower, v.Upper = excess(in.Canary, in.Stable)
	} else {
		v.Lower, v.Upper = proportion(in.Canary, Alpha)
	}
	seen := in.Canary.share()
	if compare {
		seen -= in.Stable.share()
	}

	facts := []string{in.Canary.String() + " on the new pool"}
	if compare {
		facts = append(facts, in.Stable.String()+" on the old one")
	} else if !in.Alone {
		facts = append(facts, "no request on the old one to compare with")
	}
	say := func(outcome Outcome, format string, args ...any) Verdict {
		v.Outcome = outcome
		v.Evidence = strings.Join(append(facts, fmt.Sprintf(format, args...)), "; ")
		return v
	}
	switch {
	case in.Canary.Failed >= guardFailures && in.Canary.share() >= guardShare && (!compare || in.Stable.Requests >= guardFailures && in.Stable.share() <= guardOther):
		return say(Fail, "it fails %s of what it gets", percent(in.Canary.share()))
	case compare && v.EValue >= 1/Alpha && seen > tolerance:
		return say(Fail, "worse than the old pool (e-value %.3g, %.0f is enough), by more than the tolerance of %s", v.EValue, 1/Alpha, percent(tolerance))
	case v.Lower > tolerance && (compare || in.Alone): // with nothing to compare yet, the fault may be elsewhere
		return say(Fail, "the failure share is higher by at least %s, the tolerance is %s", percent(v.Lower), percent(tolerance))
	case in.Canary.Requests == 0:
		return say(Inconclusive, "nothing is known yet%s", deadline(in))
	case in.Canary.Requests < in.MinRequests:
		return say(Inconclusive, "%d requests are asked for%s", in.MinRequests, deadline(in))
	case in.Canary.Failed == 0:
		return say(Pass, "none failed of at least %d asked for; an excess above %s is ruled out", max(in.MinRequests, 1), percent(v.Upper))
	case v.Upper < tolerance:
		return say(Pass, "an excess above %s is ruled out, the tolerance is %s", percent(v.Upper), percent(tolerance))
	}
	return say(Inconclusive, "the excess lies between %s and %s, the tolerance is %s%s", percent(v.Lower), percent(v.Upper), percent(tolerance), deadline(in))
}

func deadline(in StepInput) string {
	if in.DeadlinePassed {
		return ", and the time for it is over"
	}
	return ""
}

func percent(share float64) string {
	p := 100 * share
	if a := math.Abs(p); a != 0 && a < 0.1 {
		return fmt.Sprintf("%.2g %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}
