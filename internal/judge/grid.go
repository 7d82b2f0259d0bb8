package judge

import "math"

// A grid holds the log-likelihood of what was seen so far under 2·half+1 ratios canary : stable,
// spread evenly on the log scale around the ratio that the null hypothesis allows. It is all the
// memory that a comparison needs, and it serves three questions: how much speaks for "worse"
// (above), how much for "not worse" (below), and which ratios are still possible (bounds).
//
// A mixture Σ π_k L(r_k)/L(r_null) over ratios r_k > r_null is a martingale with mean 1 at r_null, and
// a supermartingale at every smaller ratio, because both likelihoods used here have a monotone
// likelihood ratio. Ville: P(it ever reaches 1/α) ≤ α. (Robbins 1970; Howard et al., arXiv 1810.08240.)
type grid struct {
	Null float64             `json:"null"` // log of the ratio in the middle
	L    [2*half + 1]float64 `json:"l"`
}

const (
	half    = 24
	logStep = 4.1588830833596715 / half // up to 64 times as much, down to a 64th
)

// prior is the weight of the ratio k steps from the middle, on one side. Most of it falls exponentially
// on the log scale with mean 1/3, so that small harm is found about as soon as it can be; the rest is
// even, so that large harm is found at once whatever its size. It sums to 1 over k = 1 … half.
var prior = func() (p [half + 1]float64) {
	const even = .15
	sum := 0.0
	for k := 1; k <= half; k++ {
		p[k] = math.Exp(-3 * logStep * float64(k))
		sum += p[k]
	}
	for k := 1; k <= half; k++ {
		p[k] = (1-even)*p[k]/sum + even/half
	}
	return p
}()

// reserve is the weight of the null's ratio itself. It makes the true rate of false alarms stay clear of
// α, by that part, for a few percent of the time to find harm.
const reserve = .1

// ratioAt is the ratio of place i, 0 … 2·half.
func (g *grid) ratioAt(i int) float64 { return math.Exp(g.Null + logStep*float64(i-half)) }

// above is the e-value against "the ratio is at most the null's".
func (g *grid) above() float64 { return g.side(1) }

// below is the e-value against "the ratio is at least the null's".
func (g *grid) below() float64 { return g.side(-1) }

// raise is the larger of best and above, with less work where it is clear that best is.
func (g *grid) raise(best float64) float64 {
	top := math.Inf(-1)
	for _, l := range g.L[half+1:] {
		top = max(top, l)
	}
	if best >= 1 && top-g.L[half] <= math.Log(best) { // the mixture is no larger than its largest part
		return best
	}
	return max(best, g.above())
}

func (g *grid) side(direction int) float64 {
	sum, middle := 0.0, g.L[half]
	for k := 1; k <= half; k++ {
		sum += prior[k] * math.Exp(g.L[half+direction*k]-middle)
	}
	return reserve + (1-reserve)*sum
}

// bounds is the confidence sequence of the ratio at level 1−alpha: a ratio is out when the mixture
// over both sides is 1/alpha times as likely. Rounded outward to the grid; 0 and +Inf beyond it.
func (g *grid) bounds(alpha float64) (lower, upper float64) {
	top := math.Inf(-1)
	for _, l := range g.L {
		top = max(top, l)
	}
	sum := 0.0
	for k := 1; k <= half; k++ {
		sum += prior[k] / 2 * (math.Exp(g.L[half+k]-top) + math.Exp(g.L[half-k]-top))
	}
	limit := math.Log(sum) + top + math.Log(alpha) // a likelihood at or below it is out
	first, last := -1, -1
	for i, l := range g.L {
		if l > limit {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	lower, upper = 0, math.Inf(1)
	if first > 0 {
		lower = g.ratioAt(first - 1)
	}
	if last >= 0 && last < 2*half {
		upper = g.ratioAt(last + 1)
	}
	return lower, upper
}

// split adds events of which canary and stable fell on the pools while the canary had the share w,
// strictly between 0 and 1, of the exposure. Given an event of one of two Poisson streams whose rates
// have the ratio r, it falls on the canary with probability θ = r·w/(r·w + 1 − w) (Lindon, Malek,
// arXiv 2011.03567). The share is that of this stretch, so it may change from one to the next: the
// likelihoods of the stretches multiply. What does not depend on r is left out.
type split struct {
	grid
	w   float64
	log [2*half + 1]float64 // ln(r·w + 1 − w), for w
}

func (s *split) add(canary, stable int64, w float64) {
	if s.w != w {
		s.w = w
		for i := range s.log {
			s.log[i] = math.Log(s.ratioAt(i)*w + 1 - w)
		}
	}
	c, n := float64(canary), float64(canary+stable)
	for i := range s.L {
		s.L[i] += c*logStep*float64(i-half) - n*s.log[i]
	}
}

// table adds one 2×2 table: of canary and stable units, so many were bad. Given how many were bad in
// all, the canary's number is hypergeometric when both pools are alike (Fisher), whatever the common
// share is; with odds ratio r it is Fisher's noncentral hypergeometric,
//
//	P_r(x) ∝ C(n_C, x) · C(n_S, F − x) · r^x
//
// So nothing need be known of the share, and it may change from table to table (time of day, load).
func (g *grid) table(canary, stable, canaryBad, stableBad int64) {
	tilt(g.L[:], g.Null-half*logStep, canary, stable, canaryBad, stableBad)
}

// tilt adds ln P_r(x), but for what does not depend on r, to each of into, whose log-ratios begin at
// from and are logStep apart.
func tilt(into []float64, from float64, canary, stable, canaryBad, stableBad int64) {
	bad := canaryBad + stableBad
	low, high := max(0, bad-stable), min(bad, canary)
	if low == high {
		return // it could not have been otherwise
	}
	n := int(high - low)
	terms := make([]float64, 0, 16) // ln of C·C, against the first
	terms = append(terms, 0)
	for k := low; k < high; k++ {
		step := math.Log(float64(canary-k)) + math.Log(float64(bad-k)) - math.Log(float64(k+1)) - math.Log(float64(stable-bad+k+1))
		terms = append(terms, terms[len(terms)-1]+step)
	}
	x := float64(canaryBad - low)
	if n <= 24 && canary+stable <= 4096 { // fits into a float64: (4096²·64)^24 < 1e308… see TestTiltLargeAndSmall
		for k := range terms {
			terms[k] = math.Exp(terms[k])
		}
		for i := range into {
			logR := from + logStep*float64(i)
			r, sum := math.Exp(logR), 0.0
			for k := n; k >= 0; k-- {
				sum = sum*r + terms[k]
			}
			into[i] += x*logR - math.Log(sum)
		}
		return
	}
	for i := range into {
		logR := from + logStep*float64(i)
		top := math.Inf(-1)
		for k, t := range terms {
			top = max(top, t+float64(k)*logR)
		}
		sum := 0.0
		for k, t := range terms {
			sum += math.Exp(t + float64(k)*logR - top)
		}
		into[i] += x*logR - top - math.Log(sum)
	}
}
