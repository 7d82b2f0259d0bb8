package promotion

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/signal"
)

// With all the traffic there is no other pool to compare with. What is usual is told by the same hours of the
// last weeks, or by what the old release's calls did during the shift.

const (
	bakeReadings = 60  // of the detectors at most, so that α can be split over them
	usualBound   = .95 // confidence in what is usual
)

// usualCalls are what the old release's business calls did during a shift, by signal.
func usualCalls(all []judge.Evidence) map[string]judge.Counts {
	usual := map[string]judge.Counts{}
	for _, e := range all {
		if strings.HasSuffix(e.Signal, signal.CallFailed) && e.Stable.Requests > 0 {
			usual[e.Signal] = e.Stable
		}
	}
	return usual
}

// after watches the new release's business calls against what was usual. It is kept with the rollout.
type after struct {
	Every  time.Duration        `json:"every"`
	Read   time.Time            `json:"read"`
	Source int64                `json:"source"`
	Of     map[string]*detected `json:"of"`
}

type detected struct {
	judge.Detector
	Usual judge.Counts `json:"usual"`
	When  string       `json:"when"` // that was
	Last  judge.Counts `json:"last"`
	Seen  judge.Counts `json:"seen"` // since the bake began
}

// newAfter holds the new release against the same hours of the last weeks, and where these say too little
// against what the old release did in the shift. nil where both do.
func newAfter(rollout estate.Rollout, weeks []signal.Hour, shift map[string]judge.Counts) *after {
	a := &after{Every: max(signalsEvery, rollout.Bake/bakeReadings), Of: map[string]*detected{}}
	names := maps.Clone(shift)
	if names == nil {
		names = map[string]judge.Counts{}
	}
	for _, h := range weeks {
		names[h.Signal] = shift[h.Signal]
	}
	for name, counts := range names {
		r, of := rule(rollout, name), "in the same hours of the last weeks"
		before, ok := signal.Before(weeks, name, usualBound)
		if !ok {
			of = "on the old one in the shift"
			before, ok = signal.Before([]signal.Hour{{Signal: name, Total: counts.Requests, Bad: counts.Failed}}, name, usualBound)
		}
		if share := before.Share + r.tolerance; ok && r.role == estate.Trigger && share < 1 {
			a.Of[name] = &detected{Detector: judge.Detector{Share: share}, Usual: judge.Counts{Requests: before.Units, Failed: int64(before.Seen*float64(before.Units) + .5)}, When: of}
		}
	}
	if len(a.Of) == 0 {
		return nil
	}
	for _, d := range a.Of {
		d.Alpha = rollout.Chance() / bakeReadings / float64(len(a.Of))
	}
	return a
}

// look takes a reading, when it is time for one, and says what is worse.
func (a *after) look(at time.Time, told bridge.Signals) (fails []string) {
	if a == nil || at.Sub(a.Read) < a.Every {
		return nil
	}
	begins := a.Read.IsZero() || a.Source != told.Source
	a.Read, a.Source = at, told.Source
	now := map[string]judge.Counts{}
	for _, c := range told.Calls {
		now[c.Name+signal.CallFailed] = judge.Counts{Requests: c.Total, Failed: c.Failed}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Of)) {
		d, counts := a.Of[name], now[name]
		came := judge.Counts{Requests: counts.Requests - d.Last.Requests, Failed: counts.Failed - d.Last.Failed}
		d.Last = counts
		if begins || came.Requests < came.Failed || came.Failed < 0 {
			continue // where counting begins
		}
		d.Seen.Requests += came.Requests
		d.Seen.Failed += came.Failed
		if d.Add(came) {
			fails = append(fails, fmt.Sprintf("%s: %d of %d calls since all the traffic is on the new release, %d of %d %s", name, d.Seen.Failed, d.Seen.Requests, d.Usual.Failed, d.Usual.Requests, d.When))
		}
	}
	return fails
}
