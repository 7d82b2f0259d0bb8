package judge

import (
	"fmt"
	"math"
	"time"
)

// valuesTest compares the means of bounded values by an empirical-Bernstein confidence sequence of each
// pool at α/2. It is right for values of any shape, and slow: for durations Latency speaks sooner.
type valuesTest struct {
	rule  Signal
	pools [2]mean
}

func (t *valuesTest) take(o *Observation) error {
	switch {
	case math.IsNaN(o.Value) || math.IsInf(o.Value, 0):
		return errNoNumber
	case o.Value < 0:
		return errNegative
	}
	t.pools[o.Pool].add(min(1, o.Value/t.rule.Cap))
	return nil
}

func (t *valuesTest) worse() float64 { return 0 } // it has bounds, and no e-value
func (t *valuesTest) still() float64 { return 0 }

func (t *valuesTest) judge(alpha float64) (Outcome, Evidence) {
	canary, stable := &t.pools[Canary], &t.pools[Stable]
	cl, cu := canary.bounds(alpha / 2)
	sl, su := stable.bounds(alpha / 2)
	e := Evidence{
		Lower: (cl - su) * t.rule.Cap, Upper: (cu - sl) * t.rule.Cap, Unit: "difference of means",
		Canary: Counts{Requests: canary.n}, Stable: Counts{Requests: stable.n}, Effect: math.NaN(),
	}
	lower, upper := e.Lower, e.Upper
	if t.rule.Fewer {
		lower, upper = -upper, -lower
	}
	e.Says = fmt.Sprintf("%d on the new release, %d on the old one", canary.n, stable.n)
	if canary.n == 0 || stable.n == 0 {
		return Inconclusive, e
	}
	mc, ms := canary.sum/float64(canary.n)*t.rule.Cap, stable.sum/float64(stable.n)*t.rule.Cap
	e.Effect = mc - ms
	e.Says = fmt.Sprintf("%.3g on average of %d on the new release, %.3g of %d on the old one", mc, canary.n, ms, stable.n)
	switch {
	case lower > t.rule.Tolerance:
		return Fail, e
	case canary.n >= t.rule.MinCanary && upper < t.rule.Tolerance:
		return Pass, e
	}
	return Inconclusive, e
}

// seriesTest compares two series of numbers, one a pool and interval. The difference of a pair is
// symmetric about the true one when the pools are alike, and neighbours depend on each other: so the
// mean of seriesBlock pairs is one difference, and the next seriesGap pairs are left out. For
// symmetric D_i, exp(λS − λ²V/2) with S = Σ D_i and V = Σ D_i² is a supermartingale, whatever the tails
// (de la Peña 1999); λ is mixed over a half-normal prior (normalMixtureAbove). Each D_i is divided by
// the size of those before it, which its sign does not know of.
type seriesTest struct {
	rule   Signal
	every  time.Duration
	at     [2]time.Time // start of the interval of value
	value  [2]float64
	have   [2]bool
	pairs  int64 // all of them
	sum    float64
	phase  int // pairs in this block, and then in the gap
	inside float64

	blocks int64
	size   float64 // Σ D²
	// Σ D/s, 1/s, D²/s², D/s², 1/s² over the blocks with their scales s: S and V about any centre.
	ds, is, dds, dss, iss float64
	best                  float64
}

const (
	seriesBlock = 6
	seriesGap   = 2
)

// seriesRho makes the mixture tightest at about 12 blocks, one-sided at α = 1 %.
var seriesRho = mixtureRho(12, 2*.01)

func newSeriesTest(s Signal) *seriesTest {
	t := &seriesTest{rule: s, every: s.Interval}
	if t.every == 0 {
		t.every = time.Minute
	}
	return t
}

func (t *seriesTest) take(o *Observation) error {
	if math.IsNaN(o.Value) || math.IsInf(o.Value, 0) {
		return errNoNumber
	}
	p, at := o.Pool, o.At.Truncate(t.every)
	if t.have[p] && t.at[p].Equal(at) {
		return nil // the first of an interval counts
	}
	t.at[p], t.value[p], t.have[p] = at, o.Value, true
	if !t.have[0] || !t.have[1] || !t.at[0].Equal(t.at[1]) {
		return nil
	}
	t.pair(t.value[Canary] - t.value[Stable])
	return nil
}

func (t *seriesTest) pair(d float64) {
	if t.rule.Fewer {
		d = -d
	}
	t.pairs++
	t.sum += d
	t.phase++
	if t.phase <= seriesBlock {
		t.inside += d / seriesBlock
	}
	if t.phase == seriesBlock {
		t.add(t.inside)
		t.inside = 0
	}
	if t.phase == seriesBlock+seriesGap {
		t.phase = 0
	}
}

func (t *seriesTest) add(d float64) {
	if t.blocks > 0 && t.size > 0 {
		s := math.Sqrt(t.size / float64(t.blocks))
		t.ds += d / s
		t.is += 1 / s
		t.dds += d / s * (d / s)
		t.dss += d / s / s
		t.iss += 1 / s / s
		t.best = max(t.best, t.above(t.rule.Tolerance))
	}
	t.blocks++
	t.size += d * d
}

// about is S and V of the differences less centre.
func (t *seriesTest) about(centre float64) (s, v float64) {
	return t.ds - centre*t.is, max(0, t.dds-2*centre*t.dss+centre*centre*t.iss)
}

// above is the e-value against a true difference of at most centre.
func (t *seriesTest) above(centre float64) float64 {
	s, v := t.about(centre)
	return math.Exp(normalMixtureAbove(s, v, seriesRho))
}

// below is the e-value against a true difference of at least centre.
func (t *seriesTest) below(centre float64) float64 {
	s, v := t.about(centre)
	return math.Exp(normalMixtureAbove(-s, v, seriesRho))
}

func (t *seriesTest) worse() float64 { return t.best }
func (t *seriesTest) still() float64 { return t.above(t.rule.Tolerance) }

func (t *seriesTest) judge(alpha float64) (Outcome, Evidence) {
	e := Evidence{EValue: t.best, Effect: math.NaN(), Lower: math.Inf(-1), Upper: math.Inf(1), Unit: "difference", Canary: Counts{Requests: t.pairs}, Stable: Counts{Requests: t.pairs}}
	e.Says = fmt.Sprintf("%d pairs of numbers", t.pairs)
	if t.pairs > 0 {
		e.Effect = t.sum / float64(t.pairs)
		e.Says = fmt.Sprintf("higher by %.3g on average over %d pairs", e.Effect, t.pairs)
	}
	if t.is > 0 {
		middle := t.ds / t.is
		scale := math.Sqrt(t.size / float64(t.blocks))
		outside := func(centre float64) bool {
			s, v := t.about(centre)
			return math.Abs(s) >= normalMixture(v, alpha, seriesRho)
		}
		e.Lower = middle - reach(scale, func(x float64) bool { return outside(middle - x) })
		e.Upper = middle + reach(scale, func(x float64) bool { return outside(middle + x) })
	}
	outcome := Inconclusive
	switch {
	case t.best >= 1/alpha:
		outcome = Fail
	case t.pairs > 0 && t.pairs >= t.rule.MinCanary && t.below(t.rule.Tolerance) >= 1/alpha:
		outcome = Pass
	}
	if t.rule.Fewer {
		e.Effect, e.Lower, e.Upper = -e.Effect, -e.Upper, -e.Lower
		if t.pairs > 0 {
			e.Says = fmt.Sprintf("lower by %.3g on average over %d pairs", -e.Effect, t.pairs)
		}
	}
	return outcome, e
}

// reach is the distance from which on outside holds; +Inf where it does not within a million scales.
func reach(scale float64, outside func(float64) bool) float64 {
	if scale == 0 {
		return math.Inf(1)
	}
	far := scale
	for !outside(far) {
		if far *= 2; far > 1e6*scale {
			return math.Inf(1)
		}
	}
	near := 0.0
	for range 60 {
		if m := (near + far) / 2; outside(m) {
			far = m
		} else {
			near = m
		}
	}
	return far
}
