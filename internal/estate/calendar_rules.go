package estate

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/calendar"
)

// maxCalendars bounds the documents of kind Calendar, each of which is compiled.
const maxCalendars = 100

// calendar checks a Calendar by itself. What its times mean is checked by package calendar.
func (d *document) calendar(c *Calendar) {
	c.file, c.places = d.file, d.where
	d.name("name", c.Name)
	d.need("timezone", "the IANA name of a time zone, like Europe/Berlin,")
	if len(c.Windows)+len(c.Freezes) == 0 && !d.unread("windows") && !d.unread("freezes") {
		d.problem("windows", "and freezes are both missing; at least one expected", "")
	}
	for _, part := range []struct {
		field   string
		entries []CalendarEntry
	}{{"windows", c.Windows}, {"freezes", c.Freezes}} {
		names := map[string]bool{}
		for i := range part.entries[:min(len(part.entries), maxList)] {
			at := fmt.Sprintf("%s[%d]", part.field, i)
			if d.unread(at) {
				continue
			}
			e := &part.entries[i]
			d.calendarEntry(at, e, part.field == "freezes")
			if e.Name != "" && names[e.Name] {
				d.problem(at+".name", shorten(e.Name)+" names another one already", "")
			}
			names[e.Name] = true
		}
	}
	_, err := calendar.Compile(c.spec())
	for _, p := range calendarProblems(err) {
		if !d.entryUnread(p.Field) && (p.Field != "timezone" || d.given("timezone") && !d.unread("timezone")) {
			d.problem(p.Field, p.Message, p.Hint)
		}
	}
}

func (d *document) calendarEntry(at string, e *CalendarEntry, freeze bool) {
	d.need(at+".name", "what people call it")
	for _, text := range []struct{ field, value string }{{"name", e.Name}, {"process", e.Process}, {"reason", e.Reason}} {
		field := at + "." + text.field
		switch {
		case d.given(field) && !d.unread(field) && strings.TrimSpace(text.value) == "":
			d.problem(field, "is empty", "")
		case len(text.value) > maxText || strings.ContainsAny(text.value, "\r\n") && text.field != "reason":
			d.problem(field, fmt.Sprintf("is longer than one line or %d characters", maxText), "")
		}
	}
	if freeze {
		d.need(at+".reason", "why, for whoever has to wait,")
	}
	if d.given(at+".ical") && !d.unread(at+".ical") && (e.ICal == "" || !filepath.IsLocal(e.ICal)) {
		d.problem(at+".ical", shorten(e.ICal)+" is no path inside the estate's folder", "for example calendars/holidays.ics")
	}
	scope := at + ".applies_to"
	d.once(scope+".environments", e.Applies.Environments)
	d.once(scope+".tenants", e.Applies.Tenants)
	d.once(scope+".rings", e.Applies.Rings)
	d.labels(scope+".labels", e.Applies.Labels)
}

// entryUnread says whether something of the entry that a field belongs to could not be read: what is
// said of the rest would only confuse.
func (d *document) entryUnread(field string) bool {
	entry, _, _ := strings.Cut(field, ".")
	for lost := range d.lost {
		if lost == entry || strings.HasPrefix(lost, entry+".") {
			return true
		}
	}
	return false
}

// calendarProblems takes a joined error apart.
func calendarProblems(err error) []*calendar.Problem {
	var found []*calendar.Problem
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			var p *calendar.Problem
			if errors.As(e, &p) {
				found = append(found, p)
			}
		}
	}
	return found
}

// calendarsTogether compares the documents of kind Calendar with each other, and with what they select.
func (all *declarations) calendarsTogether() {
	names := map[string]*document{}
	known := map[string]map[string]bool{"environments": {}, "tenants": {}, "rings": {}}
	for _, e := range all.environments {
		known["environments"][e.value.Name] = true
	}
	for _, t := range all.tenants {
		known["tenants"][t.value.Name], known["rings"][t.value.Ring] = true, true
	}
	for i, c := range all.calendars {
		if i == maxCalendars {
			c.doc.problem("", fmt.Sprintf("is one of more than %d calendars", maxCalendars), "")
			return
		}
		if c.value.Name != "" {
			unique(names, c.value.Name, c.doc, "name", "there is a Calendar "+shorten(c.value.Name)+" already")
		}
		if all.unreadable() {
			continue
		}
		for part, entries := range map[string][]CalendarEntry{"windows": c.value.Windows, "freezes": c.value.Freezes} {
			for i, e := range entries {
				for what, list := range map[string][]string{"environments": e.Applies.Environments, "tenants": e.Applies.Tenants, "rings": e.Applies.Rings} {
					for j, name := range list {
						field := fmt.Sprintf("%s[%d].applies_to.%s[%d]", part, i, what, j)
						if !known[what][name] && !c.doc.unread(field) && slices.Index(list, name) == j { // twice in one list is reported there
							one := map[string]string{"environments": "Environment", "tenants": "Tenant", "rings": "tenant with ring"}[what]
							c.doc.problem(field, "there is no "+one+" "+shorten(name), suggest(name, slices.Sorted(maps.Keys(known[what]))))
						}
					}
				}
			}
		}
	}
}

// readCalendarFiles reads the iCal files that calendars name.
func (e *Estate) readCalendarFiles(dir string) error {
	var rep report
	var root *os.Root
	for i := range e.Calendars {
		c := &e.Calendars[i]
		complain := func(field, message, hint string) {
			at := c.places[field]
			rep.add(&Problem{File: c.file, Line: at.line, Column: at.column, Field: field, Message: message, Hint: hint})
		}
		named := false
		for part, entries := range map[string][]CalendarEntry{"windows": c.Windows, "freezes": c.Freezes} {
			for j := range entries {
				entry := &entries[j]
				if entry.ICal == "" {
					continue
				}
				named = true
				if root == nil {
					var err error
					if root, err = os.OpenRoot(dir); err != nil {
						return fmt.Errorf("estate: open folder %s: %w", dir, err)
					}
					defer func() { _ = root.Close() }()
				}
				field := fmt.Sprintf("%s[%d].ical", part, j)
				content, problem := readFile(root, entry.ICal)
				switch {
				case problem != nil:
					complain(field, shorten(entry.ICal)+" "+problem.Message, "")
				case content == nil:
					complain(field, shorten(entry.ICal)+" is no file", "")
				case len(content) > maxFileSize:
					complain(field, fmt.Sprintf("%s is longer than %d bytes", shorten(entry.ICal), maxFileSize), "")
				default:
					entry.content = content
				}
			}
		}
		if !named {
			continue
		}
		_, err := calendar.Compile(c.spec())
		for _, p := range calendarProblems(err) {
			complain(p.Field, p.Message, p.Hint)
		}
	}
	return rep.err()
}
