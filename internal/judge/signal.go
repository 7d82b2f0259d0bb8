package judge

import (
	"fmt"
	"math"
	"time"
)

// Kind says what a signal's observations are, and so which test fits.
type Kind string

// The kinds.
const (
	// Events are counts without a denominator (errors in a log, orders confirmed): two Poisson streams,
	// whose rates may change as long as they change for both pools. Observation.Total and Weight.
	Events Kind = "events"
	// Shares are units of which some are bad (requests that failed). Observation.Total and Bad.
	Shares Kind = "shares"
	// Sessions are requests that are told apart by session, each of which can speak only once. For
	// failures that one heavy user could cause alone. Observation.Session and Failed.
	Sessions Kind = "sessions"
	// Latency is a histogram of durations. Observation.Buckets.
	Latency Kind = "latency"
	// Values are single measurements between 0 and Cap. Observation.Value.
	Values Kind = "values"
	// Series are one number a pool and Interval (a mean, a gauge), which may be autocorrelated.
	// Observation.Value.
	Series Kind = "series"
)

// Role says what follows when a signal fails.
type Role string

// The roles.
const (
	Trigger Role = "trigger" // the release goes back
	Warning Role = "warning" // it is recorded, and may hold the next step
)

// Signal says how one signal is judged.
type Signal struct {
	Name string
	Kind Kind
	Role Role
	// Tolerance is how much worse is not bad enough. Events: of the ratio of rates, .25 allows a quarter
	// more. Shares, Sessions, Latency: of the difference of shares, .01 allows one in a hundred more;
	// Latency at every bound. Values, Series: in their own unit.
	Tolerance float64
	// Ratio is from how many times as long on durations count as longer: 1.25 tolerates a quarter more, by
	// the geometric mean, as far as the buckets tell it. It takes the place of Tolerance for FAIL; PASS goes by
	// Tolerance. Latency only; 0: Tolerance decides both.
	Ratio float64
	// Fewer turns the direction round: fewer of it is worse. Events, Values and Series only.
	Fewer bool
	// Importance is the signal's part of α among those of its role; 0 is 1.
	Importance float64
	// MinCanary is what must be seen on the canary before the signal may pass: units, sessions, values,
	// pairs of a series; for Events the number that the canary's weight lets one expect.
	MinCanary int64
	Cap       float64       // Values: larger ones count as Cap
	Bounds    []float64     // Latency: upper bounds of the buckets, in seconds, growing; one bucket more lies beyond
	Interval  time.Duration // Series; 0 is a minute
}

// limits of what is kept.
const (
	maxSignals = 64
	maxBounds  = 64
)

func (s Signal) check() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("signal %q: %s", s.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case s.Name == "":
		return wrong("has no name")
	case s.Role != Trigger && s.Role != Warning:
		return wrong("role %q is neither %q nor %q", s.Role, Trigger, Warning)
	case !(s.Tolerance >= 0) || math.IsInf(s.Tolerance, 0):
		return wrong("tolerance %g is no number of 0 or more", s.Tolerance)
	case !(s.Importance >= 0) || math.IsInf(s.Importance, 0):
		return wrong("importance %g is no number of 0 or more", s.Importance)
	case s.Ratio != 0 && !(s.Ratio >= 1 && !math.IsInf(s.Ratio, 0)):
		return wrong("ratio %g is no number of 1 or more", s.Ratio)
	case s.Ratio != 0 && s.Kind != Latency:
		return wrong("kind %q knows no ratio", s.Kind)
	case s.MinCanary < 0 || s.Interval < 0:
		return wrong("minimum and interval may not be negative")
	}
	switch s.Kind {
	case Events, Series:
	case Shares, Sessions:
		if s.Fewer {
			return wrong("kind %q counts what is bad; say which units those are instead of fewer", s.Kind)
		}
	case Latency:
		if s.Fewer || len(s.Bounds) == 0 || len(s.Bounds) > maxBounds {
			return wrong("needs 1 to %d bounds, and knows no fewer", maxBounds)
		}
		for i, b := range s.Bounds {
			if math.IsNaN(b) || i > 0 && b <= s.Bounds[i-1] {
				return wrong("bounds must grow")
			}
			if s.Ratio > 0 && !(b > 0 && !math.IsInf(b, 0)) {
				return wrong("a ratio needs bounds above 0")
			}
		}
	case Values:
		if !(s.Cap > 0) || math.IsInf(s.Cap, 0) {
			return wrong("needs a cap above 0")
		}
	default:
		return wrong("kind %q is not known", s.Kind)
	}
	return nil
}

// Pool is a side of the comparison.
type Pool int

// The pools.
const (
	Stable Pool = iota
	Canary
)

func (p Pool) String() string {
	if p == Canary {
		return "the new release"
	}
	return "the old release"
}

// Observation is one reading of one signal in one pool.
type Observation struct {
	Signal string
	Pool   Pool
	At     time.Time // by the reader's clock, one for both pools
	Source int64     // changes when the source restarted and counts from 0 again; may stay 0, a counter that goes back says it too

	Total   int64   // Events, Shares: since the source started
	Bad     int64   // Shares: of them
	Buckets []int64 // Latency: since the source started, one more than there are bounds
	// Weight is the canary's share of the exposure (of traffic, for most) since the last reading.
	// Events only. It must be known without looking at the events.
	Weight float64

	Session uint64 // Sessions: a hash of the session, the same in both pools
	Failed  bool   // Sessions

	Value float64 // Values, Series
}

// a test is what each kind does with its observations.
type test interface {
	take(o *Observation) error               // an error: it was not used
	worse() float64                          // the e-value that the canary is worse than tolerated, the highest so far
	still() float64                          // the same at present; 0: what is seen is tolerated
	judge(alpha float64) (Outcome, Evidence) // Signal and Role are filled in by the caller
	keep() any                               // all it knows, fit for JSON
	takeUp(data []byte) error                // what keep gave
}

func newTest(s Signal) test {
	switch s.Kind {
	case Events:
		t := &eventsTest{rule: s}
		t.split.Null = math.Log1p(s.Tolerance)
		return t
	case Shares:
		return &sharesTest{rule: s}
	case Sessions:
		return &sessionsTest{rule: s}
	case Latency:
		return newLatencyTest(s)
	case Values:
		return &valuesTest{rule: s}
	default:
		return newSeriesTest(s)
	}
}
