package calendar

import (
	"fmt"
	"strings"
	"time"
)

// voice puts answers into sentences.
type voice struct {
	timeline

	mine    concerned
	subject Subject
	at      time.Time
	need    time.Duration
}

// Spoken is a duration for people: "2 h 10 min".
func Spoken(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	d = d.Round(time.Minute)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	var parts []string
	for _, p := range []struct {
		n    int
		unit string
	}{{days, "d"}, {hours, "h"}, {minutes, "min"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.unit))
		}
	}
	return strings.Join(parts[:min(len(parts), 2)], " ")
}

// Told is a moment for people, on the wall of a zone: "Tue 2026-11-24 22:00 CET".
func Told(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("Mon 2006-01-02 15:04 MST")
}

// title names an occurrence: `freeze "year end" of calendar warehouse (month-end close)`.
func (x span) title() string {
	name := x.entry.Name
	if x.name != "" && x.name != name {
		name += ": " + x.name
	}
	text := fmt.Sprintf("%s %q", x.entry.kind, name)
	if x.entry.Process != "" {
		text += " (" + x.entry.Process + ")"
	}
	return text
}

// because is the reason that was declared, to be put after a title.
func (x span) because() string {
	if x.entry.Reason == "" {
		return ""
	}
	return ": " + strings.TrimRight(strings.TrimSpace(x.entry.Reason), ".")
}

// zone is the one that sentences about the subject are told in: of the first entry that concerns it.
func (c concerned) zone() *time.Location {
	for _, list := range [][]*entry{c.windows, c.freezes} {
		if len(list) > 0 {
			return list[0].zone
		}
	}
	return time.UTC
}

// covering is the one among spans that lasts longest at a moment.
func covering(spans []span, at time.Time) (span, bool) {
	var found span
	for _, x := range spans {
		if !x.start.After(at) && x.end.After(at) && x.end.After(found.end) {
			found = x
		}
	}
	return found, found.entry != nil
}

// starting is the one among spans that starts at a moment.
func starting(spans []span, at time.Time) (span, bool) {
	for _, x := range spans {
		if x.start.Equal(at) {
			return x, true
		}
	}
	return span{}, false
}

func (v voice) until(end time.Time) string {
	if end.IsZero() {
		return ""
	}
	return " until " + Told(end, v.mine.zone())
}

func (v voice) open(end time.Time) string {
	closes := ""
	if f, ok := starting(v.freezes, end); ok {
		closes = ", when " + f.title() + " begins"
	}
	if w, ok := covering(v.windows, v.at); ok {
		return "in " + w.title() + v.until(end) + closes
	}
	if end.IsZero() {
		return fmt.Sprintf("no window concerns %s, and no freeze is near", v.subject)
	}
	return fmt.Sprintf("no window concerns %s; open%s%s", v.subject, v.until(end), closes)
}

// closed says why it is not open now.
func (v voice) closed() string {
	if f, ok := covering(v.freezes, v.at); ok {
		text := f.title()
		if f.end.Equal(forever) {
			text += ", until further notice"
		} else {
			text += v.until(f.end)
		}
		return text + f.because()
	}
	w, ok := covering(v.windows, v.at)
	if !ok && len(v.mine.windows) > 0 {
		return fmt.Sprintf("outside the windows of %s", v.subject)
	}
	// Open, and not for long enough.
	ends, closes := time.Time{}, ""
	if len(v.free) > 0 {
		ends = v.free[0].end
	}
	if f, begins := starting(v.freezes, ends); begins {
		closes = f.title() + " begins"
	} else if ok {
		closes = w.title() + " ends"
	}
	return fmt.Sprintf("%s in %s, at %s; %s are needed", closes, Spoken(ends.Sub(v.at)), Told(ends, v.mine.zone()), Spoken(v.need))
}

// next says what opens, and how many opportunities before it are too short.
func (v voice) next(start, end time.Time, tooShort int) string {
	text := "next: " + Told(start, v.mine.zone())
	if w, ok := starting(v.windows, start); ok {
		text += ", " + w.title()
	} else if f, ok := ending(v.freezes, start); ok {
		text += ", after " + f.title()
	} else if w, ok := covering(v.windows, start); ok {
		text += ", " + w.title()
	}
	if !end.IsZero() {
		text += ", for " + Spoken(end.Sub(start))
	}
	switch tooShort {
	case 0:
	case 1:
		text += fmt.Sprintf(" (one before it is too short for %s)", Spoken(v.need))
	default:
		text += fmt.Sprintf(" (%d before it are too short for %s)", tooShort, Spoken(v.need))
	}
	return text
}

func ending(spans []span, at time.Time) (span, bool) {
	for _, x := range spans {
		if x.end.Equal(at) {
			return x, true
		}
	}
	return span{}, false
}

func (v voice) never(tooShort int) string {
	days := int(Horizon.Hours() / 24)
	if tooShort > 0 {
		return fmt.Sprintf("none of the next %d days' opportunities lasts %s", days, Spoken(v.need))
	}
	return fmt.Sprintf("no opportunity within the next %d days", days)
}
