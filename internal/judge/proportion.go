package judge

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// excess is a confidence sequence for the canary's failure share minus the stable pool's, at level
// 1 − alpha at all looks together: each arm gets half of alpha (Bonferroni).
func excess(canary, stable Counts, alpha float64) (lower, upper float64) {
	cl, cu := proportion(canary, alpha/2)
	sl, su := proportion(stable, alpha/2)
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
