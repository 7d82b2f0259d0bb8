package ring

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

var (
	at    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	three = []Ring{{Name: "canary", AtOnce: 1, Soak: 30 * time.Minute}, {Name: "eu", After: []string{"canary"}, AtOnce: 2, Failures: 1}, {Name: "rest", After: []string{"eu"}, AtOnce: 1}}
)

func TestRings(t *testing.T) {
	for name, test := range map[string]struct {
		counts map[string]Count
		want   map[string]Standing
	}{
		"nobody has begun": {
			map[string]Count{"canary": {Total: 2}, "eu": {Total: 3}, "rest": {Total: 1}},
			map[string]Standing{
				"canary": {State: Goes, Free: 1},
				"eu":     {State: Waits, Why: "ring canary comes first"},
				"rest":   {State: Waits, Why: "ring eu comes first"},
			},
		},
		"one is under way": {
			map[string]Count{"canary": {Total: 2, Turn: 1}, "eu": {Total: 3}},
			map[string]Standing{
				"canary": {State: Goes, Why: "one tenant is under way in ring canary, and no more may be at once"},
				"eu":     {State: Waits, Why: "ring canary comes first"},
				"rest":   {State: Waits, Why: "ring eu comes first"},
			},
		},
		"the first ring soaks": {
			map[string]Count{"canary": {Total: 2, Promoted: 2, LastEnded: at.Add(-10 * time.Minute)}, "eu": {Total: 3}, "rest": {Total: 1}},
			map[string]Standing{
				"canary": {State: Soaks, Until: at.Add(20 * time.Minute), Why: "ring canary soaks until 2026-11-22 10:20:00 UTC"},
				"eu":     {State: Waits, Until: at.Add(20 * time.Minute), Why: "ring canary soaks until 2026-11-22 10:20:00 UTC"},
				"rest":   {State: Waits, Why: "ring eu comes first"},
			},
		},
		"it has soaked; one failure is within the budget": {
			map[string]Count{"canary": {Total: 2, Promoted: 2, LastEnded: at.Add(-30 * time.Minute)}, "eu": {Total: 3, Turn: 1, Failed: 1, LastEnded: at}, "rest": {Total: 1}},
			map[string]Standing{"canary": {State: Through}, "eu": {State: Goes, Free: 1}, "rest": {State: Waits, Why: "ring eu comes first"}},
		},
		"two are not": {
			map[string]Count{"canary": {Total: 2, Promoted: 2, LastEnded: at.Add(-time.Hour)}, "eu": {Total: 3, Failed: 2, LastEnded: at}, "rest": {Total: 1}},
			map[string]Standing{
				"canary": {State: Through},
				"eu":     {State: Stopped, Why: "ring eu has stopped: 2 of its 3 tenants went back, one may"},
				"rest":   {State: Stopped, Why: "ring eu has stopped: 2 of its 3 tenants went back, one may"},
			},
		},
		"a ring whose tenants take no part holds nobody back": {
			map[string]Count{"rest": {Total: 1}},
			map[string]Standing{"canary": {State: Through}, "eu": {State: Through}, "rest": {State: Goes, Free: 1}},
		},
	} {
		require.Equal(t, test.want, Plan{three, test.counts}.Standings(at), name)
	}
}

func TestRingsSideBySide(t *testing.T) {
	rings := []Ring{{Name: "a", AtOnce: 1, Soak: time.Hour}, {Name: "b", AtOnce: 1}, {Name: "c", After: []string{"a", "b"}, AtOnce: 1}}
	counts := map[string]Count{"a": {Total: 1, Promoted: 1, LastEnded: at}, "b": {Total: 1, Turn: 1}, "c": {Total: 1}}
	s := Plan{rings, counts}.Standings(at)["c"]
	require.Equal(t, Waits, s.State)
	require.Zero(t, s.Until, "time alone does not do")
	require.Contains(t, s.Why, "ring a soaks until")
	require.Contains(t, s.Why, "ring b comes first")
	require.Equal(t, Stopped, Plan{Rings: []Ring{{Name: "a", After: []string{"b"}}, {Name: "b", After: []string{"a"}}}}.Standings(at)["a"].State, "a circle goes nowhere")
}

// However tenants end, there are never more under way than may be, none begins after a ring before it has failed or before it is
// through, and where nobody fails all get their turn.
func TestRingsAreNeverOverrun(t *testing.T) {
	long.Test(t)
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		counts := map[string]Count{}
		for _, r := range three {
			counts[r.Name] = Count{Total: random.IntN(6)}
		}
		now, fails := at, seed%2 == 1
		for range 500 {
			now = now.Add(time.Duration(random.IntN(10)) * time.Minute)
			standings := Plan{three, counts}.Standings(now)
			for _, r := range three {
				c, s := counts[r.Name], standings[r.Name]
				require.LessOrEqual(t, c.Turn, r.AtOnce)
				if s.State == Goes && s.Free > 0 && c.Turn+c.Promoted+c.Failed < c.Total && random.IntN(2) == 0 {
					for _, before := range r.After {
						require.Equal(t, Through, standings[before].State)
						require.LessOrEqual(t, counts[before].Failed, three[0].Failures+1)
					}
					c.Turn++
				} else if c.Turn > 0 && random.IntN(2) == 0 {
					c.Turn--
					c.LastEnded = now
					if fails && random.IntN(3) == 0 {
						c.Failed++
					} else {
						c.Promoted++
					}
				}
				counts[r.Name] = c
			}
		}
		if !fails {
			for _, r := range three {
				require.Equal(t, counts[r.Name].Total, counts[r.Name].Promoted, "seed %d: ring %s", seed, r.Name)
			}
		}
	}
}
