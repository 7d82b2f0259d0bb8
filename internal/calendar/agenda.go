package calendar

import (
	"fmt"
	"slices"
	"time"
)

// maxAgenda bounds the occurrences of one Agenda.
const maxAgenda = 10_000

// Occurrence is one window or freeze as it happens.
type Occurrence struct {
	Calendar string    `json:"calendar"`
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name"`
	Event    string    `json:"event,omitempty"` // of an iCal file
	Process  string    `json:"process,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Scope    Scope     `json:"scope"`
	Start    time.Time `json:"start"`        // in the calendar's time zone
	End      time.Time `json:"end,omitzero"` // zero: until further notice
}

// Title names it for people.
func (o Occurrence) Title() string {
	return span{entry: &entry{Entry: Entry{Name: o.Name, Process: o.Process}, kind: o.Kind}, name: o.Event}.title()
}

// Agenda lists what happens from one moment on and before another, by start. With a subject, only
// what concerns it. Errors: more than 400 days, or more than 10,000 occurrences.
func (s *Set) Agenda(from, to time.Time, x *Subject) ([]Occurrence, error) {
	if to.Sub(from) > Horizon {
		return nil, fmt.Errorf("calendar: list %s to %s: at most %s are listed", from.Format(time.DateOnly), to.Format(time.DateOnly), Spoken(Horizon))
	}
	var entries []*entry
	for _, e := range s.entries {
		if x == nil || e.Scope.Concerns(*x) {
			entries = append(entries, e)
		}
	}
	spans := all(entries, from, to)
	if len(spans) > maxAgenda {
		return nil, fmt.Errorf("calendar: list %s to %s: there are %d windows and freezes; at most %d are listed", from.Format(time.DateOnly), to.Format(time.DateOnly), len(spans), maxAgenda)
	}
	found := make([]Occurrence, 0, len(spans))
	for _, x := range spans {
		found = append(found, x.occurrence())
	}
	return found, nil
}

func (x span) occurrence() Occurrence {
	e := x.entry
	o := Occurrence{Calendar: e.calendar, Kind: e.kind, Name: e.Name, Event: x.name, Process: e.Process, Reason: e.Reason, Scope: e.Scope, Start: x.start.In(e.zone)}
	if !x.end.Equal(forever) {
		o.End = x.end.In(e.zone)
	}
	return o
}

// Finding is something in a calendar that is worth a look. It is no error: the calendar works as it is written.
type Finding struct {
	Calendar string `json:"calendar,omitempty"`
	Entry    string `json:"entry,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Message  string `json:"message"`
}

// Lint looks for calendars that never open, entries that have ended or never occur, and such that
// concern nobody. subjects are all there are.
func (s *Set) Lint(now time.Time, subjects []Subject) []Finding {
	var found []Finding
	high := now.Add(Horizon)
	for _, e := range s.entries {
		add := func(format string, args ...any) {
			found = append(found, Finding{Calendar: e.calendar, Entry: string(e.kind) + " " + e.Name, Message: fmt.Sprintf(format, args...)})
		}
		if !slices.ContainsFunc(subjects, e.Scope.Concerns) {
			add("concerns nobody: there is no tenant with %s", e.Scope)
		}
		e.lint(now, high, add)
	}
	for _, x := range subjects {
		mine := s.concerning(x)
		t := mine.timeline(now, high)
		add := func(format string, args ...any) {
			found = append(found, Finding{Subject: x.String(), Message: fmt.Sprintf(format, args...)})
		}
		switch {
		case len(t.free) > 0:
		case len(mine.windows) > 0 && len(t.windows) == 0:
			add("never opens: none of its windows occurs within the next %s", Spoken(Horizon))
		case len(t.windows) > 0:
			f := t.freezes[0] // nothing else takes a window away
			add("never opens: freezes cover all of its windows within the next %s, first %s", Spoken(Horizon), f.title())
		default:
			f, _ := covering(t.freezes, now)
			add("never opens within the next %s: %s", Spoken(Horizon), f.title())
		}
	}
	return found
}

// lint looks at one entry by itself.
func (e *entry) lint(now, high time.Time, add func(string, ...any)) {
	if e.HasICal && e.ICal != nil && len(e.sources) == 0 {
		add("the iCal file has no event")
		return
	}
	never, later := len(e.sources) > 0, false
	for _, s := range e.sources {
		never = never && s.rule != nil && s.rule.never && len(s.starts) == 0
		later = later || s.rule != nil && s.rule.starting.After(high)
		for _, wall := range s.starts {
			later = later || wall.After(high)
		}
		if len(s.spans(e, now, high, nil)) > 0 {
			return
		}
	}
	switch {
	case never:
		add("never occurs: there is no such day")
	case later:
		add("does not begin within the next %s", Spoken(Horizon))
	case len(e.sources) > 0:
		add("lies in the past; nothing comes within the next %s", Spoken(Horizon))
	}
}
