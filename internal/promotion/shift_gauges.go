package promotion

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/signal"
)

// gauge is a number that both pools share, such as a backlog: there is nothing to compare it with but what it
// was when the shift began.
type gauge struct {
	First float64   `json:"first"`
	Last  float64   `json:"last"`
	Unit  string    `json:"unit"`
	Says  string    `json:"says,omitempty"`
	At    time.Time `json:"at"` // of Last
}

// GaugeVerdict is how a number that both releases share has changed during the shift.
type GaugeVerdict struct {
	Signal    string            `json:"signal"`
	Role      estate.SignalRole `json:"role"`
	First     float64           `json:"first"` // when the shift began
	Last      float64           `json:"last"`
	Unit      string            `json:"unit"`
	Says      string            `json:"says,omitempty"` // what it is about
	Tolerance float64           `json:"tolerance"`      // how far it may rise
}

// measure takes what was read. The scheduler is not among it: it moves with the last step, and is watched from then on.
func (s *watch) measure(at time.Time, read []signal.Gauge) {
	for _, g := range read {
		if strings.HasPrefix(g.Name, "cron.") {
			continue
		}
		if s.kept.Gauges == nil {
			s.kept.Gauges = map[string]*gauge{}
		}
		kept := s.kept.Gauges[g.Name]
		if kept == nil || g.Value < kept.First && g.Name == "redis.evicted" { // the server was started anew
			kept = &gauge{First: g.Value, Unit: g.Unit}
			s.kept.Gauges[g.Name] = kept
		}
		kept.Last, kept.Says, kept.At = g.Value, g.Says, at
	}
}

// risen adds what is higher than it may be. One that is not told any more says nothing.
func (s *watch) risen(now time.Time, f *findings) {
	for _, name := range slices.Sorted(maps.Keys(s.kept.Gauges)) {
		g, r := s.kept.Gauges[name], rule(s.rollout, name)
		if now.Sub(g.At) > signalsStale || g.Last-g.First <= r.tolerance {
			continue
		}
		line := fmt.Sprintf("%s: %.4g %s, %.4g when the shift began", name, g.Last, g.Unit, g.First)
		if g.Says != "" {
			line += " (" + g.Says + ")"
		}
		switch r.role {
		case estate.Trigger:
			f.fails = append(f.fails, line)
		case estate.Warning:
			f.holds = append(f.holds, line)
		case estate.Record:
			f.notes = append(f.notes, line)
		}
	}
}

func (s *watch) gauges() []GaugeVerdict {
	all := []GaugeVerdict{}
	for _, name := range slices.Sorted(maps.Keys(s.kept.Gauges)) {
		if g, r := s.kept.Gauges[name], rule(s.rollout, name); r.role != estate.Off {
			all = append(all, GaugeVerdict{Signal: name, Role: r.role, First: g.First, Last: g.Last, Unit: g.Unit, Says: g.Says, Tolerance: r.tolerance})
		}
	}
	return all
}
