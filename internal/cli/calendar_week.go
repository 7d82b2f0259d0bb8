package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/waybill-dev/waybill/internal/calendar"
)

// slot is what one character of the week stands for.
const slot = 30 * time.Minute

// weekOf is the calendar of one or more subjects, from Monday to Sunday.
type weekOf struct {
	Subjects  []string           `json:"subjects"`
	Timezone  string             `json:"timezone"`
	Stretches []calendar.Stretch `json:"stretches"`
}

var slotMarks = map[calendar.State]struct {
	mark  string
	style lipgloss.Style
}{
	calendar.IsOpen:   {"█", good},
	calendar.IsClosed: {"·", faint},
	calendar.IsFrozen: {"x", bad},
}

// week draws the week that the moment is in, once for all subjects that have the same.
func (q *asking) week(ctx context.Context) error {
	set, subjects, now, err := q.load(ctx)
	if err != nil {
		return err
	}
	var found []weekOf
	for _, x := range subjects {
		zone := set.ZoneOf(x)
		local := now.In(zone)
		monday := time.Date(local.Year(), local.Month(), local.Day()-(int(local.Weekday())+6)%7, 0, 0, 0, 0, zone)
		w := weekOf{[]string{x.String()}, zone.String(), set.Stretches(x, monday, monday.AddDate(0, 0, 7))}
		for i := range w.Stretches {
			w.Stretches[i].Start, w.Stretches[i].End = w.Stretches[i].Start.In(zone), w.Stretches[i].End.In(zone)
		}
		same := slices.IndexFunc(found, func(other weekOf) bool {
			return other.Timezone == w.Timezone && slices.EqualFunc(other.Stretches, w.Stretches, func(a, b calendar.Stretch) bool {
				return a.State == b.State && a.Start.Equal(b.Start) && a.End.Equal(b.End)
			})
		})
		if same >= 0 {
			found[same].Subjects = append(found[same].Subjects, x.String())
			continue
		}
		found = append(found, w)
	}
	return q.app.print(found, func(w io.Writer) {
		if set.Empty() {
			fmt.Fprint(w, noCalendar)
			return
		}
		for i, f := range found {
			if i > 0 {
				fmt.Fprintln(w)
			}
			f.draw(w, now)
		}
		fmt.Fprintf(w, "\n%s open  %s closed  %s frozen  ▸ today; a mark is half an hour\n", slotMarks[calendar.IsOpen].style.Render("█"),
			slotMarks[calendar.IsClosed].style.Render("·"), slotMarks[calendar.IsFrozen].style.Render("x"))
	})
}

func (f weekOf) draw(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "%s (%s)\n", heading.Render(strings.Join(f.Subjects, ", ")), f.Timezone)
	if len(f.Stretches) == 0 {
		return
	}
	zone := f.Stretches[0].Start.Location()
	monday := f.Stretches[0].Start
	fmt.Fprint(w, strings.Repeat(" ", 13))
	for hour := 0; hour < 24; hour += 3 {
		fmt.Fprintf(w, "%02d:00 ", hour)
	}
	fmt.Fprintln(w)
	for d := range 7 {
		begin := time.Date(monday.Year(), monday.Month(), monday.Day()+d, 0, 0, 0, 0, zone)
		end := time.Date(monday.Year(), monday.Month(), monday.Day()+d+1, 0, 0, 0, 0, zone)
		today := "  "
		if !now.Before(begin) && now.Before(end) {
			today = "▸ "
		}
		fmt.Fprintf(w, "%s%s ", today, begin.Format("Mon 02 Jan"))
		for at := begin; at.Before(end); at = at.Add(slot) {
			m := slotMarks[f.at(at, at.Add(slot))]
			fmt.Fprint(w, m.style.Render(m.mark))
		}
		if length := end.Sub(begin); length != 24*time.Hour {
			fmt.Fprintf(w, "  %s: the clocks change", calendar.Spoken(length))
		}
		fmt.Fprintln(w)
	}
}

// at is the state of a slot: open where all of it is, frozen where a part of it is.
func (f weekOf) at(from, to time.Time) calendar.State {
	state := calendar.IsOpen
	for _, s := range f.Stretches {
		if !s.Start.Before(to) || !s.End.After(from) {
			continue
		}
		switch {
		case s.State == calendar.IsFrozen:
			return s.State
		case s.State == calendar.IsClosed:
			state = s.State
		}
	}
	return state
}
