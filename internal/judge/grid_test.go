package judge

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/integrate/quad"

	"github.com/waybill-dev/waybill/internal/long"
)

// The likelihood that split keeps is that of the closed form: integrated over the closed form's own
// prior, uniform in θ above θ₀, it gives the same e-value.
func TestSplitAgainstClosedForm(t *testing.T) {
	for _, w := range []float64{.05, .3, .5} {
		for _, n := range [][2]int64{{0, 0}, {1, 0}, {7, 3}, {3, 40}, {25, 200}} {
			var s split
			s.add(n[0], n[1], w)
			for i := range s.L { // at every ratio of the grid: against θ^c (1−θ)^s over θ₀^c (1−θ₀)^s
				theta := nullShare(w, s.ratioAt(i))
				want := float64(n[0])*math.Log(theta/w) + float64(n[1])*math.Log((1-theta)/(1-w))
				require.InDelta(t, want, s.L[i]-s.L[half], 1e-9)
			}
			integral := quad.Fixed(func(theta float64) float64 {
				return math.Exp(float64(n[0])*math.Log(theta/w) + float64(n[1])*math.Log((1-theta)/(1-w)))
			}, w, 1, 400, nil, 0) / (1 - w)
			require.InEpsilon(t, eventEValue(n[0], n[1], w), integral, 1e-6)
		}
	}
}

// The formula of arXiv 2011.03567 for two streams and a fixed prior, E = B(a+n_T, b+n_C)/B(a,b) /
// (θ₀^n_T (1−θ₀)^n_C), by exact fractions: a = b = 1, θ₀ = ½, 8 of 10 → 2^10·8!·2!/11! = 1024/495.
func TestMultinomialReference(t *testing.T) {
	whole := eventEValue(8, 2, 1e-12) * math.Pow(1e-12, 8) * math.Pow(1-1e-12, 2) * (1 - 1e-12) // prior over all of (0,1)
	require.InEpsilon(t, 1024.0/495, whole*1024, 1e-6)
}

// Under H₀ the mixtures have the mean 1 at the edge, and less inside: all outcomes are summed.
func TestGridIsFair(t *testing.T) {
	for _, w := range []float64{.05, .3, .5} {
		for _, truth := range []float64{.25, .5, 1} {
			const n = 20
			mean := 0.0
			theta := nullShare(w, truth)
			for c := range int64(n + 1) {
				var s split
				s.add(c, n-c, w)
				choose, _ := new(big.Float).SetInt(new(big.Int).Binomial(n, c)).Float64()
				mean += choose * math.Pow(theta, float64(c)) * math.Pow(1-theta, float64(n-c)) * s.above()
			}
			if truth == 1 {
				require.InDelta(t, 1, mean, 1e-9)
			} else {
				require.Less(t, mean, 1.0)
			}
		}
	}
	for _, block := range [][3]int64{{4, 40, 6}, {1, 9, 3}, {300, 500, 60}, {20, 20, 39}} {
		canary, stable, bad := block[0], block[1], block[2]
		above, below, all := 0.0, 0.0, 0.0
		for x := max(0, bad-stable); x <= min(bad, canary); x++ {
			var g grid
			g.table(canary, stable, x, bad-x)
			p := math.Exp(lchoose(canary, x) + lchoose(stable, bad-x) - lchoose(canary+stable, bad))
			all += p
			above += p * g.above()
			below += p * g.below()
		}
		require.InDelta(t, 1, all, 1e-9)
		require.InDelta(t, 1, above, 1e-6, "%v", block)
		require.InDelta(t, 1, below, 1e-6, "%v", block)
	}
}

func lchoose(n, k int64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// Both ways to sum the tables' normaliser agree, and neither overflows.
func TestTiltLargeAndSmall(t *testing.T) {
	long.Test(t)
	exact := func(canary, stable, x, y int64, logR float64) float64 {
		bad, top := x+y, math.Inf(-1)
		var logs []float64
		for k := max(0, bad-stable); k <= min(bad, canary); k++ {
			logs = append(logs, lchoose(canary, k)+lchoose(stable, bad-k)+float64(k)*logR)
			top = max(top, logs[len(logs)-1])
		}
		sum := 0.0
		for _, l := range logs {
			sum += math.Exp(l - top)
		}
		return float64(x)*logR - top - math.Log(sum)
	}
	for _, c := range [][4]int64{{1, 9, 1, 0}, {24, 4072, 12, 12}, {24, 4000, 24, 0}, {2048, 2048, 24, 0}, {100, 900, 30, 20}, {60000, 60000, 30000, 20000}, {5, 5, 5, 5}, {5, 5, 0, 0}} {
		var g grid
		g.table(c[0], c[1], c[2], c[3])
		for i := range g.L {
			want := exact(c[0], c[1], c[2], c[3], g.Null+logStep*float64(i-half)) - exact(c[0], c[1], c[2], c[3], 0)
			require.InDelta(t, want, g.L[i]-g.L[half], 1e-6+1e-9*math.Abs(want), "%v at %d", c, i)
			require.False(t, math.IsNaN(g.L[i]) || math.IsInf(g.L[i], 0))
		}
	}
}

// Swapping the arms mirrors the evidence.
func TestGridMirrors(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		c, s := 1+random.Int64N(50), 1+random.Int64N(50)
		x, y := random.Int64N(c+1), random.Int64N(s+1)
		var a, b grid
		a.table(c, s, x, y)
		b.table(s, c, y, x)
		require.InEpsilon(t, a.above(), b.below(), 1e-9)
		require.InEpsilon(t, a.below(), b.above(), 1e-9)
		al, au := a.bounds(.05)
		bl, bu := b.bounds(.05)
		require.InDelta(t, al, 1/bu, 1e-9)
		if !math.IsInf(au, 1) || bl != 0 {
			require.InEpsilon(t, au, 1/bl, 1e-9)
		}
		var e, f split
		w := .05 + .9*random.Float64()
		e.add(x, y, w)
		f.add(y, x, 1-w)
		require.InEpsilon(t, e.above(), f.below(), 1e-9)
	}
}

// Stretches of one weight may be added in any order and in any pieces.
func TestSplitIsExchangeable(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	for range 100 {
		n := 1 + random.IntN(40)
		type piece struct {
			c, s int64
			w    float64
		}
		pieces := make([]piece, n)
		for i := range pieces {
			pieces[i] = piece{random.Int64N(3), random.Int64N(6), []float64{.05, .25, .5}[random.IntN(3)]}
		}
		var a, b split
		for _, p := range pieces {
			a.add(p.c, p.s, p.w)
		}
		for _, i := range random.Perm(n) {
			for range pieces[i].c {
				b.add(1, 0, pieces[i].w)
			}
			for range pieces[i].s {
				b.add(0, 1, pieces[i].w)
			}
		}
		require.InEpsilon(t, a.above(), b.above(), 1e-9)
	}
}

// A true ratio stays in its confidence sequence at every look.
func TestBoundsHold(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	const runs, alpha, w = 600, .05, .2
	for _, truth := range []float64{.5, 1, 3} {
		missed := 0
		for range runs {
			var s split
			out := false
			for range 300 {
				if random.Float64() < nullShare(w, truth) {
					s.add(1, 0, w)
				} else {
					s.add(0, 1, w)
				}
				lower, upper := s.bounds(alpha)
				out = out || truth < lower || truth > upper
			}
			if out {
				missed++
			}
		}
		require.LessOrEqual(t, float64(missed)/runs, alpha, "ratio %g", truth)
	}
}
