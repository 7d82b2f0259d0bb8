package estate

import (
	"fmt"
	"slices"
	"time"
)

// Emergency says how a release may enter an environment in an emergency: somebody breaks the glass with a reason and
// names a second person, who confirms in time; what Skips names is not asked of it; and the review afterwards must be
// closed before the next ordinary promotion.
type Emergency struct {
	Confirm time.Duration `yaml:"confirm" json:"confirm"` // how long the second person has; nothing begins before they confirm, and after it the promotion ends; default 15m
	Skips   []string      `yaml:"skips" json:"skips"`     // what is not asked of it, beside the policies' rules that say so: approvals, window, order, rehearsal; default [approvals, window, order]
}

// What an emergency may skip. All else is asked of it as of any promotion: trust, vulnerabilities, quarantine, the
// checkpoint, the update in one transaction, flows, verdicts.
const (
	SkipApprovals = "approvals" // the environment's approvals: the second person stands for them
	SkipWindow    = "window"    // windows and freezes
	SkipOrder     = "order"     // that the environment before has had the release
	SkipRehearsal = "rehearsal" // a rehearsal that is there counts; none is made
)

// EmergencySkips are all that an emergency may skip.
var EmergencySkips = []string{SkipApprovals, SkipWindow, SkipOrder, SkipRehearsal}

// Skip says whether something is not asked in an emergency.
func (e *Emergency) Skip(what string) bool { return e != nil && slices.Contains(e.Skips, what) }

func (e *Environment) fillEmergency(given func(string) bool) {
	if e.Emergency == nil {
		return
	}
	or(given, "emergency.confirm", &e.Emergency.Confirm, 15*time.Minute)
	or(given, "emergency.skips", &e.Emergency.Skips, []string{SkipApprovals, SkipWindow, SkipOrder})
}

// emergency checks an Environment's emergency path.
func (d *document) emergency(e *Emergency) {
	if e == nil {
		return
	}
	within(d, "emergency.confirm", e.Confirm, durationSpans["emergency.confirm"], "")
	d.once("emergency.skips", e.Skips)
	for i, what := range e.Skips[:min(len(e.Skips), maxList)] {
		at := fmt.Sprintf("emergency.skips[%d]", i)
		switch {
		case d.unread(at):
		case what == "checkpoint":
			d.problem(at, "a checkpoint is never skipped: without it there is no way back", "remove it")
		default:
			d.oneOf(at, what, EmergencySkips)
		}
	}
}
