// Package ring decides whose turn it is when a release goes through the tenants of an environment ring by ring. It holds
// nothing and asks nobody: the same figures give the same answer.
package ring

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ring is tenants that take a release after those of other rings.
type Ring struct {
	Name     string
	After    []string      // rings that come first, by name; they are no circle
	AtOnce   int           // tenants of it that may be under way at the same time, at least 1
	Soak     time.Duration // how long after its last tenant a ring after it begins
	Failures int           // tenants that may go back before it stops
}

// Count is how far the tenants of a ring are in one promotion.
type Count struct {
	Total     int       // that take part
	Turn      int       // that have had their turn and have not ended
	Promoted  int       // that serve the release
	Failed    int       // that went back, or were not let in
	LastEnded time.Time // of those that have ended; zero: none has
}

// Counts are those of a promotion's rings, by name; one that is missing has no tenant in the promotion.
type Counts map[string]Count

// Add counts one tenant.
func (c Counts) Add(ring string, turn, ended, promoted bool, at *time.Time) {
	n := c[ring]
	n.Total++
	switch {
	case ended && promoted:
		n.Promoted++
	case ended:
		n.Failed++
	case turn:
		n.Turn++
	}
	if ended && at != nil && at.After(n.LastEnded) {
		n.LastEnded = *at
	}
	c[ring] = n
}

func (c Count) ended() bool { return c.Promoted+c.Failed >= c.Total }

// State is what a ring does.
type State string

// The states of a ring.
const (
	Waits   State = "waits"   // for rings before it
	Goes    State = "goes"    // its tenants have their turns
	Soaks   State = "soaks"   // all have ended; the rings after it wait a while
	Through State = "through" // all have ended, and the rings after it may begin
	Stopped State = "stopped" // more of its tenants went back than may, or one before it has stopped
)

// Standing is the state of a ring, and why.
type Standing struct {
	State State
	Until time.Time // of Soaks: when it is Through; of Waits: when a soak ends that it waits for, zero where an event must come first
	Why   string    // in words
	Free  int       // of Goes: how many more tenants may begin
}

// Plan is the rings of an environment with the figures of a promotion.
type Plan struct {
	Rings  []Ring
	Counts Counts
}

// Standings tells where each ring stands at a time, by its name.
func (p Plan) Standings(now time.Time) map[string]Standing {
	all := map[string]Standing{}
	for len(all) < len(p.Rings) {
		before := len(all)
		for _, r := range p.Rings {
			if _, known := all[r.Name]; !known && p.decided(r, all) {
				all[r.Name] = p.standing(r, all, now)
			}
		}
		if len(all) == before { // a circle, which no estate has
			for _, r := range p.Rings {
				if _, known := all[r.Name]; !known {
					all[r.Name] = Standing{State: Stopped, Why: "ring " + r.Name + " waits for itself"}
				}
			}
		}
	}
	return all
}

// decided says whether all rings before a ring are known; one that does not exist holds nobody back.
func (p Plan) decided(r Ring, all map[string]Standing) bool {
	return !slices.ContainsFunc(r.After, func(name string) bool {
		_, known := all[name]
		return !known && slices.ContainsFunc(p.Rings, func(other Ring) bool { return other.Name == name })
	})
}

func (p Plan) standing(r Ring, all map[string]Standing, now time.Time) Standing {
	c := p.Counts[r.Name]
	if c.Failed > r.Failures {
		return Standing{State: Stopped, Why: fmt.Sprintf("ring %s has stopped: %s, %s may", r.Name, went(c), count(r.Failures, "none", "one"))}
	}
	until := time.Time{}
	var waits []string
	event := false
	for _, name := range r.After {
		switch before := all[name]; before.State {
		case Stopped:
			return Standing{State: Stopped, Why: before.Why}
		case Soaks:
			waits = append(waits, before.Why)
			if before.Until.After(until) {
				until = before.Until
			}
		case Waits, Goes:
			event = true
			waits = append(waits, "ring "+name+" comes first")
		}
	}
	if len(waits) > 0 {
		if event {
			until = time.Time{}
		}
		return Standing{State: Waits, Until: until, Why: strings.Join(waits, "; ")}
	}
	if !c.ended() {
		s := Standing{State: Goes, Free: max(0, max(1, r.AtOnce)-c.Turn)}
		if s.Free == 0 {
			s.Why = fmt.Sprintf("%s under way in ring %s, and no more may be at once", count(c.Turn, "", "one tenant is", "tenants are"), r.Name)
		}
		return s
	}
	if end := c.LastEnded.Add(r.Soak); c.Total > 0 && end.After(now) {
		return Standing{State: Soaks, Until: end, Why: fmt.Sprintf("ring %s soaks until %s", r.Name, end.UTC().Format("2006-01-02 15:04:05 UTC"))}
	}
	return Standing{State: Through}
}

func went(c Count) string {
	if c.Failed == 1 {
		return fmt.Sprintf("1 of its %d tenants went back", c.Total)
	}
	return fmt.Sprintf("%d of its %d tenants went back", c.Failed, c.Total)
}

// count says a number with the word for none, for one, and for more.
func count(n int, none, one string, more ...string) string {
	switch {
	case n == 0 && none != "":
		return none
	case n == 1:
		return one
	case len(more) > 0:
		return fmt.Sprintf("%d %s", n, more[0])
	}
	return fmt.Sprint(n)
}
