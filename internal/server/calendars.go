package server

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// calendarsEvery is how often somebody looks whether the estate's calendars were changed: a promotion that waits
// for the end of a freeze must hear that it was lifted.
const calendarsEvery = 30 * time.Second

// watchCalendars tells the gates, by happened, when calendars were changed, until ctx is done.
func (s *server) watchCalendars(ctx context.Context, happened func(ctx context.Context, topics ...string)) error {
	tick := time.NewTicker(calendarsEvery)
	defer tick.Stop()
	var watch calendarWatch
	for {
		// What keeps the estate from being read is said by whoever needs it; it is looked at again.
		if changed, err := watch.look(ctx, s.config.Estate); err == nil && changed {
			happened(ctx, promotion.CalendarTopic)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// calendarWatch remembers the calendars as they were last seen.
type calendarWatch struct{ last *estate.Estate }

// look says whether the calendars are others than at the last look, iCal files included.
func (w *calendarWatch) look(ctx context.Context, dir string) (changed bool, err error) {
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return false, err
	}
	changed = w.last != nil && !reflect.DeepEqual(w.last.Calendars, declared.Calendars)
	w.last = declared
	return changed, nil
}

// calendarsOpen says whether the estate's calendars ever open, and whether what they say is for somebody.
func (s *server) calendarsOpen(ctx context.Context) (string, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return "", err
	}
	set, err := declared.Calendar()
	if err != nil {
		return "", err
	}
	if set.Empty() {
		return "none: promotions may run at any time", nil
	}
	if found := set.Lint(time.Now(), declared.Subjects()); len(found) > 0 {
		about := found[0].Subject
		if about == "" {
			about = found[0].Calendar + ", " + found[0].Entry
		}
		return "", fmt.Errorf("%d things to look at, first %s: %s", len(found), about, found[0].Message)
	}
	return fmt.Sprintf("%d, with nothing to mend", len(declared.Calendars)), nil
}
