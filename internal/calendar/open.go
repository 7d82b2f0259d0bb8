package calendar

import (
	"slices"
	"time"
)

// Answer is whether a calendar is open, and what follows.
type Answer struct {
	Open      bool      `json:"open"`
	Until     time.Time `json:"until,omitzero"`     // open: when it closes; zero where nothing closes it within Horizon
	Why       string    `json:"why"`                // one sentence for people
	Next      time.Time `json:"next,omitzero"`      // not open: when it next is, long enough; zero where that is not within Horizon
	NextUntil time.Time `json:"nextUntil,omitzero"` // when it then closes
	NextWhy   string    `json:"nextWhy,omitempty"`  // one sentence for people
}

// Facts are what a policy may ask of a calendar.
type Facts struct {
	Open   bool      `cel:"open" json:"open"`
	Until  time.Time `cel:"until" json:"until"`   // zero: nothing closes it, or it is not open
	Next   time.Time `cel:"next" json:"next"`     // zero: it is open, or there is no opportunity within Horizon
	Reason string    `cel:"reason" json:"reason"` // one sentence for people
}

// Facts are the answer as a policy sees it.
func (a Answer) Facts() Facts {
	f := Facts{Open: a.Open, Until: a.Until, Next: a.Next, Reason: a.Why}
	if !a.Open && a.NextWhy != "" {
		f.Reason += "; " + a.NextWhy
	}
	return f
}

// looks are how far ahead an answer is looked for. Most are near, and a short look is quick.
var looks = []time.Duration{10 * 24 * time.Hour, 70 * 24 * time.Hour, Horizon}

// Open says whether the subject's calendar is open at a moment for as long as need: inside one of its
// windows and in no freeze, until need has passed. A subject that no window concerns is only bound by
// freezes.
func (s *Set) Open(x Subject, at time.Time, need time.Duration) Answer {
	mine := s.concerning(x)
	var a Answer
	for i, ahead := range looks {
		var sure bool
		if a, sure = mine.look(x, at, max(need, 0), at.Add(ahead), i == len(looks)-1); sure {
			break
		}
	}
	return a
}

// concerned is the part of a Set that concerns one subject.
type concerned struct {
	windows, freezes []*entry
}

func (s *Set) concerning(x Subject) concerned {
	var c concerned
	for _, e := range s.entries {
		switch {
		case !e.Scope.Concerns(x):
		case e.kind == Freeze:
			c.freezes = append(c.freezes, e)
		default:
			c.windows = append(c.windows, e)
		}
	}
	return c
}

// timeline is what there is between two moments.
type timeline struct {
	windows, freezes []span // as declared, by start
	free             []span // in a window, in no freeze; without gaps or overlaps between them
}

func (c concerned) timeline(low, high time.Time) timeline {
	var t timeline
	t.windows, t.freezes = all(c.windows, low, high), all(c.freezes, low, high)
	open := merge(t.windows)
	if len(c.windows) == 0 {
		open = []span{{start: low, end: high}}
	}
	t.free = without(open, merge(t.freezes))
	for i := range t.free {
		if t.free[i].end.After(high) {
			t.free[i].end = high
		}
	}
	return t
}

// all gives the occurrences of entries that touch the time between two moments, by start.
func all(entries []*entry, low, high time.Time) []span {
	var found []span
	for _, e := range entries {
		for _, s := range e.sources {
			found = s.spans(e, low, high, found)
		}
	}
	slices.SortStableFunc(found, func(a, b span) int { return a.start.Compare(b.start) })
	return found
}

// merge joins spans, sorted by start, that touch or overlap.
func merge(spans []span) []span {
	var joined []span
	for _, x := range spans {
		if n := len(joined); n > 0 && !joined[n-1].end.Before(x.start) {
			if joined[n-1].end.Before(x.end) {
				joined[n-1].end = x.end
			}
			continue
		}
		joined = append(joined, span{start: x.start, end: x.end})
	}
	return joined
}

// without takes what is closed out of what is open; both are sorted and without overlaps.
func without(open, closed []span) []span {
	var left []span
	next := 0
	for _, x := range open {
		for next < len(closed) && !closed[next].end.After(x.start) {
			next++
		}
		start := x.start
		for i := next; i < len(closed) && closed[i].start.Before(x.end); i++ {
			if start.Before(closed[i].start) {
				left = append(left, span{start: start, end: closed[i].start})
			}
			start = closed[i].end
		}
		if start.Before(x.end) {
			left = append(left, span{start: start, end: x.end})
		}
	}
	return left
}

// look answers with what is known until high. It is sure when more would not change the answer; the
// last look always is.
func (c concerned) look(x Subject, at time.Time, need time.Duration, high time.Time, last bool) (Answer, bool) {
	t := c.timeline(at, high)
	v := voice{t, c, x, at, need}
	ends := func(free span) time.Time { // zero: not within what is known
		if free.end.Before(high) {
			return free.end
		}
		return time.Time{}
	}
	tooShort := 0
	for _, free := range t.free {
		start := free.start
		if start.Before(at) {
			start = at
		}
		known := free.end.Before(high)
		fits := free.end.Sub(start) >= need
		if !known && !last {
			return Answer{}, false // it may go on
		}
		switch now := !free.start.After(at); {
		case fits && now:
			return Answer{Open: true, Until: ends(free), Why: v.open(ends(free))}, true
		case fits:
			return Answer{Why: v.closed(), Next: start, NextUntil: ends(free), NextWhy: v.next(start, ends(free), tooShort)}, true
		case now:
		default:
			tooShort++
		}
	}
	return Answer{Why: v.closed(), NextWhy: v.never(tooShort)}, last
}
