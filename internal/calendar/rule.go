package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// rule is a recurrence rule over wall times. Days are its finest step; the times of day are given.
//
// The library that goes through a rule cannot be stopped between two occurrences, and panics on some
// numbers. So what makes it run long or panic is refused here first: steps finer than a day, large
// intervals, and weekdays counted beyond what a month or a year has.
type rule struct {
	options  rrule.ROption // without Dtstart
	starting time.Time     // first occurrence or later; zero: ever since
	anchored bool          // occurrences are counted from starting
	never    bool          // there is no such day
}

// errRule is why a rule is refused, with a way out where there is an obvious one.
type errRule struct{ message, hint string }

func (e *errRule) Error() string { return e.message }

func refuse(hint, format string, args ...any) error {
	return &errRule{fmt.Sprintf(format, args...), hint}
}

// newRule reads a rule. starting may be zero. clock is the time of day where the rule has none. zone is
// for UNTIL.
func newRule(text string, starting time.Time, clock time.Duration, zone *time.Location) (*rule, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "RRULE:")
	if err := words(text); err != nil {
		return nil, err
	}
	o, err := rrule.StrToROptionInLocation(text, zone)
	if err != nil {
		return nil, refuse("for example FREQ=WEEKLY;BYDAY=TU,TH", "%q is no recurrence rule: %s", cut(text), cut(err.Error()))
	}
	if err := bounded(o); err != nil {
		return nil, err
	}
	r := &rule{options: *o, starting: starting, anchored: o.Interval > 1 || o.Count > 0}
	if starting.IsZero() && r.anchored {
		return nil, refuse("add starting: with a date", "counts with INTERVAL or COUNT, and has no first day to count from")
	}
	if err := r.days(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		times  *[]int
		filler time.Duration
	}{{&r.options.Byhour, clock / time.Hour}, {&r.options.Byminute, clock % time.Hour / time.Minute}, {&r.options.Bysecond, clock % time.Minute / time.Second}} {
		slices.Sort(*part.times)
		if *part.times = slices.Compact(*part.times); len(*part.times) == 0 {
			*part.times = []int{int(part.filler)}
		}
	}
	if n := len(r.options.Byhour) * len(r.options.Byminute); n > maxTimes {
		return nil, refuse("", "occurs %d times on one day; at most %d are possible", n, maxTimes)
	}
	if !o.Until.IsZero() {
		r.options.Until = onWall(o.Until, zone)
		if untilDay(text) { // a day is the last one, as everywhere in an estate
			r.options.Until = day(r.options.Until).Add(24*time.Hour - time.Second)
		}
	}
	return r, r.probe()
}

// words checks what the library would read without a word: repeated parts, and such that make no sense here.
func words(text string) error {
	if len(text) > maxRule {
		return refuse("", "has %d characters; at most %d are read", len(text), maxRule)
	}
	if strings.ContainsAny(text, "\r\n") {
		return refuse("", "has several lines; one rule expected")
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ";") {
		key, _, _ := strings.Cut(part, "=")
		switch {
		case seen[key]:
			return refuse("", "has %s twice", cut(key))
		case key == "DTSTART":
			return refuse("give the first day in starting, and the time of day in from", "has DTSTART")
		case key == "BYSECOND" || key == "BYEASTER":
			return refuse("", "has %s, which is not read here", key)
		}
		seen[key] = true
	}
	return nil
}

func untilDay(text string) bool {
	for part := range strings.SplitSeq(text, ";") {
		if value, ok := strings.CutPrefix(part, "UNTIL="); ok {
			return len(value) == len(rrule.DateFormat)
		}
	}
	return false
}

// bounded refuses what the library would run long for, or panic on.
func bounded(o *rrule.ROption) error {
	if o.Freq > rrule.DAILY {
		return refuse("use FREQ=DAILY with BYHOUR", "FREQ=%s is too often; DAILY, WEEKLY, MONTHLY or YEARLY expected", o.Freq)
	}
	if o.Interval < 0 || o.Interval > maxInterval {
		return refuse("", "INTERVAL=%d is out of range; 1 to %d expected", o.Interval, maxInterval)
	}
	if o.Count < 0 || o.Count > maxCount {
		return refuse("", "COUNT=%d is out of range; 1 to %d expected", o.Count, maxCount)
	}
	if y := o.Until.Year(); !o.Until.IsZero() && (y < firstYear || y > lastYear) {
		return refuse("", "UNTIL is in the year %d; %d to %d expected", y, firstYear, lastYear)
	}
	for _, w := range o.Byweekday {
		most := 0
		switch {
		case o.Freq == rrule.MONTHLY, o.Freq == rrule.YEARLY && len(o.Bymonth) > 0:
			most = 5
		case o.Freq == rrule.YEARLY && len(o.Byweekno) == 0:
			most = 53
		}
		if n := w.N(); n > most || n < -most {
			return refuse("", "BYDAY=%s: there is no such day in a rule like this", w)
		}
	}
	if len(o.Byweekno) > 0 && o.Freq != rrule.YEARLY {
		return refuse("", "BYWEEKNO needs FREQ=YEARLY")
	}
	if len(o.Byyearday) > 0 && o.Freq != rrule.YEARLY {
		return refuse("", "BYYEARDAY needs FREQ=YEARLY")
	}
	if len(o.Bymonthday) > 0 && o.Freq == rrule.WEEKLY {
		return refuse("", "BYMONTHDAY makes no sense with FREQ=WEEKLY")
	}
	if slices.Contains(o.Bymonthday, 0) || slices.Contains(o.Byyearday, 0) || slices.Contains(o.Byweekno, 0) || slices.Contains(o.Bysetpos, 0) {
		return refuse("", "has a 0 where counting begins with 1")
	}
	return nil
}

// The years that dates may be in.
const (
	firstYear = 1970
	lastYear  = 2200
)

// days writes out which days a rule means that only says how often, so that it depends on its first
// day no more: "every week" is "every week on the weekday of its first day".
func (r *rule) days() error {
	o := &r.options
	if o.Freq == rrule.DAILY || len(o.Byweekday)+len(o.Bymonthday)+len(o.Byyearday)+len(o.Byweekno) > 0 {
		return nil
	}
	if r.starting.IsZero() {
		example := map[rrule.Frequency]string{rrule.WEEKLY: "BYDAY=TU,TH", rrule.MONTHLY: "BYMONTHDAY=-1", rrule.YEARLY: "BYMONTH=12;BYMONTHDAY=24"}[o.Freq]
		return refuse("for example "+example, "does not say on which day")
	}
	switch o.Freq {
	case rrule.YEARLY:
		if len(o.Bymonth) == 0 {
			o.Bymonth = []int{int(r.starting.Month())}
		}
		o.Bymonthday = []int{r.starting.Day()}
	case rrule.MONTHLY:
		o.Bymonthday = []int{r.starting.Day()}
	case rrule.WEEKLY:
		o.Byweekday = []rrule.Weekday{[]rrule.Weekday{rrule.SU, rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA}[r.starting.Weekday()]}
	}
	return nil
}

// probe finds out whether the rule occurs at all, once: the library looks until the year 9999.
func (r *rule) probe() error {
	first := r.starting
	if first.IsZero() {
		first = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	next, err := r.from(first)
	if err == nil {
		_, occurs := next()
		r.never = !occurs
	}
	return err
}

// from goes through the occurrences from a day on.
func (r *rule) from(first time.Time) (rrule.Next, error) {
	o := r.options
	o.Dtstart = first
	made, err := rrule.NewRRule(o)
	if err != nil {
		return nil, refuse("", "is no recurrence rule: %s", cut(err.Error()))
	}
	step := made.Iterator()
	// What is known to panic is refused above. A rule that does so nevertheless has no further occurrence.
	return func() (t time.Time, ok bool) {
		defer func() {
			if recover() != nil {
				t, ok = time.Time{}, false
			}
		}()
		return step()
	}, nil
}

// between gives the wall times of the occurrences that begin from low on and before high.
func (r *rule) between(low, high time.Time) []time.Time {
	if r.never || !r.options.Until.IsZero() && r.options.Until.Before(low) {
		return nil
	}
	if low.Before(r.starting) {
		low = r.starting
	}
	if !low.Before(high) {
		return nil
	}
	next, err := r.from(r.begin(low))
	if err != nil {
		return nil // probe has made it once
	}
	var found []time.Time
	for {
		wall, ok := next()
		if !ok || !wall.Before(high) {
			return found
		}
		if !wall.Before(low) {
			found = append(found, wall)
		}
	}
}

// begin is the day to begin with so that no occurrence from low on is missed, as late as possible.
func (r *rule) begin(low time.Time) time.Time {
	if !r.anchored {
		// BYSETPOS counts within whole weeks; eight days before, the week of low is whole.
		if first := day(low).AddDate(0, 0, -8); first.After(r.starting) {
			return first
		}
		return r.starting
	}
	period := map[rrule.Frequency]int{rrule.DAILY: 1, rrule.WEEKLY: 7}[r.options.Freq] * r.options.Interval
	if period == 0 || r.options.Count > 0 {
		return r.starting
	}
	if periods := int(low.Sub(r.starting).Hours()/24)/period - 2; periods > 0 {
		return r.starting.AddDate(0, 0, periods*period)
	}
	return r.starting
}

// asProblem takes a refusal apart.
func asProblem(err error) (message, hint string) {
	var e *errRule
	if errors.As(err, &e) {
		return e.message, e.hint
	}
	return err.Error(), ""
}
