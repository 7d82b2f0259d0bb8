package neighbour

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reading gives each tenant so many busy workers for a minute more than the last one did.
type reading struct {
	watch Watch
	at    time.Time
	sum   map[string]float64
}

func (r *reading) minute(pools []Pool, busy map[string]float64) map[string]Share {
	if r.sum == nil {
		r.sum = map[string]float64{}
		r.at = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
		r.watch.Read(r.at, nil, pools)
	}
	r.at = r.at.Add(time.Minute)
	var uses []Use
	for tenant, workers := range busy {
		r.sum[tenant] += 60 * workers
		pool := "shared"
		if tenant == "alone" {
			pool = "own"
		}
		uses = append(uses, Use{Tenant: tenant, Pool: pool, Seconds: r.sum[tenant], Queries: r.sum[tenant] / 2})
	}
	shares := map[string]Share{}
	for _, s := range r.watch.Read(r.at, uses, pools) {
		shares[s.Tenant] = s
	}
	return shares
}

var two = []Pool{{Name: "shared", Workers: 4}, {Name: "own", Workers: 1}}

func TestWhoIsNoisy(t *testing.T) {
	for name, c := range map[string]struct {
		busy  map[string]float64
		noisy []string
	}{
		"nobody works":               {map[string]float64{"acme": 0, "bolt": 0}, nil},
		"one takes all":              {map[string]float64{"acme": 3.5, "bolt": .2}, []string{"acme"}},
		"one takes most of a little": {map[string]float64{"acme": 1.5, "bolt": .2}, nil},
		"all take much alike":        {map[string]float64{"acme": 1.2, "bolt": 1.3, "cord": 1.3}, nil},
		"nobody is beside it":        {map[string]float64{"alone": 1, "acme": .1, "bolt": .1}, nil},
		"more wait than it can do":   {map[string]float64{"acme": 9, "bolt": 2}, []string{"acme"}},
	} {
		t.Run(name, func(t *testing.T) {
			var r reading
			for i := 1; i <= Lasting+2; i++ {
				var noisy []string
				for tenant, s := range r.minute(two, c.busy) {
					require.InDelta(t, c.busy[tenant], s.Busy, 1e-9)
					require.InDelta(t, c.busy[tenant]/2, s.Queries, 1e-9)
					if s.Noisy {
						noisy = append(noisy, tenant)
					}
				}
				if i < Lasting {
					require.Empty(t, noisy, "not for a burst")
				} else {
					require.ElementsMatch(t, c.noisy, noisy)
				}
			}
		})
	}
}

func TestWhatIsCountedAnew(t *testing.T) {
	var r reading
	for range Lasting {
		r.minute(two, map[string]float64{"acme": 4, "bolt": .1})
	}
	r.sum["acme"] = 0 // the router started again
	s := r.minute(two, map[string]float64{"acme": 2, "bolt": .1})
	require.InDelta(t, 2, s["acme"].Busy, 1e-9, "what came before its start is not known, and not negative")
	require.False(t, s["acme"].Noisy, "calm for a minute")
	s = r.minute(two, map[string]float64{"acme": 4, "bolt": .1})
	require.False(t, s["acme"].Noisy, "it begins to count anew")

	var w Watch
	at := time.Now()
	require.Empty(t, w.Read(at, []Use{{Tenant: "acme", Pool: "shared", Seconds: 1e6}}, two), "nothing is known after one reading")
	require.Empty(t, w.Read(at, []Use{{Tenant: "acme", Pool: "shared", Seconds: 2e6}}, two), "nor where no time went by")
}
