package judge

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/mathext"
)

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

// exactEValue integrates the likelihood ratio over θ in (θ₀, 1] with rational numbers: the integrand
// is a polynomial, Σ C(s,k)(−1)^k θ^(c+k).
func exactEValue(c, s int64, num, den int64) float64 {
	theta := big.NewRat(num, den)
	one := big.NewRat(1, 1)
	pow := func(x *big.Rat, n int64) *big.Rat {
		p := big.NewRat(1, 1)
		for range n {
			p.Mul(p, x)
		}
		return p
	}
	sum := new(big.Rat)
	for k := range s + 1 {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(s, k))
		if k%2 == 1 {
			term.Neg(term)
		}
		term.Mul(term, new(big.Rat).Sub(one, pow(theta, c+k+1)))
		sum.Add(sum, term.Quo(term, big.NewRat(c+k+1, 1)))
	}
	rest := new(big.Rat).Sub(one, theta)
	sum.Quo(sum, rest)
	sum.Quo(sum, pow(theta, c))
	sum.Quo(sum, pow(rest, s))
	e, _ := sum.Float64()
	return e
}

func TestEventEValueExactly(t *testing.T) {
	require.InDelta(t, 1.5, eventEValue(1, 0, .5), 1e-12, "∫θ dθ over (½,1], twice, over ½")
	require.InDelta(t, 0.5, eventEValue(0, 1, .5), 1e-12)
	for _, theta := range [][2]int64{{1, 20}, {1, 10}, {1, 2}, {9, 10}} {
		for c := int64(0); c <= 30; c += 3 {
			for s := int64(0); s <= 30; s += 3 {
				want := exactEValue(c, s, theta[0], theta[1])
				require.InEpsilon(t, want, eventEValue(c, s, float64(theta[0])/float64(theta[1])), 1e-9, "%d, %d, %v", c, s, theta)
			}
		}
	}
}

func TestEventEValueEdges(t *testing.T) {
	require.InDelta(t, 1, eventEValue(0, 0, .3), 1e-12)
	for _, theta := range []float64{0, 1, math.NaN(), -1, 2} {
		require.EqualValues(t, 1, eventEValue(5, 0, theta))
	}
	e := eventEValue(1e6, 1e6, .1) // no overflow into NaN
	require.True(t, math.IsInf(e, 1))
	require.Zero(t, eventEValue(0, 1e6, .5)-eventEValue(0, 1e6, .5))
	require.InDelta(t, 0, eventEValue(0, 1e6, .5), 1e-3)
}

func TestNullShare(t *testing.T) {
	require.InDelta(t, .1, nullShare(.1, 1), 1e-15)
	require.InDelta(t, .2/1.1, nullShare(.1, 2), 1e-15)
	require.InDelta(t, .75, nullShare(.5, 3), 1e-15)
}

// Under H₀ the e-value's mean is at most 1, at the edge exactly 1: summed over all outcomes of n events.
func TestEventEValueIsFair(t *testing.T) {
	for _, theta0 := range []float64{.05, .3, .5} {
		for _, theta := range []float64{theta0 / 4, theta0 / 2, theta0} {
			const n = 25
			mean := 0.0
			for c := range int64(n + 1) {
				choose, _ := new(big.Float).SetInt(new(big.Int).Binomial(n, c)).Float64()
				mean += choose * math.Pow(theta, float64(c)) * math.Pow(1-theta, float64(n-c)) * eventEValue(c, n-c, theta0)
			}
			if theta == theta0 {
				require.InDelta(t, 1, mean, 1e-9)
			} else {
				require.Less(t, mean, 1.0)
			}
		}
	}
}

func TestProportion(t *testing.T) {
	lo, hi := proportion(Counts{}, .01)
	require.Zero(t, lo)
	require.EqualValues(t, 1, hi)

	// Without a failure the upper bound has a closed form: 1−p = (α·B(½,½+n)/B(½,½))^(1/n).
	for _, n := range []int64{1, 20, 1000, 1_000_000} {
		lo, hi := proportion(Counts{Requests: n}, .01)
		require.Zero(t, lo)
		mix := quad.Fixed(func(x float64) float64 { // ∫ (1−p)^n dBeta(½,½), with p = sin²x
			return math.Pow(math.Cos(x), float64(2*n)) * 2 / math.Pi
		}, 0, math.Pi/2, 4000, nil, 0)
		require.InEpsilon(t, -math.Expm1(math.Log(.01*mix)/float64(n)), hi, 1e-6, "n = %d", n)
	}
	// It is symmetric, contains what was seen, and shrinks.
	random := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		n := 1 + random.Int64N(5000)
		f := random.Int64N(n + 1)
		lo, hi := proportion(Counts{n, f}, .01)
		ml, mh := proportion(Counts{n, n - f}, .01)
		require.InDelta(t, lo, 1-mh, 1e-9)
		require.InDelta(t, hi, 1-ml, 1e-9)
		p := float64(f) / float64(n)
		require.True(t, 0 <= lo && lo <= p && p <= hi && hi <= 1, "%d of %d: %g, %g", f, n, lo, hi)
		ll, lh := proportion(Counts{n * 10, f * 10}, .01)
		require.Less(t, lh-ll, hi-lo)
		wl, wh := proportion(Counts{n, f}, .001)
		require.True(t, wl <= lo && wh >= hi, "more certainty is wider")
	}
}

// The true share stays inside at every one of 2,000 looks, as often as promised.
func TestProportionCoversAtEveryLook(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	const runs, alpha = 400, .05
	for _, p := range []float64{.005, .1, .5} {
		missed := 0
		for range runs {
			var c Counts
			for range 2000 {
				c.Requests++
				if random.Float64() < p {
					c.Failed++
				}
				if logMAt(c, p) >= -math.Log(alpha) { // the same as p outside, without the search
					missed++
					break
				}
			}
			lo, hi := proportion(c, alpha)
			require.Equal(t, logMAt(c, p) < -math.Log(alpha), lo < p && p < hi)
		}
		// Four standard deviations above α.
		require.LessOrEqual(t, float64(missed)/runs, alpha+4*math.Sqrt(alpha*(1-alpha)/runs), "p = %g", p)
	}
}

func logMAt(c Counts, p float64) float64 {
	f, g := float64(c.Failed), float64(c.Requests-c.Failed)
	lb := func(a, b float64) float64 {
		x, _ := math.Lgamma(a)
		y, _ := math.Lgamma(b)
		z, _ := math.Lgamma(a + b)
		return x + y - z
	}
	return lb(.5+f, .5+g) - lb(.5, .5) - f*math.Log(p) - g*math.Log1p(-p)
}
