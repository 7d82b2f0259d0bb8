package judge

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pool that is silent decides nothing, whichever it is, and however much the other one shows.
func TestOneArmSilent(t *testing.T) {
	for _, s := range kinds {
		for _, silent := range []Pool{Stable, Canary} {
			j := newJudge(t, s)
			for i := range 5000 {
				o := Observation{Signal: s.Name, Pool: 1 - silent, At: seconds(float64(60 * i)), Total: int64(i), Bad: int64(i), Session: uint64(i), Failed: true, Value: 4, Weight: .5, Buckets: []int64{0, 0, 0, 0, 0, 0, int64(i)}}
				require.NoError(t, j.Observe(o))
			}
			v := j.Verdict(seconds(60 * 4999))
			require.Equal(t, Inconclusive, v.Outcome, "%s, %s silent: %+v", s.Kind, silent, v)
			require.Contains(t, v.Signals[0].Problem, "nothing was heard of "+silent.String())
		}
	}
}

// Both are there and show nothing at all: zero data is no evidence.
func TestZeroData(t *testing.T) {
	for _, s := range kinds[:4] {
		if s.Kind == Sessions {
			continue // has no reading without a request
		}
		j := newJudge(t, s)
		for i := range 1000 {
			for _, p := range []Pool{Stable, Canary} {
				require.NoError(t, j.Observe(Observation{Signal: s.Name, Pool: p, At: seconds(float64(i)), Weight: .5, Buckets: make([]int64, 7)}))
			}
		}
		v := j.Verdict(seconds(999))
		require.Equal(t, Inconclusive, v.Outcome, "%+v", v)
		require.Empty(t, v.Signals[0].Problem)
		require.LessOrEqual(t, v.Signals[0].EValue, 1.0)
	}
}

// Every bad observation is refused with its reason, changes nothing, and is told in the verdict.
func TestBadInput(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name string
		kind int
		bad  Observation
		says string
	}{
		{"negative", 0, Observation{Total: -1, Weight: .5}, "below 0"},
		{"weight is no number", 0, Observation{Total: 9, Weight: nan}, "weight"},
		{"weight of 2", 0, Observation{Total: 9, Weight: 2}, "weight"},
		{"weight of -1", 0, Observation{Total: 9, Weight: -1}, "weight"},
		{"more bad than all", 1, Observation{Total: 3, Bad: 4}, "more bad ones"},
		{"negative bad", 1, Observation{Total: 3, Bad: -4}, "below 0"},
		{"another histogram", 3, Observation{Buckets: []int64{1, 2}}, "another size"},
		{"no histogram", 3, Observation{}, "another size"},
		{"negative bucket", 3, Observation{Buckets: []int64{1, 2, 3, 4, 5, 6, -7}}, "below 0"},
		{"NaN", 4, Observation{Value: nan}, "not a number"},
		{"infinite", 4, Observation{Value: inf}, "not a number"},
		{"negative value", 4, Observation{Value: -1}, "below 0"},
		{"NaN in a series", 5, Observation{Value: nan}, "not a number"},
		{"-Inf in a series", 5, Observation{Value: -inf}, "not a number"},
		{"no such pool", 1, Observation{Pool: 7}, "no such pool"},
		{"clock goes back", 1, Observation{Total: 1e6, At: start.Add(-time.Hour)}, "clock went back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := kinds[c.kind]
			j, twin := newJudge(t, s), newJudge(t, s)
			feed(t, j, s, 0, 300, false, rand.New(rand.NewPCG(2, 2)))
			feed(t, twin, s, 0, 300, false, rand.New(rand.NewPCG(2, 2)))
			o := c.bad
			o.Signal = s.Name
			if o.Pool == Stable {
				o.Pool = Canary
			}
			if o.At.IsZero() {
				o.At = end(s, 301)
			}
			require.ErrorContains(t, j.Observe(o), c.says)
			v, w := j.Verdict(end(s, 301)), twin.Verdict(end(s, 301))
			require.Contains(t, v.Signals[0].Problem, c.says)
			v.Signals[0].Problem = w.Signals[0].Problem
			require.Equal(t, w.Signals, v.Signals, "the rest is as if it had not come")
		})
	}
	j := newJudge(t, kinds[1])
	require.ErrorContains(t, j.Observe(Observation{Signal: "nobody's"}), "no such signal")
	require.Contains(t, j.Verdict(start).Evidence, "not declared: 1")
}

// Counters that go back begin anew; what they lose is lost for both pools, and no evidence.
func TestCountersGoBack(t *testing.T) {
	for _, s := range kinds[:2] {
		j := newJudge(t, s)
		random := rand.New(rand.NewPCG(3, 3))
		for round := range 50 { // each of 100 s, each from 0 again
			feed(t, j, s, 100*round, 100, false, random)
		}
		v := j.Verdict(seconds(4999))
		require.NotEqual(t, Fail, v.Outcome, "%+v", v)
		require.Contains(t, v.Signals[0].Problem, "counters began anew 98 times")
		require.Less(t, v.Signals[0].EValue, 20.0)
	}

	// Only the canary's source restarts, again and again; events are as many on both.
	j := newJudge(t, Signal{Kind: Events})
	var total [2]int64
	for i := range 20_000 {
		if i%50 == 0 {
			total[Canary] = 0
		}
		total[i%2]++
		for _, p := range []Pool{Canary, Stable} {
			require.NoError(t, j.Observe(Observation{Signal: "events", Pool: p, At: seconds(float64(i)), Total: total[p], Weight: .5}))
		}
	}
	require.Less(t, j.EValue("events"), 20.0)
	require.InDelta(t, 1, j.Verdict(seconds(20_000)).Signals[0].Effect, .05)
}

// Events of two pools whose readings are of different moments are not compared.
func TestClocksThatDiffer(t *testing.T) {
	j := newJudge(t, Signal{Kind: Events})
	for i := range 500 {
		for p, late := range []float64{Stable: 0, Canary: 30} { // both count 60 a minute
			at := float64(60*i) + late
			require.NoError(t, j.Observe(Observation{Signal: "events", Pool: Pool(p), At: seconds(at), Total: int64(at), Weight: .5}))
		}
	}
	v := j.Verdict(seconds(60*499 + 30))
	require.Equal(t, Inconclusive, v.Outcome)
	require.Contains(t, v.Signals[0].Problem, "30s apart")
	require.Zero(t, v.Signals[0].EValue)
}
