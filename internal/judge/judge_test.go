package judge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func seconds(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }

func newJudge(t *testing.T, signals ...Signal) *Judge {
	t.Helper()
	for i := range signals {
		if signals[i].Name == "" {
			signals[i].Name = string(signals[i].Kind)
		}
		if signals[i].Role == "" {
			signals[i].Role = Trigger
		}
	}
	j, err := New(Config{Alpha: .01, Signals: signals})
	require.NoError(t, err)
	return j
}

// feed plays so many seconds of both pools, with one unit a second of which the canary gets every
// fourth, and in which it is worse or not.
func feed(t *testing.T, j *Judge, s Signal, from, n int, worse bool, random *rand.Rand) {
	t.Helper()
	var total, bad [2]int64
	var buckets [2][]int64
	for p := range buckets {
		buckets[p] = make([]int64, len(s.Bounds)+1)
	}
	for i := range n {
		for _, p := range []Pool{Stable, Canary} {
			o := Observation{Signal: s.Name, Pool: p, At: seconds(float64(from + i)), Source: int64(from), Weight: .25}
			hurts := worse && p == Canary
			mine := (i%4 == 0) == (p == Canary)
			switch s.Kind {
			case Events:
				if mine && i > 0 && (random.Float64() < .3 || hurts) {
					total[p]++
				}
			case Shares:
				if mine && i > 0 {
					total[p]++
					if random.Float64() < .02 || hurts && random.Float64() < .5 {
						bad[p]++
					}
				}
			case Sessions:
				if !mine {
					continue
				}
				o.Session = uint64(2*random.IntN(400)) + uint64(p) // half of them on each pool
				o.Failed = random.Float64() < .002 || hurts && random.Float64() < .3
			case Latency:
				if mine && i > 0 {
					b := random.IntN(len(s.Bounds))
					if hurts {
						b = min(b+2, len(s.Bounds))
					}
					buckets[p][b]++
				}
				o.Buckets = buckets[p]
			case Values:
				o.Value = random.Float64()
				if hurts {
					o.Value += 2
				}
			case Series:
				o.At = seconds(60 * float64(from+i))
				o.Value = 5 + random.NormFloat64()
				if hurts {
					o.Value += 4
				}
			}
			o.Total, o.Bad = total[p], bad[p]
			require.NoError(t, j.Observe(o))
		}
	}
}

var kinds = []Signal{
	{Name: "events", Kind: Events, Role: Trigger, Tolerance: .5, MinCanary: 10},
	{Name: "shares", Kind: Shares, Role: Trigger, Tolerance: .05, MinCanary: 10},
	{Name: "sessions", Kind: Sessions, Role: Trigger, Tolerance: .15, MinCanary: 10},
	{Name: "latency", Kind: Latency, Role: Trigger, Tolerance: .2, MinCanary: 10, Bounds: []float64{.1, .2, .5, 1, 2, 5}},
	{Name: "values", Kind: Values, Role: Trigger, Tolerance: 1, MinCanary: 10, Cap: 4},
	{Name: "series", Kind: Series, Role: Trigger, Tolerance: 1, MinCanary: 10},
}

func end(s Signal, n int) time.Time {
	if s.Kind == Series {
		return seconds(60 * float64(n-1))
	}
	return seconds(float64(n - 1))
}

// Every kind finds harm, passes what is well, and knows when it knows nothing.
func TestEveryKind(t *testing.T) {
	for _, s := range kinds {
		t.Run(string(s.Kind), func(t *testing.T) {
			const n = 40_000
			j := newJudge(t, s)
			v := j.Verdict(start)
			require.Equal(t, Inconclusive, v.Outcome)
			require.Contains(t, v.Signals[0].Problem, "nothing was heard of the new release")

			random := rand.New(rand.NewPCG(1, 1))
			feed(t, j, s, 0, n, false, random)
			v = j.Verdict(end(s, n))
			require.Equal(t, Pass, v.Outcome, "%+v", v)
			require.LessOrEqual(t, v.Signals[0].Lower, v.Signals[0].Effect)
			require.LessOrEqual(t, v.Signals[0].Effect, v.Signals[0].Upper)
			require.Equal(t, Inconclusive, j.Verdict(end(s, n).Add(time.Hour)).Outcome, "what it was an hour ago")
			require.Equal(t, Inconclusive, j.Verdict(start.Add(-time.Hour)).Outcome, "a clock that is ahead")

			j = newJudge(t, s)
			feed(t, j, s, 0, 2000, true, random)
			v = j.Verdict(end(s, 2000))
			require.Equal(t, Fail, v.Outcome, "%+v", v)
			require.Contains(t, v.Evidence, s.Name)
			name, failed := j.Failed()
			require.True(t, failed)
			require.Equal(t, s.Name, name)
			feed(t, j, s, 3000, 1000, false, random)
			require.Equal(t, Fail, j.Verdict(end(s, 4000)).Outcome, "it stays failed")
		})
	}
}

// A pool that hangs: its events stop while the other pool's go on. With Fewer that is a failure.
func TestHang(t *testing.T) {
	j := newJudge(t, Signal{Kind: Events, Fewer: true})
	var total [2]int64
	at := 0.0
	for i := 0; ; i++ {
		at = float64(i)
		if i > 0 && i%2 == 0 {
			total[Stable]++
		}
		if i > 0 && i%2 == 1 && i < 400 {
			total[Canary]++
		}
		for _, p := range []Pool{Stable, Canary} {
			require.NoError(t, j.Observe(Observation{Signal: "events", Pool: p, At: seconds(at), Total: total[p], Weight: .5}))
		}
		if _, failed := j.Failed(); failed {
			break
		}
		require.Less(t, i, 900, "it was never found")
	}
	require.Greater(t, at, 400.0)
	v := j.Verdict(seconds(at))
	require.Equal(t, Fail, v.Outcome)
	require.Less(t, v.Signals[0].Effect, 1.0)
	require.Less(t, v.Signals[0].Lower, 1/v.Signals[0].Upper, "the interval leans to fewer")
}

// Swapping the pools turns every effect round, and what failed one does not fail the other.
func TestOrderOfArms(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	one, other := newJudge(t, Signal{Kind: Events}, Signal{Kind: Shares}, Signal{Kind: Values, Cap: 9}, Signal{Kind: Series}),
		newJudge(t, Signal{Kind: Events}, Signal{Kind: Shares}, Signal{Kind: Values, Cap: 9}, Signal{Kind: Series})
	var total, bad [2]int64
	for i := range 3000 {
		at := seconds(float64(60 * i))
		for p := range total {
			if i > 0 {
				total[p] += int64(random.IntN(4))
				if bad[p] < total[p] && random.Float64() < .1*float64(1+3*p) {
					bad[p]++
				}
			}
		}
		value := [2]float64{random.Float64(), random.Float64() * 2}
		for p := range total {
			o := Observation{Pool: Pool(p), At: at, Total: total[p], Bad: bad[p], Value: value[p], Weight: .3}
			swapped := o
			swapped.Pool, swapped.Weight = 1-o.Pool, .7
			for _, name := range []string{"events", "shares", "values", "series"} {
				o.Signal, swapped.Signal = name, name
				require.NoError(t, one.Observe(o))
				require.NoError(t, other.Observe(swapped))
			}
		}
	}
	v, w := one.Verdict(seconds(60*2999)), other.Verdict(seconds(60*2999))
	for i, e := range v.Signals {
		f := w.Signals[i]
		require.Equal(t, e.Canary, f.Stable, e.Signal)
		if e.Signal == "events" {
			require.InEpsilon(t, e.Effect, 1/f.Effect, 1e-9)
			require.InEpsilon(t, e.Lower, 1/f.Upper, 1e-9)
			continue
		}
		require.InDelta(t, e.Effect, -f.Effect, 1e-9, e.Signal)
		require.InDelta(t, e.Lower, -f.Upper, 1e-6, e.Signal)
	}
	require.Equal(t, Fail, v.Outcome)
	require.Equal(t, Fail, v.Signals[1].Outcome)
	require.NotEqual(t, Fail, w.Outcome)
}

// One user who fails all the time, on the canary by chance, does not take the release back; as requests
// they would.
func TestOneHeavyUser(t *testing.T) {
	j := newJudge(t, Signal{Kind: Sessions}, Signal{Kind: Shares, Role: Warning})
	random := rand.New(rand.NewPCG(12, 12))
	var total, bad [2]int64
	for i := range 20_000 {
		session, fails := random.Uint64N(100), false
		if i%3 == 0 {
			session, fails = 7, true // 7 is on the canary
		}
		p := Pool(session % 2)
		total[p]++
		if fails {
			bad[p]++
		}
		require.NoError(t, j.Observe(Observation{Signal: "sessions", Pool: p, At: seconds(float64(i)), Session: session, Failed: fails}))
		require.NoError(t, j.Observe(Observation{Signal: "shares", Pool: p, At: seconds(float64(i)), Total: total[p], Bad: bad[p]}))
	}
	v := j.Verdict(seconds(20_000))
	require.Less(t, v.Signals[0].EValue, 10.0)
	require.NotEqual(t, Fail, v.Outcome)
	require.Equal(t, Fail, v.Signals[1].Outcome)
	require.Contains(t, v.Evidence, "no reason to go back")
	require.EqualValues(t, 1, v.Signals[0].Canary.Failed)
}

// α is split by importance, apart for triggers and warnings; warnings alone never decide.
func TestAlphaIsSplit(t *testing.T) {
	j, err := New(Config{Alpha: .05, Signals: []Signal{
		{Name: "a", Kind: Events, Role: Trigger, Importance: 3}, {Name: "b", Kind: Shares, Role: Trigger},
		{Name: "c", Kind: Events, Role: Warning},
	}})
	require.NoError(t, err)
	v := j.Verdict(start)
	require.InEpsilon(t, 1/(.05*.75), v.Signals[0].Enough, 1e-12)
	require.InEpsilon(t, 1/(.05*.25), v.Signals[1].Enough, 1e-12)
	require.InEpsilon(t, 20, v.Signals[2].Enough, 1e-12)

	alone := newJudge(t, Signal{Name: "shares", Kind: Shares, Role: Warning})
	feed(t, alone, kinds[1], 0, 2000, true, rand.New(rand.NewPCG(1, 1)))
	v = alone.Verdict(seconds(2000))
	require.Equal(t, Inconclusive, v.Outcome)
	require.Equal(t, Fail, v.Signals[0].Outcome)
}

func TestConfigIsChecked(t *testing.T) {
	good := Signal{Name: "x", Kind: Events, Role: Trigger}
	for _, change := range []func(*Config){
		func(c *Config) { c.Alpha = 0 },
		func(c *Config) { c.Alpha = math.NaN() },
		func(c *Config) { c.Alpha = 1 },
		func(c *Config) { c.Signals = nil },
		func(c *Config) { c.Signals = make([]Signal, maxSignals+1) },
		func(c *Config) { c.Signals = []Signal{good, good} },
		func(c *Config) { c.Signals[0].Name = "" },
		func(c *Config) { c.Signals[0].Kind = "other" },
		func(c *Config) { c.Signals[0].Role = "" },
		func(c *Config) { c.Signals[0].Tolerance = math.NaN() },
		func(c *Config) { c.Signals[0].Tolerance = math.Inf(1) },
		func(c *Config) { c.Signals[0].Importance = -1 },
		func(c *Config) { c.Signals[0].MinCanary = -1 },
		func(c *Config) { c.Signals[0].Kind = Values },
		func(c *Config) { c.Signals[0].Kind = Latency },
		func(c *Config) { c.Signals[0].Kind, c.Signals[0].Bounds = Latency, []float64{2, 1} },
		func(c *Config) { c.Signals[0].Kind, c.Signals[0].Fewer = Shares, true },
	} {
		c := Config{Alpha: .01, Signals: []Signal{good}}
		change(&c)
		_, err := New(c)
		require.Error(t, err, "%+v", c)
	}
}

// A comparison that was kept and taken up again says what it would have said.
func TestComparisonIsKept(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 13))
	var a, b Comparison
	var now Pair
	for i := range 3000 {
		a.Read(seconds(float64(i)), now)
		b.Read(seconds(float64(i)), now)
		kept, err := json.Marshal(&b)
		require.NoError(t, err)
		b = Comparison{}
		require.NoError(t, json.Unmarshal(kept, &b))
		arm := &now.Stable
		if random.IntN(5) == 0 {
			arm = &now.Canary
		}
		arm.Requests++
		if random.Float64() < .05 {
			arm.Failed++
		}
	}
	require.Equal(t, a, b)
	require.Less(t, len(must(json.Marshal(&b))), 4096)

	before := a.EValue()
	a.Leave() // the router restarts, and everything it counts is less
	a.Read(seconds(4000), Pair{})
	a.Read(seconds(4001), Pair{Counts{-1, 0}, Counts{}})
	a.Read(seconds(4002), Pair{Counts{1, 2}, Counts{}})
	require.Equal(t, before, a.EValue())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The verdict's memory and work do not grow: a million observations allocate nothing that stays.
func TestNothingGrows(t *testing.T) {
	j := newJudge(t, kinds...)
	random := rand.New(rand.NewPCG(14, 14))
	for _, s := range kinds {
		feed(t, j, s, 0, 500, false, random)
	}
	s := kinds[0]
	i := int64(1e6)
	allocs := testing.AllocsPerRun(1000, func() {
		i++
		for _, p := range []Pool{Stable, Canary} {
			if err := j.Observe(Observation{Signal: s.Name, Pool: p, At: seconds(float64(i)), Total: i, Weight: .5}); err != nil {
				t.Fatal(err)
			}
		}
	})
	require.LessOrEqual(t, allocs, 2.0)
}
