package main

import (
	"math"
	"slices"
)

// fixedThreshold is a check at fixed intervals against a fixed value: so many failed checks in all, and
// the release goes back.
//
// Flagger's documentation checks request-success-rate ≥ 99 over 1 m, and goes back at threshold 5;
// Argo Rollouts' AnalysisTemplate checks success-rate ≥ 0.95 every 5 m and fails above failureLimit 3.
type fixedThreshold struct {
	every  int // minutes
	limit  float64
	allow  int // failed checks that are allowed
	failed int
	sum, n float64
}

func flagger(limit float64) *fixedThreshold {
	return &fixedThreshold{every: 1, limit: limit, allow: 4}
}

func argo(limit float64) *fixedThreshold { return &fixedThreshold{every: 5, limit: limit, allow: 3} }

// minute adds bad of n, and reports whether the release goes back.
func (f *fixedThreshold) minute(m int, bad, n float64) bool {
	f.sum += bad
	f.n += n
	if (m+1)%f.every != 0 {
		return false
	}
	if f.n > 0 && f.sum/f.n > f.limit {
		f.failed++
	}
	f.sum, f.n = 0, 0
	return f.failed > f.allow
}

// mannWhitney is the rank test of one point a minute and pool.
type mannWhitney struct {
	canary, stable []float64 // sorted
	u              float64   // pairs in which the canary's is larger; ties are a half
	ties           float64   // Σ t³ − t
}

func (m *mannWhitney) add(canary, stable float64) {
	less, same := countBelow(m.stable, canary)
	m.u += float64(less) + float64(same)/2
	_, own := countBelow(m.canary, canary)
	m.tie(same + own)
	m.canary = insert(m.canary, canary)

	less, same = countBelow(m.canary, stable)
	m.u += float64(len(m.canary)-less-same) + float64(same)/2
	_, own = countBelow(m.stable, stable)
	m.tie(same + own)
	m.stable = insert(m.stable, stable)
}

// tie adds one to a group of so many equal ones.
func (m *mannWhitney) tie(t int) {
	x := float64(t)
	m.ties += (x+1)*(x+1)*(x+1) - (x + 1) - (x*x*x - x)
}

func countBelow(sorted []float64, x float64) (less, same int) {
	less, found := slices.BinarySearch(sorted, x)
	if found {
		same, _ = slices.BinarySearch(sorted[less:], math.Nextafter(x, math.Inf(1)))
	}
	return less, same
}

func insert(sorted []float64, x float64) []float64 {
	i, _ := slices.BinarySearch(sorted, x)
	return slices.Insert(sorted, i, x)
}

func (m *mannWhitney) sigma() float64 {
	a, b := float64(len(m.canary)), float64(len(m.stable))
	n := a + b
	return math.Sqrt(a * b / 12 * (n + 1 - m.ties/(n*(n-1))))
}

// z is the standardised statistic, with the continuity correction.
func (m *mannWhitney) z() float64 {
	s := m.sigma()
	if s == 0 || len(m.canary) < kayentaFrom {
		return math.Inf(-1)
	}
	return (m.u - float64(len(m.canary)*len(m.stable))/2 - .5) / s
}

const kayentaFrom = 5 // points, before it is looked at

// kayenta reports whether Kayenta calls the metric "High": the lower end of the 98 % interval of the
// Hodges-Lehmann shift is above a quarter of the shift's estimate (MannWhitneyClassifier).
func (m *mannWhitney) kayenta() bool {
	const z98 = 2.3263478740408408
	if m.z() < z98-.1 { // the interval reaches below 0; the correction moves it little
		return false
	}
	pairs := len(m.canary) * len(m.stable)
	k := int(math.Floor(float64(pairs)/2 - z98*m.sigma()))
	if k < 1 {
		return false
	}
	estimate := m.difference(pairs / 2)
	// The k-th smallest difference is above the limit when fewer than k are at most the limit.
	return m.atMost(.25*math.Abs(estimate)) < k
}

// difference is the k-th smallest (from 0) of all canary − stable.
func (m *mannWhitney) difference(k int) float64 {
	low, high := m.canary[0]-m.stable[len(m.stable)-1], m.canary[len(m.canary)-1]-m.stable[0]
	for range 50 {
		if middle := (low + high) / 2; m.atMost(middle) > k {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

func (m *mannWhitney) atMost(d float64) int {
	n, j := 0, 0
	for _, c := range m.canary { // those stable ones that are at least c − d
		for j < len(m.stable) && m.stable[j] < c-d {
			j++
		}
		n += len(m.stable) - j
	}
	return n
}
