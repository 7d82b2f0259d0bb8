package promotion

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
)

// Verdict is what was decided about a traffic step, and on what. It is kept with the rollout, for
// the record of the promotion.
type Verdict struct {
	Stage    string          `json:"stage"`  // "shift 10" or "bake"
	Weight   int             `json:"weight"` // percent of the traffic on the new release
	Outcome  judge.Outcome   `json:"outcome"`
	Says     string          `json:"says"` // one line
	Since    time.Time       `json:"since"`
	At       time.Time       `json:"at"`
	Requests judge.Pair      `json:"requests"`        // that the router counted at this weight
	EValue   float64         `json:"e_value"`         // that the new release fails more requests, over the whole shift
	Lower    float64         `json:"lower"`           // of its share of failed requests less the old release's
	Upper    float64         `json:"upper"`           // likewise
	Calls    int64           `json:"calls"`           // of the business on the new release, at this weight
	Flows    int64           `json:"synthetic_flows"` // that passed on the new release at this weight; they count for nothing unless the estate says so
	Signals  []SignalVerdict `json:"signals"`         // those that were seen
	Gauges   []GaugeVerdict  `json:"gauges"`          // what both releases share, such as a queue or a server
}

// SignalVerdict is what one business signal says, over the whole shift.
type SignalVerdict struct {
	Signal  string            `json:"signal"`
	Role    estate.SignalRole `json:"role"`
	Outcome judge.Outcome     `json:"outcome"`
	Says    string            `json:"says"`
	Problem string            `json:"problem,omitempty"` // with the observations
	Effect  *float64          `json:"effect,omitempty"`  // new against old, with an interval that holds at every look; nothing where it is not known
	Lower   *float64          `json:"lower,omitempty"`
	Upper   *float64          `json:"upper,omitempty"`
	Unit    string            `json:"unit"`
	EValue  float64           `json:"e_value"` // that it is worse than tolerated
	Enough  float64           `json:"enough"`  // how much of that is a verdict
	Canary  judge.Counts      `json:"canary"`
	Stable  judge.Counts      `json:"stable"`
	Chart   *Chart            `json:"chart,omitempty"` // of those that decide
}

func (s *stepWatch) verdict(at time.Time, flows flowState, outcome judge.Outcome, says string) Verdict {
	base := s.memory.Shift
	v := Verdict{
		Stage: fmt.Sprintf("shift %d", s.weight), Weight: s.weight, Outcome: outcome, Says: says, Since: base.Since, At: at,
		Requests: s.counts, EValue: number(s.requests.EValue), Lower: s.requests.Lower, Upper: s.requests.Upper,
		Calls: base.Watch.Events, Flows: flows.passed, Signals: []SignalVerdict{},
	}
	for _, e := range s.findings.all {
		r := s.signals.rules[e.Signal]
		if e.Canary.Requests+e.Stable.Requests == 0 && !r.required {
			continue
		}
		sv := SignalVerdict{Signal: e.Signal, Role: r.role, Outcome: e.Outcome, Says: e.Says, Problem: e.Problem, Unit: e.Unit,
			Effect: known(e.Effect), Lower: known(e.Lower), Upper: known(e.Upper), EValue: number(e.EValue), Enough: e.Enough, Canary: e.Canary, Stable: e.Stable}
		if c := base.Watch.Charts[e.Signal]; c != nil && (e.Outcome == judge.Fail || r.required) {
			unit := "share"
			if strings.HasSuffix(e.Signal, ".seconds") {
				unit = "seconds"
			}
			sv.Chart = c.public(unit)
		}
		v.Signals = append(v.Signals, sv)
	}
	v.Gauges = s.signals.gauges()
	return v
}

// known is a number that JSON can hold, or nothing.
func known(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func number(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return min(max(x, -math.MaxFloat64), math.MaxFloat64)
}
