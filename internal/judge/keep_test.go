package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// A judge that is kept and taken up again, however often, says the same as one that goes on.
func TestKeptJudgeSaysTheSame(t *testing.T) {
	for _, s := range append(kinds, Signal{Name: "ratio", Kind: Latency, Role: Trigger, Ratio: 1.25, Tolerance: .25, Bounds: []float64{.1, .2, .5, 1, 2, 5}}) {
		for _, worse := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s worse %t", s.Name, worse), func(t *testing.T) {
				whole, parts := newJudge(t, s), newJudge(t, s)
				one, other := rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(3, 4))
				var size int
				for i := range 40 {
					const n = 50
					feed(t, whole, s, i*n, n, worse, one)
					feed(t, parts, s, i*n, n, worse, other)
					kept, err := json.Marshal(parts)
					require.NoError(t, err)
					if i == 20 {
						size = len(kept)
					}
					parts = newJudge(t, s)
					anew, err := parts.Restore(kept)
					require.NoError(t, err)
					require.Empty(t, anew)
					now := end(s, (i+1)*n)
					require.Equal(t, fmt.Sprintf("%+v", whole.Verdict(now).Signals), fmt.Sprintf("%+v", parts.Verdict(now).Signals), "after %d parts", i)
					wf, wb := whole.Failed()
					pf, pb := parts.Failed()
					require.Equal(t, []any{wf, wb}, []any{pf, pb})
					if i == 39 && s.Kind != Sessions {
						require.Less(t, len(kept), size+size/4, "what is kept does not grow")
					}
				}
			})
		}
	}
}

func TestRestoreRefusesWhatItCannotRead(t *testing.T) {
	shares := kinds[1]
	j := newJudge(t, shares)
	for _, bad := range []string{``, `[]`, `{"signals":{"shares":{"rule":"` + shares.fingerprint() + `","test":{"pools":[{"begun":true,"last":[1]},{}]}}}}`} {
		_, err := j.Restore([]byte(bad))
		require.Error(t, err, bad)
	}
	kept, err := json.Marshal(j)
	require.NoError(t, err)
	declared := shares
	declared.Tolerance *= 2
	anew, err := newJudge(t, declared, kinds[0]).Restore(kept)
	require.NoError(t, err)
	require.Equal(t, []string{"shares", "events"}, anew, "evidence against another question is none")
}

// playLatency lets calls go to the two pools in turn, on the new one longer times as long, until the judge fails or n are
// through; it returns the verdict then, and after how many calls.
func playLatency(t *testing.T, j *Judge, s Signal, longer float64, n int, took func() float64) (Verdict, int) {
	t.Helper()
	var buckets [2][]int64
	for p := range buckets {
		buckets[p] = make([]int64, len(s.Bounds)+1)
		require.NoError(t, j.Observe(Observation{Signal: s.Name, Pool: Pool(p), At: seconds(0), Buckets: buckets[p]}))
	}
	for i := range n {
		p, duration := Pool(i%2), took()
		if p == Canary {
			duration *= longer
		}
		b := 0
		for b < len(s.Bounds) && duration > s.Bounds[b] {
			b++
		}
		buckets[p][b]++
		require.NoError(t, j.Observe(Observation{Signal: s.Name, Pool: p, At: seconds(float64(i)), Buckets: buckets[p]}))
		if _, failed := j.Failed(); failed {
			return j.Verdict(seconds(float64(i))), i
		}
	}
	return j.Verdict(seconds(float64(n - 1))), n
}

// With a ratio, what is a little longer is tolerated however certain it is, and what is longer is found.
func TestRatio(t *testing.T) {
	bounds := []float64{.1, .13, .17, .22, .3, .4, .55, .75, 1}
	s := Signal{Name: "confirm", Kind: Latency, Role: Trigger, Ratio: 1.25, Tolerance: .25, Bounds: bounds}
	play := func(longer float64, n int) (Verdict, int) {
		random := rand.New(rand.NewPCG(uint64(longer*100), 5))
		return playLatency(t, newJudge(t, s), s, longer, n, func() float64 { return .2 * (1 + .2*random.NormFloat64()) })
	}
	for _, longer := range []float64{.5, 1, 1.1, 1.15} {
		v, _ := play(longer, 4000)
		require.NotEqual(t, Fail, v.Outcome, "%g times as long: %s", longer, v)
	}
	v, at := play(1.4, 4000)
	require.Equal(t, Fail, v.Outcome)
	require.Less(t, at, 800)
	require.True(t, v.Signals[0].Stands)
	require.Contains(t, v.Evidence, "times as long on the new release")
	t.Log(at, v.Evidence)
}

// A release that is exactly as slow as tolerated goes back no oftener than α says, however long one looks.
func TestRatioAtItsEdge(t *testing.T) {
	long.Test(t)
	bounds := make([]float64, 34) // eight a decade, as the bridge has them
	for i := range bounds {
		bounds[i] = .004 * math.Pow(10, float64(i)/8)
	}
	for _, ratio := range []float64{1.15, 1.25, 1.6} {
		failed, plays := 0, 300
		for play := range plays {
			s := Signal{Name: "confirm", Kind: Latency, Role: Trigger, Ratio: ratio, Tolerance: .5, Bounds: bounds}
			j, err := New(Config{Alpha: .05, Signals: []Signal{s}})
			require.NoError(t, err)
			random := rand.New(rand.NewPCG(uint64(play), 7))
			playLatency(t, j, s, ratio, 1500, func() float64 { return .2 * math.Exp(.4*random.NormFloat64()) })
			if _, bad := j.Failed(); bad {
				failed++
			}
		}
		t.Logf("%g times as long, and tolerated: %d of %d fail", ratio, failed, plays)
		require.LessOrEqual(t, failed, plays*5/100, "%g", ratio)
	}
}

// A warning that stood ends when what comes then speaks against it; a trigger stays failed.
func TestWarningEnds(t *testing.T) {
	s := Signal{Name: "lines", Kind: Shares, Role: Warning, Tolerance: .02}
	j := newJudge(t, s)
	var total, bad [2]int64
	stood := 0
	for i := range 4000 {
		for p := range total {
			total[p]++
			if p == int(Canary) && i < 100 && i%2 == 0 {
				bad[p]++
			}
			require.NoError(t, j.Observe(Observation{Signal: s.Name, Pool: Pool(p), At: seconds(float64(i)), Total: total[p], Bad: bad[p]}))
		}
		v := j.Verdict(seconds(float64(i)))
		if v.Signals[0].Stands {
			stood = i
		} else if stood > 0 {
			require.Equal(t, Fail, v.Signals[0].Outcome, "it is on record")
		}
	}
	require.Positive(t, stood)
	require.Less(t, stood, 3999)
}
