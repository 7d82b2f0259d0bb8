package judge

import "math"

// The functions of this file are checked against the unit tests of the confseq library (Howard),
// whose values come from its authors' reference implementation in R.

// stitched is the polynomial stitched boundary: P(∃t: S_t ≥ stitched(V_t)) ≤ alpha for a
// sub-gamma process with scale c (Howard, Ramdas, McAuliffe, Sekhon, arXiv 1810.08240, Theorem 1 with
// s = 1.4, η = 2). Below the intrinsic time m > 0 it stays level.
func stitched(v, alpha, m, c float64) float64 {
	const s, eta = 1.4, 2.0
	const zeta = 3.1055472779775810 // ζ(1.4)
	k1 := (math.Pow(eta, .25) + math.Pow(eta, -.25)) / math.Sqrt2
	k2 := (math.Sqrt(eta) + 1) / 2
	v = max(v, m)
	l := s*math.Log(math.Log(eta*v/m)) + math.Log(zeta/math.Pow(math.Log(eta), s)) + math.Log(1/alpha)
	linear := k2 * c * l
	return math.Sqrt(k1*k1*v*l+linear*linear) + linear
}

// mixtureRho is the ρ that makes the two-sided normal mixture tightest at the intrinsic time v
// (arXiv 1810.08240, Proposition 3).
func mixtureRho(v, alpha float64) float64 {
	l := 2 * math.Log(1/alpha)
	return v / (l + math.Log(1+l))
}

// normalMixture is the two-sided boundary |S| ≤ √((V+ρ)(ln(1+V/ρ) + 2 ln(1/α))) (Robbins 1970).
func normalMixture(v, alpha, rho float64) float64 {
	return math.Sqrt((v + rho) * (math.Log(1+v/rho) + 2*math.Log(1/alpha)))
}

// normalMixtureAbove is the log of the one-sided normal mixture supermartingale,
// √(4ρ/(V+ρ)) · exp(S²/(2(V+ρ))) · Φ(S/√(V+ρ)) (arXiv 1810.08240, equation 3.9).
func normalMixtureAbove(s, v, rho float64) float64 {
	z := s / math.Sqrt(v+rho)
	return math.Log(4*rho/(v+rho))/2 + z*z/2 + logPhi(z)
}

// logPhi is ln Φ(z), also far to the left, where Φ itself is 0 as a float64.
func logPhi(z float64) float64 {
	if z > -30 {
		return math.Log(math.Erfc(-z/math.Sqrt2) / 2)
	}
	return -z*z/2 - math.Log(-z) - math.Log(2*math.Pi)/2 - 1/(z*z)
}

// bandWidth bounds sup|F̂ − F| over all values at once and at every t ≥ m:
// A·√((ln(1 + ln(t/m)) + C)/t) with A = 0.85, and C from bandConstant (Howard, Ramdas, arXiv
// 1906.09712, Theorem 2). Before m observations nothing is known: 1.
func bandWidth(t, m, constant float64) float64 {
	if !(t >= m) {
		return 1
	}
	return min(1, bandA*math.Sqrt((math.Log(1+math.Log(t/m))+constant)/t))
}

const bandA = 0.85

// bandConstant is the smallest C for which the bound's total error,
// 4·e^(−γ²C)·(1 + 1/((γ²−1)·ln η)) with γ² = (2/η)·(A − √(2(η−1)/C))², is at most alpha for some η > 1
// (the same theorem). alpha lies in (0, 1).
func bandConstant(alpha float64) float64 {
	failure := func(c, eta float64) float64 {
		root := bandA - math.Sqrt(2*(eta-1)/c)
		gamma := 2 / eta * root * root
		if root <= 0 || gamma <= 1 {
			return math.Inf(1)
		}
		return 4 * math.Exp(-gamma*c) * (1 + 1/((gamma-1)*math.Log(eta)))
	}
	best := func(c float64) float64 { // golden section over ln(η−1); the error has one minimum there
		low, high := math.Log(1e-9), math.Log(2*bandA*bandA-1)
		for failure(c, 1+math.Exp(high)) == math.Inf(1) && high > low {
			high -= .01
		}
		const g = 0.6180339887498949
		a, b := high-g*(high-low), low+g*(high-low)
		fa, fb := failure(c, 1+math.Exp(a)), failure(c, 1+math.Exp(b))
		for range 80 {
			if fa < fb {
				high, b, fb = b, a, fa
				a = high - g*(high-low)
				fa = failure(c, 1+math.Exp(a))
			} else {
				low, a, fa = a, b, fb
				b = low + g*(high-low)
				fb = failure(c, 1+math.Exp(b))
			}
		}
		return min(fa, fb)
	}
	low, high := 1.0, 5.0
	for best(high) > alpha && high < 1e4 {
		high *= 2
	}
	for range 60 {
		if middle := (low + high) / 2; best(middle) > alpha {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// mean is an empirical-Bernstein confidence sequence for the mean of values in [0, 1], of which each may
// depend on those before it (arXiv 1810.08240, Theorem 4): |S/n − μ| ≤ u(V)/n with
// V = Σ(X_i − X̂_i)², X̂_i the mean of the values before, and u the stitched boundary of scale 1.
type mean struct {
	n         int64
	sum, vary float64
}

func (m *mean) add(x float64) {
	guess := .5
	if m.n > 0 {
		guess = m.sum / float64(m.n)
	}
	m.vary += (x - guess) * (x - guess)
	m.sum += x
	m.n++
}

// bounds at level 1−alpha; the stitching begins at an intrinsic time of 1.
func (m *mean) bounds(alpha float64) (lower, upper float64) {
	if m.n == 0 {
		return 0, 1
	}
	at, wide := m.sum/float64(m.n), stitched(m.vary, alpha/2, 1, 1)/float64(m.n)
	return max(0, at-wide), min(1, at+wide)
}
