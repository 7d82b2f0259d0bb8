package calendar

import (
	"fmt"
	"strings"
	"time"
)

// source gives the occurrences of an entry: of a rule, of dates, or of one event of an iCal file.
type source struct {
	name   string         // of an iCal's event
	zone   *time.Location // whose wall the times are on
	rule   *rule          // nil: starts alone
	starts []time.Time    // further occurrences, in wall time
	except map[time.Time]bool
	length time.Duration
	byWall bool // length is what the clock on the wall shows at the end; else elapsed time
	open   bool // without an end
}

// forever is the end of what has none.
var forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// span is one occurrence, from start on and before end.
type span struct {
	start, end time.Time
	entry      *entry
	name       string
}

// spans appends the occurrences that touch the time from low on and before high.
func (s *source) spans(e *entry, low, high time.Time, to []span) []span {
	const margin = 26 * time.Hour // a wall's clock differs from UTC by up to 14 hours, before and after a change
	wallLow, wallHigh := onWall(low, s.zone).Add(-margin), onWall(high, s.zone).Add(margin)
	add := func(wall time.Time) {
		if s.except[wall] {
			return
		}
		if x, ok := s.span(e, wall); ok && x.start.Before(high) && x.end.After(low) {
			to = append(to, x)
		}
	}
	if s.rule != nil {
		for _, wall := range s.rule.between(wallLow.Add(-s.length), wallHigh) {
			add(wall)
		}
	}
	for _, wall := range s.starts {
		add(wall)
	}
	return to
}

// span is the occurrence that begins at a wall time. Where a change of the clocks leaves two readings
// of a beginning or an end, a window is the shorter, a freeze the longer: in doubt, nothing runs. A
// window that lies wholly in the missing hour is not there on that day.
func (s *source) span(e *entry, wall time.Time) (span, bool) {
	x := span{entry: e, name: s.name}
	first, last := readings(wall, s.zone)
	x.start = last
	if e.kind == Freeze {
		x.start = first
	}
	switch {
	case s.open:
		x.end = forever
	case !s.byWall:
		x.end = x.start.Add(s.length)
	default:
		first, last = readings(wall.Add(s.length), s.zone)
		x.end = first
		if e.kind == Freeze {
			x.end = last
		}
	}
	return x, x.start.Before(x.end)
}

// ruled compiles an entry with a rule.
func (c *compiler) ruled(at string, e *entry) {
	s := &source{zone: e.zone}
	starting, ok := c.startingDay(at, e)
	from, fromOK := c.clock(at+".from", e.From)
	to, toOK := c.clock(at+".to", e.To)
	if !ok || !fromOK || !toOK {
		return
	}
	clock := time.Duration(0)
	if from != nil {
		clock = *from
	}
	switch {
	case from != nil && hasClock(e.Rule):
		c.problem(at+".from", "is given beside BYHOUR or BYMINUTE in the rule; one of the two expected", "")
		return
	case e.To != "" && e.Duration != 0:
		c.problem(at+".duration", "is given beside to; one of the two expected", "")
		return
	case e.To != "" && from == nil:
		c.problem(at+".to", "is given without from", "with BYHOUR in the rule, give duration")
		return
	case e.To != "":
		s.byWall, s.length = true, *to-*from
		if s.length <= 0 {
			s.length += 24 * time.Hour
		}
	case e.Duration != 0:
		s.length = e.Duration
	case from == nil && !hasClock(e.Rule):
		s.byWall, s.length = true, 24*time.Hour // whole days
	default:
		c.problem(at, "has no end; to or duration expected", "")
		return
	}
	if s.length > maxLength || s.length < time.Minute {
		c.problem(at+".duration", fmt.Sprintf("%s is out of range; 1m to %s expected", s.length, Spoken(maxLength)), "")
		return
	}
	r, err := newRule(e.Rule, starting, clock, e.zone)
	if err != nil {
		message, hint := asProblem(err)
		c.problem(at+".rrule", message, hint)
		return
	}
	c.countNever(at+".rrule", r)
	s.rule = r
	e.sources = append(e.sources, s)
}

// hasClock says whether a rule says the time of day itself.
func hasClock(rule string) bool {
	return strings.Contains(rule, "BYHOUR") || strings.Contains(rule, "BYMINUTE")
}

// countNever bounds the rules that never occur, each of which takes a tenth of a second to find out.
func (c *compiler) countNever(field string, r *rule) {
	if r.never {
		if c.never++; c.never == maxNever+1 {
			c.problem(field, fmt.Sprintf("is one of more than %d rules that never occur", maxNever), "")
		}
	}
}

func (c *compiler) startingDay(at string, e *entry) (time.Time, bool) {
	if e.Starting == "" {
		return time.Time{}, true
	}
	first, isDay, err := moment(e.Starting)
	if err != nil || !isDay {
		c.problem(at+".starting", fmt.Sprintf("%q is no date; one like 2026-01-31 expected", cut(e.Starting)), "")
		return first, false
	}
	return first, true
}

// clock reads a time of day; nil for none.
func (c *compiler) clock(field, text string) (*time.Duration, bool) {
	if text == "" {
		return nil, true
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		hint := ""
		if _, _, err := moment(text); err == nil {
			hint = "with a rule, from and to are times of day; the first day is starting, the last one UNTIL in the rule"
		}
		c.problem(field, fmt.Sprintf("%q is no time of day; one like 22:30 expected", cut(text)), hint)
		return nil, false
	}
	d := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	return &d, true
}

// dated compiles an entry that occurs once.
func (c *compiler) dated(at string, e *entry) {
	s := &source{zone: e.zone, byWall: true}
	if e.Starting != "" {
		c.problem(at+".starting", "is for rules alone; from expected", "")
		return
	}
	if e.From == "" {
		c.problem(at+".from", "is missing; the first day or moment expected", "")
		return
	}
	from, _, err := moment(e.From)
	if err != nil {
		hint := ""
		if _, err := time.Parse("15:04", e.From); err == nil {
			hint = "a time of day needs a rule beside it: rrule: FREQ=DAILY"
		}
		c.problem(at+".from", err.Error(), hint)
		return
	}
	s.starts = []time.Time{from}
	switch {
	case e.To != "" && e.Duration != 0:
		c.problem(at+".duration", "is given beside to; one of the two expected", "")
		return
	case e.Duration != 0:
		s.byWall, s.length = false, e.Duration
	case e.To == "":
		s.open = true
	default:
		to, isDay, err := moment(e.To)
		if err != nil {
			c.problem(at+".to", err.Error(), "")
			return
		}
		if isDay { // the last one
			to = to.AddDate(0, 0, 1)
		}
		if !from.Before(to) {
			c.problem(at+".to", "is not after from", "")
			return
		}
		s.length = to.Sub(from)
	}
	e.sources = append(e.sources, s)
}

// moment reads a day, or a moment of a day, as wall time.
func moment(text string) (wall time.Time, isDay bool, err error) {
	if wall, err = time.Parse("2006-01-02", text); err == nil {
		isDay = true
	} else {
		for _, form := range []string{"2006-01-02T15:04", "2006-01-02 15:04"} {
			if wall, err = time.Parse(form, text); err == nil {
				break
			}
		}
	}
	if err != nil {
		return wall, false, fmt.Errorf("%q is no day and no moment; one like 2026-12-24 or 2026-12-24T18:00 expected", cut(text))
	}
	if y := wall.Year(); y < firstYear || y > lastYear {
		return wall, isDay, fmt.Errorf("the year %d is out of range; %d to %d expected", y, firstYear, lastYear)
	}
	return wall, isDay, nil
}
