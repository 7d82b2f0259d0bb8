package judge

import "fmt"

// sharesTest compares how many of the pools' units are bad, request by request.
type sharesTest struct {
	rule  Signal
	pools [2]counter
	both  Comparison
	all   Pair
	best  float64
}

func (t *sharesTest) take(o *Observation) error {
	switch {
	case o.Total < 0 || o.Bad < 0:
		return errNegative
	case o.Bad > o.Total:
		return errMore
	}
	var added [2]int64
	if t.pools[o.Pool].step(o.Source, []int64{o.Total, o.Bad}, added[:]) {
		return nil
	}
	var canary, stable Counts
	seen := Counts{added[0], added[1]}
	if !seen.sound() { // the counters hold together only over longer stretches
		seen.Failed = seen.Requests
	}
	if o.Pool == Canary {
		canary = seen
	} else {
		stable = seen
	}
	t.all.Canary = t.all.Canary.plus(canary)
	t.all.Stable = t.all.Stable.plus(stable)
	used := t.both.Used
	t.both.add(o.At, canary, stable)
	if t.both.Used != used && t.all.excess() > t.rule.Tolerance {
		t.best = t.both.Evidence.raise(t.best)
	}
	return nil
}

func (t *sharesTest) worse() float64 { return t.best }

func (t *sharesTest) still() float64 {
	if t.all.excess() > t.rule.Tolerance {
		return t.both.EValue()
	}
	return 0
}

func (t *sharesTest) judge(alpha float64) (Outcome, Evidence) {
	return judgeShares(t.rule, alpha, t.all, t.best, t.pools[0].restarts+t.pools[1].restarts)
}

// judgeShares is the verdict on two shares: worse is an e-value, taken while the excess seen was above
// the tolerance; the rest is the confidence sequence of the difference.
func judgeShares(rule Signal, alpha float64, all Pair, worse float64, restarts int) (Outcome, Evidence) {
	e := Evidence{EValue: worse, Effect: all.excess(), Unit: "difference of shares", Canary: all.Canary, Stable: all.Stable, restarts: restarts}
	e.Lower, e.Upper = excess(all.Canary, all.Stable, alpha)
	what := "requests"
	if rule.Kind == Sessions {
		what = "sessions"
	}
	e.Says = fmt.Sprintf("%d of %d %s (%s) on the new release, %d of %d (%s) on the old one",
		all.Canary.Failed, all.Canary.Requests, what, percent(all.Canary.share()), all.Stable.Failed, all.Stable.Requests, percent(all.Stable.share()))
	switch {
	case worse >= 1/alpha:
		return Fail, e
	case all.Canary.Requests > 0 && all.Stable.Requests > 0 && all.Canary.Requests >= rule.MinCanary && e.Upper < rule.Tolerance:
		return Pass, e
	}
	return Inconclusive, e
}
