package calendar

import (
	"bytes"
	"slices"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
)

// maxNesting bounds components within components: a calendar, an event, an alarm.
const maxNesting = 8

// ical compiles an entry whose occurrences are the events of an iCal file.
func (c *compiler) ical(at string, e *entry) {
	for _, f := range []struct {
		field string
		given bool
	}{{"from", e.From != ""}, {"to", e.To != ""}, {"duration", e.Duration != 0}, {"starting", e.Starting != ""}} {
		if f.given {
			c.problem(at+"."+f.field, "is given beside ical; an iCal file says all times itself", "")
			return
		}
	}
	if e.ICal == nil {
		return
	}
	sources, err := events(e.ICal, e.zone)
	if err != nil {
		message, hint := asProblem(err)
		c.problem(at+".ical", message, hint)
		return
	}
	for _, s := range sources {
		if s.rule != nil {
			c.countNever(at+".ical", s.rule)
		}
	}
	e.sources = sources
}

// events reads the events of an iCal file. zone is for times that name none.
func events(content []byte, zone *time.Location) (found []*source, err error) {
	if err := nested(content); err != nil {
		return nil, err
	}
	if !bytes.Contains(bytes.ToUpper(content[:min(len(content), 1000)]), []byte("BEGIN:VCALENDAR")) {
		return nil, refuse("", "is no iCal file: it does not begin with BEGIN:VCALENDAR")
	}
	defer func() {
		if recover() != nil { // the library's readers index into lines
			found, err = nil, refuse("", "is no iCal file that can be read")
		}
	}()
	file, err := ics.ParseCalendarWithOptions(bytes.NewReader(content), ics.WithUnknownPropertyHandler(ics.AcceptUnknownPropertyHandler))
	if err != nil {
		return nil, refuse("", "is no iCal file: %s", cut(err.Error()))
	}
	all := file.Events()
	if len(all) > maxEvents {
		return nil, refuse("", "has %d events; at most %d are read", len(all), maxEvents)
	}
	masters := map[string]*source{}
	type change struct {
		id   string
		wall time.Time
	}
	var changes []change
	for _, event := range all {
		r := eventReader{event, zone}
		s, replaces, err := r.source()
		if err != nil {
			message, hint := asProblem(err)
			return nil, refuse(hint, "event %q: %s", cut(r.title()), message)
		}
		id := r.text(ics.ComponentPropertyUniqueId)
		switch {
		case replaces != nil:
			changes = append(changes, change{id, *replaces})
		case s != nil:
			masters[id] = s
		}
		if s != nil {
			found = append(found, s)
		}
	}
	for _, x := range changes { // an occurrence that was moved or cancelled is no longer where its rule puts it
		if master := masters[x.id]; master != nil {
			master.except[x.wall] = true
		}
	}
	return found, nil
}

// nested refuses what would send the reader deep, before it reads.
func nested(content []byte) error {
	depth := 0
	for line := range bytes.Lines(content) {
		upper := bytes.ToUpper(bytes.TrimSpace(line[:min(len(line), 80)]))
		switch {
		case bytes.HasPrefix(upper, []byte("BEGIN:")):
			if depth++; depth > maxNesting {
				return refuse("", "is no iCal file: its parts are nested more than %d levels deep", maxNesting)
			}
		case bytes.HasPrefix(upper, []byte("END:")):
			depth--
		}
	}
	return nil
}

// eventReader reads one event.
type eventReader struct {
	*ics.VEvent
	zone *time.Location
}

func (r eventReader) text(name ics.ComponentProperty) string {
	if p := r.GetProperty(name); p != nil {
		return p.Value
	}
	return ""
}

func (r eventReader) title() string {
	if summary := strings.Join(strings.Fields(r.text(ics.ComponentPropertySummary)), " "); summary != "" {
		return summary
	}
	return r.text(ics.ComponentPropertyUniqueId)
}

// source is what the event says; nil for one that was cancelled. replaces is the occurrence of another
// event that this one stands for.
func (r eventReader) source() (s *source, replaces *time.Time, err error) {
	start := r.GetProperty(ics.ComponentPropertyDtStart)
	if start == nil {
		return nil, nil, refuse("", "has no DTSTART")
	}
	zone, err := r.zoneOf(start)
	if err != nil {
		return nil, nil, err
	}
	wall, isDay, err := r.wall(start.Value)
	if err != nil {
		return nil, nil, err
	}
	s = &source{name: r.title(), zone: zone, except: map[time.Time]bool{}}
	if p := r.GetProperty(ics.ComponentPropertyRecurrenceId); p != nil {
		if len(p.ICalParameters["RANGE"]) > 0 {
			return nil, nil, refuse("", "has RECURRENCE-ID with RANGE, which is not read")
		}
		at, err := r.inZone(p, zone)
		if err != nil {
			return nil, nil, err
		}
		replaces = &at
	}
	if strings.EqualFold(r.text(ics.ComponentPropertyStatus), "CANCELLED") {
		return nil, replaces, nil
	}
	if err := r.length(s, wall, isDay); err != nil {
		return nil, nil, err
	}
	return s, replaces, r.occurrences(s, wall)
}

// length is that of all occurrences: days by the wall, else exact (RFC 5545, 3.6.1 and 3.8.5.3).
func (r eventReader) length(s *source, wall time.Time, isDay bool) error {
	end := r.GetProperty(ics.ComponentPropertyDtEnd)
	length := r.text(ics.ComponentPropertyDuration)
	switch {
	case end != nil:
		zone, err := r.zoneOf(end)
		if err != nil {
			return err
		}
		to, toDay, err := r.wall(end.Value)
		if err != nil {
			return err
		}
		if toDay && isDay {
			s.byWall, s.length = true, to.Sub(wall)
			break
		}
		first, _ := readings(wall, s.zone)
		last, _ := readings(to, zone)
		s.length = last.Sub(first)
	case length != "":
		d, err := span5545(length)
		if err != nil {
			return err
		}
		s.byWall, s.length = d%(24*time.Hour) == 0 && !strings.Contains(length, "T"), d
	case isDay:
		s.byWall, s.length = true, 24*time.Hour
	}
	if s.length <= 0 {
		return refuse("", "has no end after its beginning")
	}
	if s.length > maxLength {
		return refuse("", "lasts %s; at most %s are possible", Spoken(s.length), Spoken(maxLength))
	}
	return nil
}

func (r eventReader) occurrences(s *source, wall time.Time) error {
	rules := r.GetProperties(ics.ComponentPropertyRrule)
	if len(rules) > 1 || len(r.GetProperties(ics.ComponentPropertyExrule)) > 0 {
		return refuse("", "has several RRULE, or EXRULE, which is not read")
	}
	s.starts = []time.Time{wall}
	if len(rules) == 1 {
		rule, err := newRule(rules[0].Value, wall, wall.Sub(day(wall)), s.zone)
		if err != nil {
			return err
		}
		s.rule, s.starts = rule, nil
	}
	for _, list := range []struct {
		property ics.ComponentProperty
		add      func(time.Time)
	}{
		{ics.ComponentPropertyRdate, func(t time.Time) { s.starts = append(s.starts, t) }},
		{ics.ComponentPropertyExdate, func(t time.Time) { s.except[t] = true }},
	} {
		n := 0
		for _, p := range r.GetProperties(list.property) {
			for value := range strings.SplitSeq(p.Value, ",") {
				if n++; n > maxDates {
					return refuse("", "has more than %d further or excepted dates", maxDates)
				}
				one := *p
				one.Value = value
				at, err := r.inZone(&one, s.zone)
				if err != nil {
					return err
				}
				list.add(at)
			}
		}
	}
	slices.SortFunc(s.starts, time.Time.Compare)
	s.starts = slices.CompactFunc(s.starts, time.Time.Equal)
	return nil
}

// inZone reads a time and puts it on the wall of the event's own zone.
func (r eventReader) inZone(p *ics.IANAProperty, zone *time.Location) (time.Time, error) {
	own, err := r.zoneOf(p)
	if err != nil {
		return time.Time{}, err
	}
	wall, isDay, err := r.wall(p.Value)
	if err != nil || isDay || own.String() == zone.String() {
		return wall, err
	}
	at, _ := readings(wall, own)
	return onWall(at, zone), nil
}

// zoneOf is the zone of a time: UTC, the one that it names, or the calendar's.
func (r eventReader) zoneOf(p *ics.IANAProperty) (*time.Location, error) {
	if strings.HasSuffix(p.Value, "Z") {
		return time.UTC, nil
	}
	names := p.ICalParameters["TZID"]
	if len(names) == 0 {
		return r.zone, nil
	}
	zone, err := Zone(strings.TrimPrefix(names[0], "/"))
	if err != nil {
		return nil, refuse("export the calendar with zones like Europe/Berlin", "its time zone %s", err)
	}
	return zone, nil
}

// wall reads DATE and DATE-TIME.
func (r eventReader) wall(text string) (wall time.Time, isDay bool, err error) {
	for _, form := range []string{"20060102", "20060102T150405", "20060102T150405Z"} {
		if wall, err = time.Parse(form, text); err == nil {
			if y := wall.Year(); y < 1970 || y > lastYear {
				return wall, false, refuse("", "the year %d is out of range; 1970 to %d expected", y, lastYear)
			}
			return wall, form == "20060102", nil
		}
	}
	return wall, false, refuse("", "%q is no day and no moment", cut(text))
}

// span5545 reads a DURATION: P1D, PT2H30M, P1W.
func span5545(text string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "+"), "P")
	days, clock, _ := strings.Cut(rest, "T")
	of := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour}
	total, n, digits := time.Duration(0), 0, false
	ok = ok && rest != "" && len(text) < 40
	for _, part := range []string{days, clock} {
		for i := range len(part) {
			switch ch := part[i]; {
			case ch >= '0' && ch <= '9' && n < 100_000_000:
				n, digits = n*10+int(ch-'0'), true
			case of[ch] > 0 && digits && time.Duration(n) <= 2*maxLength/of[ch]:
				total += time.Duration(n) * of[ch]
				n, digits = 0, false
			default:
				ok = false
			}
		}
		of = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
		ok = ok && !digits
	}
	if !ok {
		return 0, refuse("", "%q is no duration; one like PT2H or P1D expected", cut(text))
	}
	return total, nil
}
