// Package judge gives verdicts on a release from what two pools show: its own (the canary) and
// that of the release before (the stable pool). It is pure: no clock, no network, no randomness; the same
// observations give the same verdict. Its memory does not grow with the number of observations.
//
// Its tests may be looked at after every observation: the chance that they ever call a release worse
// that is not worse stays below α, however often one looks and whenever one stops. docs/judge.md
// has the formulas, and what each kind of signal is good for.
//
// Judge takes a stream of observations of many signals. Step is the verdict on one traffic step from
// the router's counts alone. (Step's absolute guard stands outside the bound; it adds nothing to
// speak of while less than a fifth of the old pool's requests fail.)
package judge

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Outcome is what the evidence says.
type Outcome string

// The outcomes. No data is Inconclusive, which never promotes.
const (
	Pass         Outcome = "PASS"
	Fail         Outcome = "FAIL"
	Inconclusive Outcome = "INCONCLUSIVE"
)

// Verdict is an outcome with its evidence.
type Verdict struct {
	Outcome  Outcome
	Evidence string  // one line for people
	EValue   float64 // of Step: evidence that the canary fails more often than the stable pool; 1/Alpha is enough. 0: nothing to compare
	// Lower and Upper, of Step, bound the canary's failure share minus the stable pool's (0 without
	// one), together true at every look with probability 1-Alpha.
	Lower, Upper float64
	Signals      []Evidence // of Judge, one a signal, in the order of the configuration
}

func (v Verdict) String() string { return string(v.Outcome) + ": " + v.Evidence }

// Evidence is what one signal says.
type Evidence struct {
	Signal  string
	Role    Role
	Outcome Outcome
	// Effect is canary against stable, NaN where nothing is known, with an interval that holds at every
	// look with the signal's part of α. Unit says what they are.
	Effect, Lower, Upper float64
	Unit                 string
	EValue, Enough       float64 // evidence that it is worse than tolerated, and how much fails it; 0: this kind has an interval only
	Now                  float64 // the EValue of what is seen at present: it falls again where EValue, the highest so far, does not
	Canary, Stable       Counts  // how much was seen
	Stale                bool    // it was heard of, and is no more, or by a clock that is ahead
	Stands               bool    // it failed, and what is seen now says so too; what a warning waits for to end
	Problem              string  // what is wrong with the observations; empty: nothing
	Says                 string  // one line for people

	restarts int
}

// Config says what a Judge looks at.
type Config struct {
	// Alpha is the chance that a release with nothing wrong ever fails, split over the triggers by
	// importance. The warnings have an Alpha of their own, split likewise. Between 0 and 1.
	Alpha   float64
	Signals []Signal
	Stale   time.Duration // a pool's signal without an observation for so long has stopped; 0 is 2 minutes
}

// Judge takes observations and gives verdicts. It is not safe for concurrent use. A failed trigger
// stays failed: the evidence was valid when it was seen.
type Judge struct {
	stale   time.Duration
	signals []*watched
	byName  map[string]*watched
	failed  string
	unknown int // observations of signals that nobody declared
}

type watched struct {
	Signal
	test
	alpha    float64
	last     [2]time.Time
	seen     [2]bool
	rejected int
	problem  string // of the last observation that was rejected
}

// New makes a Judge, or says what is wrong with the configuration.
func New(c Config) (*Judge, error) {
	if !(c.Alpha > 0 && c.Alpha < 1) {
		return nil, fmt.Errorf("judge: alpha %g is not between 0 and 1", c.Alpha)
	}
	if len(c.Signals) == 0 || len(c.Signals) > maxSignals {
		return nil, fmt.Errorf("judge: %d signals; 1 to %d are possible", len(c.Signals), maxSignals)
	}
	j := &Judge{stale: c.Stale, byName: map[string]*watched{}}
	if j.stale <= 0 {
		j.stale = 2 * time.Minute
	}
	total := map[Role]float64{}
	for _, s := range c.Signals {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
		if j.byName[s.Name] != nil {
			return nil, fmt.Errorf("judge: signal %q is there twice", s.Name)
		}
		if s.Importance == 0 {
			s.Importance = 1
		}
		total[s.Role] += s.Importance
		w := &watched{Signal: s, test: newTest(s)}
		j.byName[s.Name], j.signals = w, append(j.signals, w)
	}
	for _, w := range j.signals {
		w.alpha = c.Alpha * w.Importance / total[w.Role]
	}
	return j, nil
}

var (
	errUnknown = errors.New("no such signal")
	errPool    = errors.New("no such pool")
	errBack    = errors.New("the clock went back")
)

// Observe takes one observation. An error says why it was not used; the verdict says it too, so that a
// caller may go on. Observations of a pool and signal come in the order of their time.
func (j *Judge) Observe(o Observation) error {
	w := j.byName[o.Signal]
	if w == nil {
		j.unknown++
		return fmt.Errorf("judge: signal %q: %w", o.Signal, errUnknown)
	}
	var err error
	switch {
	case o.Pool != Stable && o.Pool != Canary:
		err = errPool
	case w.seen[o.Pool] && o.At.Before(w.last[o.Pool]):
		err = errBack
	default:
		err = w.take(&o)
	}
	if err != nil {
		w.rejected++
		w.problem = err.Error()
		return fmt.Errorf("judge: signal %q of %s: %w", o.Signal, o.Pool, err)
	}
	w.seen[o.Pool], w.last[o.Pool] = true, o.At
	if j.failed == "" && w.Role == Trigger && w.worse() >= 1/w.alpha {
		j.failed = w.Name
	}
	return nil
}

// Failed names the trigger that failed first by its e-value. It costs nothing, so that one can ask
// after every observation; Verdict knows of intervals besides.
func (j *Judge) Failed() (signal string, failed bool) { return j.failed, j.failed != "" }

// EValue is how much speaks for it that a signal is worse than tolerated, so far at most. 0: nothing, or
// a kind that has an interval only, or no such signal.
func (j *Judge) EValue(signal string) float64 {
	if w := j.byName[signal]; w != nil {
		return w.worse()
	}
	return 0
}

// Verdict is what all signals together say at a time of the reader's clock. FAIL when a trigger failed,
// PASS when all triggers passed and their observations are fresh, else INCONCLUSIVE.
func (j *Judge) Verdict(now time.Time) Verdict {
	v := Verdict{Outcome: Inconclusive}
	triggers, passed := 0, 0
	var failed, open, warnings []string
	for _, w := range j.signals {
		outcome, e := w.judge(w.alpha)
		e.Signal, e.Role, e.Enough = w.Name, w.Role, 1/w.alpha
		e.Problem = j.trouble(w, now, e.restarts)
		if outcome == Pass && j.unfit(w, now) {
			outcome = Inconclusive // what it was is known, not what it is
		}
		e.Outcome = outcome
		e.Stale = w.seen[0] && w.seen[1] && j.unfit(w, now)
		e.Now = w.still()
		e.Stands = outcome == Fail && (w.Kind == Values || w.still() >= 1/w.alpha)
		v.Signals = append(v.Signals, e)
		line := w.Name + ": " + e.Says
		switch {
		case w.Role == Warning:
			if outcome == Fail {
				warnings = append(warnings, line)
			}
			continue
		case outcome == Fail:
			if j.failed == "" {
				j.failed = w.Name
			}
			failed = append(failed, line)
		case outcome == Pass:
			passed++
		default:
			if e.Problem != "" {
				line += " (" + e.Problem + ")"
			}
			open = append(open, line)
		}
		triggers++
	}
	switch {
	case j.failed != "":
		v.Outcome = Fail
		v.Evidence = "the new release is worse, and not by chance. " + strings.Join(failed, "; ")
	case triggers > 0 && passed == triggers:
		v.Outcome = Pass
		v.Evidence = fmt.Sprintf("the new release is not worse than the old one; signals that say so: %d", passed)
	case triggers == 0:
		v.Evidence = "no signal is declared that could decide"
	default:
		v.Evidence = "not enough is known yet. " + strings.Join(open, "; ")
	}
	if len(warnings) > 0 {
		v.Evidence += ". Worse, but no reason to go back: " + strings.Join(warnings, "; ")
	}
	if j.unknown > 0 {
		v.Evidence += fmt.Sprintf(". Observations of signals that are not declared: %d", j.unknown)
	}
	return v
}

// unfit reports whether a signal's observations are too old, or from a clock that is ahead.
func (j *Judge) unfit(w *watched, now time.Time) bool {
	for p := range w.seen {
		if age := now.Sub(w.last[p]); !w.seen[p] || age > j.stale || age < -skew {
			return true
		}
	}
	return false
}

// trouble says in words what is wrong with a signal's observations.
func (j *Judge) trouble(w *watched, now time.Time, restarts int) string {
	var says []string
	for _, p := range []Pool{Canary, Stable} {
		age := now.Sub(w.last[p])
		switch {
		case !w.seen[p]:
			says = append(says, fmt.Sprintf("nothing was heard of %s", p))
		case age > j.stale:
			says = append(says, fmt.Sprintf("nothing was heard of %s for %s", p, age.Round(time.Second)))
		case age < -skew:
			says = append(says, fmt.Sprintf("the clock of %s is %s ahead", p, (-age).Round(time.Second)))
		}
	}
	if w.seen[0] && w.seen[1] && w.Kind == Events {
		if apart := w.last[0].Sub(w.last[1]).Abs(); apart > skew {
			says = append(says, fmt.Sprintf("the pools' readings are %s apart", apart.Round(time.Second)))
		}
	}
	if restarts > 0 {
		says = append(says, fmt.Sprintf("counters began anew %d times", restarts))
	}
	if w.rejected > 0 {
		says = append(says, fmt.Sprintf("%d observations were no use, the last: %s", w.rejected, w.problem))
	}
	return strings.Join(says, "; ")
}

func percent(share float64) string {
	p := 100 * share
	if a := math.Abs(p); a != 0 && a < 0.1 {
		return fmt.Sprintf("%.2g %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}
