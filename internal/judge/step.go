package judge

import (
	"fmt"
	"strings"
)

// Counts are the units of one pool, requests for the most part, and how many of them failed.
type Counts struct {
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"`
}

func (c Counts) share() float64 {
	if c.Requests == 0 {
		return 0
	}
	return float64(c.Failed) / float64(c.Requests)
}

func (c Counts) sound() bool { return c.Failed >= 0 && c.Requests >= c.Failed }

func (c Counts) plus(o Counts) Counts  { return Counts{c.Requests + o.Requests, c.Failed + o.Failed} }
func (c Counts) minus(o Counts) Counts { return Counts{c.Requests - o.Requests, c.Failed - o.Failed} }

// before reports whether a counter that stood at o and stands at c now went back.
func (c Counts) before(o Counts) bool { return c.Requests < o.Requests || c.Failed < o.Failed }

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
	FlowFailure    string // why a flow failed on the new release, or why it is not ready; empty: all passed
	MinRequests    int64  // of the canary, before it may pass
	Tolerance      float64
	DeadlinePassed bool
	Alone          bool // the canary has all the traffic: compare with nothing, and with Tolerance alone
	// Compared is the evidence of these requests, and of those of the steps before, as they came.
	// nil: the counts are taken as one block.
	Compared *Comparison
	Alpha    float64 // 0: the package's
}

// Alpha is the chance of calling a release worse that is not, over a whole shift.
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
// the stable pool reaches 1/α and the excess seen is above Tolerance (a share, 0.01 = one in a
// hundred); or at the absolute guard. With all the traffic, when the whole confidence sequence of its
// share is above Tolerance. It passes when MinRequests are reached and none failed, or the whole
// confidence sequence of the excess is below Tolerance. Before the stable pool has had any request,
// only the guard can fail it. Anything else is inconclusive, at the deadline as before.
func Step(in StepInput) Verdict {
	tolerance := in.Tolerance
	if !(tolerance >= 0) { // also when it is no number
		tolerance = 0
	}
	if in.FlowFailure != "" {
		return Verdict{Outcome: Fail, Evidence: in.FlowFailure, Lower: -1, Upper: 1}
	}
	if !in.Ready {
		return Verdict{Outcome: Fail, Evidence: "the new release is not ready to serve the tenant", Lower: -1, Upper: 1}
	}
	if !in.Stable.sound() || !in.Canary.sound() {
		return Verdict{Outcome: Inconclusive, Evidence: fmt.Sprintf("the counts do not hold together: %+v on the new release, %+v on the old one", in.Canary, in.Stable), Lower: -1, Upper: 1}
	}
	compare := !in.Alone && in.Stable.Requests > 0
	v := Verdict{Outcome: Inconclusive}
	alpha := in.Alpha
	if !(alpha > 0 && alpha < 1) {
		alpha = Alpha
	}
	if compare {
		compared := in.Compared
		if compared == nil {
			compared = &Comparison{}
			compared.Evidence.table(in.Canary.Requests, in.Stable.Requests, in.Canary.Failed, in.Stable.Failed)
			compared.Used = Pair{in.Canary, in.Stable}
		}
		v.EValue = compared.EValue()
		v.Lower, v.Upper = excess(in.Canary, in.Stable, alpha)
	} else {
		v.Lower, v.Upper = proportion(in.Canary, alpha)
	}
	seen := in.Canary.share()
	if compare {
		seen -= in.Stable.share()
	}

	facts := []string{in.Canary.String() + " on the new release"}
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
	case compare && v.EValue >= 1/alpha && seen > tolerance:
		return say(Fail, "that is worse by more than the tolerance of %s, and chance does not explain it: a good release looks so bad in fewer than %s of all rollouts", percent(tolerance), percent(1/v.EValue))
	case in.Alone && v.Lower > tolerance:
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
