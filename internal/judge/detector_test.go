package judge

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func reading(random *rand.Rand, share float64) Counts {
	c := Counts{Requests: 1 + random.Int64N(20)}
	for range c.Requests {
		if random.Float64() < share {
			c.Failed++
		}
	}
	return c
}

// With nothing wrong, alarms are at least 1/α readings apart on average.
func TestDetectorRunLength(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const runs, alpha = 200, .01
	for _, share := range []float64{.01, .2} {
		length := 0
		for range runs {
			d := Detector{Share: share, Alpha: alpha}
			for i := 1; i <= 2000; i++ { // cut off: the true mean is larger
				length++
				if d.Add(reading(random, share)) {
					break
				}
			}
		}
		require.Greater(t, float64(length)/runs, 1/alpha)
	}
}

// Harm that begins late is found soon after it began.
func TestDetectorFindsLateHarm(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		d := Detector{Share: .02, Alpha: .001}
		for i := range 500 {
			if d.Add(reading(random, .01)) {
				t.Fatalf("alarm at %d, before the harm", i)
			}
		}
		n := 0
		for ; !d.Add(reading(random, .2)); n++ {
			require.Less(t, n, 60)
		}
	}
}

func TestDetectorEdges(t *testing.T) {
	d := Detector{Share: .1, Alpha: .01}
	for _, c := range []Counts{{}, {-1, 0}, {1, 2}, {5, -1}} {
		require.False(t, d.Add(c))
	}
	require.Zero(t, d.Evidence())
	for range 1000 {
		d.Add(Counts{1e6, 1e6})
	}
	require.True(t, math.IsInf(d.Evidence(), 1))
	d = Detector{Share: .1, Alpha: .01}
	for range 10_000 {
		require.False(t, d.Add(Counts{1000, 0}))
	}
	require.False(t, math.IsNaN(d.Evidence()))
	for _, share := range []float64{0, 1, math.NaN()} {
		d = Detector{Share: share, Alpha: .01}
		require.False(t, d.Add(Counts{10, 10}))
	}
}
