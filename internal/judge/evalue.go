package judge

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// worse is the e-value that the canary fails more often than the stable pool, which is one ratio
// r = 1 of nullShare: the tolerance is a difference of shares, and Step asks for it besides.
func worse(canary, stable Counts) float64 {
	all := canary.Requests + stable.Requests
	if all == 0 {
		return 0
	}
	return eventEValue(canary.Failed, stable.Failed, nullShare(float64(canary.Requests)/float64(all), 1))
}

// nullShare is the chance that a failure falls on the canary when it has share w of the requests and
// fails r times as often as the stable pool: θ₀ = r·w / (r·w + 1 − w).
func nullShare(w, r float64) float64 { return r * w / (r*w + 1 - w) }

// eventEValue is the beta-binomial e-process for counts of events (Lindon, Malek: "Anytime-Valid
// Inference for Multinomial Count Data", arXiv 2011.03567), one-sided. Given an event, it falls on the
// canary with probability θ; under H₀ θ ≤ θ₀. The mixture of the likelihood ratios θ against θ₀ over
// a uniform prior on (θ₀, 1] is, for nC events on the canary and nS on the stable pool,
//
//	E = B(1+nC, 1+nS)·(1 − I_θ₀(1+nC, 1+nS)) / ((1 − θ₀) · θ₀^nC · (1−θ₀)^nS)
//
// with the beta function B and the regularised incomplete beta function I. Each ratio with θ > θ₀ has
// an expectation of at most 1 under every θ ≤ θ₀, so P(E ≥ 1/α at any look) ≤ α (Ville).
// Without an event, or with all or nothing of the requests on the canary, E is at most 1.
func eventEValue(canary, stable int64, theta0 float64) float64 {
	if !(theta0 > 0 && theta0 < 1) {
		return 1
	}
	a, b := 1+float64(canary), 1+float64(stable)
	// 1 − I_θ(a, b) = I_{1−θ}(b, a), which keeps its digits where it is small.
	tail := mathext.RegIncBeta(b, a, 1-theta0)
	log := mathext.Lbeta(a, b) + math.Log(tail) - math.Log1p(-theta0) -
		float64(canary)*math.Log(theta0) - float64(stable)*math.Log1p(-theta0)
	return math.Exp(log)
}

// excess is a confidence sequence for the canary's failure share minus the stable pool's, at level
// 1 − Alpha at all looks together: each arm gets half of Alpha (Bonferroni).
func excess(canary, stable Counts) (lower, upper float64) {
	cl, cu := proportion(canary, Alpha/2)
	sl, su := proportion(stable, Alpha/2)
	return cl - su, cu - sl
}

// proportion is the beta-binomial confidence sequence for a share (Robbins, "Statistical Methods
// Related to the Law of the Iterated Logarithm", Ann. Math. Statist. 41, 1970; a = b = ½): all p with
//
//	M(p) = B(½+f, ½+n−f) / B(½, ½) / (p^f · (1−p)^(n−f)) < 1/α
//
// M is a martingale with mean 1 under the true p, so p stays inside at every look with probability 1 − α.
func proportion(c Counts, alpha float64) (lower, upper float64) {
	f, g := float64(c.Failed), float64(c.Requests-c.Failed)
	mixture := mathext.Lbeta(.5+f, .5+g) - mathext.Lbeta(.5, .5)
	logM := func(p float64) float64 {
		log := mixture
		if f > 0 {
			log -= f * math.Log(p)
		}
		if g > 0 {
			log -= g * math.Log1p(-p)
		}
		return log
	}
	limit := -math.Log(alpha)
	// M falls up to p = f/n and rises after it.
	edge := func(inside, outside float64) float64 {
		if logM(outside) < limit {
			return outside
		}
		for range 100 {
			middle := (inside + outside) / 2
			if middle == inside || middle == outside {
				break
			}
			if logM(middle) < limit {
				inside = middle
			} else {
				outside = middle
			}
		}
		return outside
	}
	if c.Requests == 0 {
		return 0, 1
	}
	best := c.share()
	return edge(best, 0), edge(best, 1)
}
