package calendar

import "time"

// A wall time is what a clock on the wall shows: a date and a time of day without an offset. It is
// kept as a time.Time in UTC, so that steps of a day are always 24 hours.

// readings are the moments that a wall time may stand for in a zone.
//
// Most times there is one, and both results are it. On the day on which clocks go back, an hour
// comes twice: first is the earlier one. On the day on which they go forward, an hour is missing:
// first is the moment at which the clocks jump over it, last is what RFC 5545 (3.3.5) says, the time
// by the offset from before, so as much after the jump as the wall time is into the missing hour.
func readings(wall time.Time, zone *time.Location) (first, last time.Time) {
	byOffsetOf := func(at time.Time) time.Time {
		_, offset := at.In(zone).Zone()
		return wall.Add(-time.Duration(offset) * time.Second).In(zone)
	}
	before, after := byOffsetOf(wall.Add(-24*time.Hour)), byOffsetOf(wall.Add(24*time.Hour))
	fits := func(t time.Time) bool { return onWall(t, zone).Equal(wall) }
	switch {
	case before.Equal(after):
		return before, before
	case fits(before) && fits(after):
		if after.Before(before) {
			before, after = after, before
		}
		return before, after
	case fits(before):
		return before, before
	case fits(after):
		return after, after
	}
	jump, _ := before.ZoneBounds() // before is past the jump by now
	if jump.IsZero() || jump.After(before) {
		return before, before
	}
	return jump, before
}

// onWall is what a clock on the wall of a zone shows at a moment.
func onWall(at time.Time, zone *time.Location) time.Time {
	local := at.In(zone)
	return time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
}

// day is the beginning of a wall time's day.
func day(wall time.Time) time.Time {
	return time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, time.UTC)
}
