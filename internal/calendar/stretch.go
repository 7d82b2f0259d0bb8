package calendar

import "time"

// State is what a calendar is to a subject for a while.
type State string

// The states of a calendar.
const (
	IsOpen   State = "open"
	IsClosed State = "closed" // outside the windows
	IsFrozen State = "frozen"
)

// Stretch is a time during which the state stays the same.
type Stretch struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	State State     `json:"state"`
}

// Stretches are the states of a subject's calendar from one moment to another, without gaps. At most
// Horizon is looked at.
func (s *Set) Stretches(x Subject, from, to time.Time) []Stretch {
	if to.Sub(from) > Horizon {
		to = from.Add(Horizon)
	}
	t := s.concerning(x).timeline(from, to)
	var found []Stretch
	add := func(until time.Time, state State) {
		if until.After(to) {
			until = to
		}
		if from.Before(until) {
			found = append(found, Stretch{from, until, state})
			from = until
		}
	}
	frozen, open := merge(t.freezes), t.free
	for from.Before(to) {
		switch {
		case len(frozen) > 0 && !frozen[0].end.After(from):
			frozen = frozen[1:]
		case len(open) > 0 && !open[0].end.After(from):
			open = open[1:]
		case len(frozen) > 0 && !frozen[0].start.After(from):
			add(frozen[0].end, IsFrozen)
		case len(open) > 0 && !open[0].start.After(from):
			add(open[0].end, IsOpen)
		default:
			next := to
			if len(frozen) > 0 && frozen[0].start.Before(next) {
				next = frozen[0].start
			}
			if len(open) > 0 && open[0].start.Before(next) {
				next = open[0].start
			}
			add(next, IsClosed)
		}
	}
	return found
}

// ZoneOf is the time zone that the subject's calendar is told in: of the first entry that concerns it,
// or UTC.
func (s *Set) ZoneOf(x Subject) *time.Location { return s.concerning(x).zone() }

// Empty says whether there is no window and no freeze at all.
func (s *Set) Empty() bool { return len(s.entries) == 0 }

// Concerns says whether any window or freeze is about the subject.
func (s *Set) Concerns(x Subject) bool {
	c := s.concerning(x)
	return len(c.windows)+len(c.freezes) > 0
}
