package estate

import (
	"time"

	"github.com/waybill-dev/waybill/internal/calendar"
)

// Calendar says when promotions may run, and when not. There may be several; all of them count, and a
// freeze wins over a window. A tenant that no window concerns is bound by freezes alone. kind: Calendar.
type Calendar struct {
	Name     string          `yaml:"name" json:"name"`
	Timezone string          `yaml:"timezone" json:"timezone"`         // IANA name of the zone that its times are in, like Europe/Berlin
	Windows  []CalendarEntry `yaml:"windows" json:"windows,omitempty"` // when promotions may run
	Freezes  []CalendarEntry `yaml:"freezes" json:"freezes,omitempty"` // when they may not

	places map[string]position // of the iCal files, for Load
	file   string
}

// CalendarEntry is a window or a freeze: by a rule with times of day, by dates, or from an iCal file.
type CalendarEntry struct {
	Name     string        `yaml:"name" json:"name"`
	RRule    string        `yaml:"rrule" json:"rrule,omitempty"`          // recurrence rule (RFC 5545) without DTSTART, like FREQ=WEEKLY;BYDAY=TU,TH
	Starting string        `yaml:"starting" json:"starting,omitempty"`    // first day of the rule, like 2027-01-31; needed with INTERVAL and COUNT
	From     string        `yaml:"from" json:"from,omitempty"`            // with rrule: time of day, like "22:00"; without: the first day or moment, like 2026-12-24T18:00
	To       string        `yaml:"to" json:"to,omitempty"`                // likewise; a day is the last one, a time of day not after from is on the next day; a freeze without it lasts until further notice
	Duration time.Duration `yaml:"duration" json:"duration,omitempty"`    // instead of to: elapsed time, whatever the clocks do; 1m to 8784h
	ICal     string        `yaml:"ical" json:"ical,omitempty"`            // iCal file inside the estate's folder: each of its events is one
	Applies  CalendarScope `yaml:"applies_to" json:"applies_to,omitzero"` // whom it concerns; default: everything
	Process  string        `yaml:"process" json:"process,omitempty"`      // business process that it is about, like month-end close
	Reason   string        `yaml:"reason" json:"reason,omitempty"`        // why, for whoever has to wait; needed for a freeze

	content []byte // of the iCal file
}

// CalendarScope says whom a window or a freeze concerns: all that is given must match.
type CalendarScope struct {
	Environments []string          `yaml:"environments" json:"environments,omitempty"` // default: any
	Tenants      []string          `yaml:"tenants" json:"tenants,omitempty"`           // default: any
	Rings        []string          `yaml:"rings" json:"rings,omitempty"`               // default: any
	Labels       map[string]string `yaml:"labels" json:"labels,omitempty"`             // labels that a tenant must have, with these values
}

func (*Calendar) fill(func(string) bool) {}

// spec is the calendar in the words of package calendar.
func (c Calendar) spec() calendar.Spec {
	entries := func(list []CalendarEntry) (out []calendar.Entry) {
		for _, e := range list {
			out = append(out, calendar.Entry{
				Name: e.Name, Rule: e.RRule, Starting: e.Starting, From: e.From, To: e.To, Duration: e.Duration,
				HasICal: e.ICal != "", ICal: e.content, Scope: calendar.Scope(e.Applies), Process: e.Process, Reason: e.Reason,
			})
		}
		return out
	}
	return calendar.Spec{Name: c.Name, Timezone: c.Timezone, Windows: entries(c.Windows), Freezes: entries(c.Freezes)}
}

// Calendar is all calendars of the estate, ready to be asked.
func (e *Estate) Calendar() (*calendar.Set, error) {
	var specs []calendar.Spec
	for _, c := range e.Calendars {
		specs = append(specs, c.spec())
	}
	return calendar.Compile(specs...)
}

// Subjects are whose calendars may be asked for: every tenant, and environments without one.
func (e *Estate) Subjects() []calendar.Subject {
	var found []calendar.Subject
	for _, env := range e.Environments {
		tenants := e.TenantsOf(env.Name)
		for _, t := range tenants {
			found = append(found, t.Subject())
		}
		if len(tenants) == 0 {
			found = append(found, calendar.Subject{Environment: env.Name})
		}
	}
	return found
}

// Subject is the tenant as calendars know it.
func (t Tenant) Subject() calendar.Subject {
	return calendar.Subject{Environment: t.Environment, Tenant: t.Name, Ring: t.Ring, Labels: t.Labels}
}
