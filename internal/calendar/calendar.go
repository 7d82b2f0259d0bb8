// Package calendar knows when promotions may run: windows and freezes, by rules (RFC 5545), by dates
// and from iCal files, in their own time zones. It answers whether a subject's calendar is open at a
// moment for as long as something takes, and if not, when next, in a sentence for people.
//
// It is pure: no clock, no file, no database. The same question always has the same answer.
package calendar

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a minimal machine has no time zones, and a window must not depend on that
)

// Limits. They are far above any calendar that a person keeps.
const (
	maxEntries  = 500                  // of one calendar
	maxEvents   = 2000                 // of one iCal file
	maxDates    = 2000                 // RDATE and EXDATE of one event
	maxRule     = 1000                 // characters of a rule
	maxTimes    = 24                   // times of day of one rule
	maxInterval = 366                  // INTERVAL of a rule
	maxCount    = 10_000               // COUNT of a rule
	maxNever    = 5                    // rules that never occur; finding that out goes through 8,000 years
	maxLength   = 366 * 24 * time.Hour // of one occurrence of a rule
)

// Horizon is how far the next opportunity is looked for.
const Horizon = 400 * 24 * time.Hour

// Kind says what an entry of a calendar is.
type Kind string

// The kinds of entries. A freeze wins over a window.
const (
	Window Kind = "window"
	Freeze Kind = "freeze"
)

// Spec is a calendar as somebody declares it.
type Spec struct {
	Name     string
	Timezone string // IANA name: Europe/Berlin
	Windows  []Entry
	Freezes  []Entry
}

// Entry is a window or a freeze. It is one of: Rule with times of day; From and To as dates; an iCal file.
type Entry struct {
	Name     string
	Rule     string        // RFC 5545 recurrence rule without DTSTART
	Starting string        // first day of a rule, like 2026-01-31; needed with INTERVAL and COUNT
	From     string        // with a rule: time of day, like 22:00; without: a day or a moment, like 2026-12-24T18:00
	To       string        // likewise; a day is the last one. A time of day that is not after From is on the next day
	Duration time.Duration // instead of To: elapsed time, whatever the clocks do
	HasICal  bool
	ICal     []byte // contents of an iCal file; nil where it is not at hand: such an entry has no occurrence
	Scope    Scope
	Process  string // business process that it is about
	Reason   string
}

// Scope says whom an entry concerns: all that is given must match. An empty one concerns everything.
type Scope struct {
	Environments []string          `json:"environments,omitempty"`
	Tenants      []string          `json:"tenants,omitempty"`
	Rings        []string          `json:"rings,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
}

// Subject is whose calendar is asked for. Without a tenant, only what concerns all tenants counts.
type Subject struct {
	Environment string            `json:"environment"`
	Tenant      string            `json:"tenant,omitempty"`
	Ring        string            `json:"ring,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

func (x Subject) String() string {
	if x.Tenant == "" {
		return x.Environment
	}
	return x.Environment + "/" + x.Tenant
}

// Concerns says whether the subject is in the scope.
func (s Scope) Concerns(x Subject) bool {
	among := func(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }
	if !among(s.Environments, x.Environment) || !among(s.Tenants, x.Tenant) || !among(s.Rings, x.Ring) {
		return false
	}
	for key, value := range s.Labels {
		if got, ok := x.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// String says whom it concerns, for a table: "production, ring early, country=de".
func (s Scope) String() string {
	var parts []string
	add := func(word string, list []string) {
		if len(list) > 0 {
			parts = append(parts, word+strings.Join(list, "/"))
		}
	}
	add("", s.Environments)
	add("tenant ", s.Tenants)
	add("ring ", s.Rings)
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, key+"="+s.Labels[key])
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

// Problem is one thing in a Spec that does not hold.
type Problem struct {
	Calendar int    // index of the Spec
	Field    string // like "windows[0].rrule", in the words of the estate
	Message  string
	Hint     string
}

func (p *Problem) Error() string {
	if p.Hint == "" {
		return p.Field + ": " + p.Message
	}
	return p.Field + ": " + p.Message + " (" + p.Hint + ")"
}

// Set is all calendars, ready to be asked. It is read only, and safe for use by several at once.
type Set struct{ entries []*entry }

// entry is a window or a freeze, compiled.
type entry struct {
	Entry
	kind     Kind
	calendar string
	zone     *time.Location
	sources  []*source
}

// Compile checks calendars and makes them ready. The error joins every *Problem found.
func Compile(specs ...Spec) (*Set, error) {
	c := compiler{set: &Set{}}
	for i := range specs {
		c.calendar(i, &specs[i])
	}
	if len(c.found) > 0 {
		return nil, errors.Join(c.found...)
	}
	return c.set, nil
}

// compiler gathers entries and problems.
type compiler struct {
	set   *Set
	found []error
	index int
	never int // rules without any occurrence so far
}

func (c *compiler) problem(field, message, hint string) {
	c.found = append(c.found, &Problem{Calendar: c.index, Field: field, Message: message, Hint: hint})
}

func (c *compiler) calendar(index int, s *Spec) {
	c.index = index
	zone, err := Zone(s.Timezone)
	if err != nil {
		c.problem("timezone", err.Error(), "for example Europe/Berlin")
		zone = time.UTC // so that the rest is checked too
	}
	if n := len(s.Windows) + len(s.Freezes); n > maxEntries {
		c.problem("windows", fmt.Sprintf("and freezes have %d entries; at most %d are possible", n, maxEntries), "split the calendar")
		return
	}
	for _, part := range []struct {
		kind    Kind
		field   string
		entries []Entry
	}{{Window, "windows", s.Windows}, {Freeze, "freezes", s.Freezes}} {
		for i := range part.entries {
			e := &entry{Entry: part.entries[i], kind: part.kind, calendar: s.Name, zone: zone}
			c.entry(fmt.Sprintf("%s[%d]", part.field, i), e)
			c.set.entries = append(c.set.entries, e)
		}
	}
}

// entry finds out which of the three forms is given, and compiles it.
func (c *compiler) entry(at string, e *entry) {
	forms := 0
	for _, given := range []bool{e.Rule != "", e.HasICal, e.Rule == "" && (e.From != "" || e.To != "" || e.Duration != 0)} {
		if given {
			forms++
		}
	}
	switch {
	case forms == 0:
		c.problem(at, "says no time; rrule, from and to, or ical expected", "")
	case forms > 1:
		c.problem(at+".ical", "is given beside other times; an iCal file says all times itself", "make two entries of it")
	case e.HasICal:
		c.ical(at, e)
	case e.Rule != "":
		c.ruled(at, e)
	default:
		c.dated(at, e)
	}
}

// Zone finds a time zone by its IANA name.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone; the IANA name of one expected", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone; the IANA name of one expected", cut(name))
	}
	return zone, nil
}

// cut bounds what is repeated of somebody's text.
func cut(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
