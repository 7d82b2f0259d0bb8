package judge

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func learntLatency(t *testing.T) *latencyTest {
	t.Helper()
	l := newLatencyTest(Signal{Name: "x", Kind: Latency, Bounds: []float64{1, 2, 3, 4}})
	random := rand.New(rand.NewPCG(1, 1))
	l.total = [2]int64{100, 100}
	for p := range l.all {
		for i := range l.all[p] {
			l.all[p][i] = 100 - int64(20*(i+1)) + random.Int64N(5)
		}
	}
	l.choose()
	require.Len(t, l.scores, 4)
	return l
}

// Over all ways to deal a block's durations out, each tilt of each score has the mean 1: every subset is tried.
func TestDealIsFair(t *testing.T) {
	l := learntLatency(t)
	durations := []int{0, 0, 1, 1, 2, 4, 4, 4, 3, 0}
	for canary := 1; canary < len(durations); canary++ {
		for s := range l.scores {
			var sum [len(tilts)]float64
			ways := 0.0
			for set := range 1 << len(durations) {
				if bits.OnesCount(uint(set)) != canary {
					continue
				}
				ways++
				c, o := make([]int64, 5), make([]int64, 5)
				for i, b := range durations {
					if set>>i&1 == 1 {
						c[b]++
					} else {
						o[b]++
					}
				}
				one := score{of: l.scores[s].of, factor: l.scores[s].factor}
				one.deal(c, o, int64(canary))
				for k := range sum {
					sum[k] += math.Exp(one.logs[k])
				}
			}
			for k := range sum {
				require.InDelta(t, 1, sum[k]/ways, 1e-9)
			}
		}
	}
}

// What is too large for a float64 is no evidence, and never NaN.
func TestDealIsOnTheSafeSide(t *testing.T) {
	l := learntLatency(t)
	for s := range l.scores {
		l.scores[s].deal([]int64{0, 0, 0, 0, 900}, []int64{900, 0, 0, 0, 0}, 900)
		l.scores[s].deal([]int64{0, 0, 0, 0, 9}, []int64{9, 0, 0, 0, 0}, 9)
		for _, x := range l.scores[s].logs {
			require.False(t, math.IsNaN(x))
			require.False(t, math.IsInf(x, 1))
		}
	}
}

// The order in which a block's durations come does not matter.
func TestBlockIsExchangeable(t *testing.T) {
	a, b := learntLatency(t), learntLatency(t)
	random := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		type request struct{ pool, bucket int }
		block := []request{{0, random.IntN(5)}, {0, random.IntN(5)}, {0, random.IntN(5)}, {0, random.IntN(5)}, {0, 2}, {1, 4}, {1, random.IntN(5)}, {1, 1}, {1, random.IntN(5)}}
		for i, l := range []*latencyTest{a, b} {
			order := random.Perm(len(block))
			if i == 0 {
				order = []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
			}
			for _, k := range order {
				l.open[block[k].pool][block[k].bucket]++
				l.units[block[k].pool]++
			}
			l.close()
			l.units = [2]int64{}
			clear(l.open[0])
			clear(l.open[1])
		}
	}
	require.Equal(t, a.best, b.best)
	for i := range a.scores {
		require.Equal(t, a.scores[i].logs, b.scores[i].logs)
	}
}
