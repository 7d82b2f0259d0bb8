package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A calendar that is added, an iCal file that is changed, a freeze that is lifted; and an estate that is
// broken in between.
func TestCalendarsChanged(t *testing.T) {
	dir := declared(t)
	var watch calendarWatch
	look := func() bool {
		changed, err := watch.look(t.Context(), dir)
		require.NoError(t, err)
		return changed
	}
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	const event = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Count\r\nDTSTART:20270111T090000\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	const calendar = "kind: Calendar\nname: x\ntimezone: UTC\nfreezes:\n  - {name: holidays, ical: holidays.ics, reason: x}\n"
	require.False(t, look(), "the first look")
	require.False(t, look())
	write("holidays.ics", event)
	write("calendar.yaml", calendar+"  - {name: stop, from: 2026-01-01, reason: x}\n")
	require.True(t, look())
	require.False(t, look())
	write("holidays.ics", event+"\r\n")
	require.True(t, look())
	write("calendar.yaml", "kind: Calender\n")
	_, err := watch.look(t.Context(), dir)
	require.Error(t, err)
	write("calendar.yaml", calendar)
	require.True(t, look(), "the freeze is lifted")
	require.False(t, look())
}

func TestCalendarsOpen(t *testing.T) {
	dir := declared(t)
	s := &server{config: Config{Estate: dir}}
	said, err := s.calendarsOpen(t.Context())
	require.NoError(t, err)
	require.Equal(t, "none: promotions may run at any time", said)
	for content, want := range map[string]string{
		"kind: Calendar\nname: x\ntimezone: UTC\nwindows:\n  - {name: night, rrule: FREQ=DAILY, from: \"22:00\", to: \"02:00\"}\n":                   "",
		"kind: Calendar\nname: x\ntimezone: UTC\nwindows:\n  - {name: past, from: 2025-01-01, to: 2025-01-02, applies_to: {environments: [test]}}\n": "2 things to look at, first x, window past: lies in the past; nothing comes within the next 400 d",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "calendar.yaml"), []byte(content), 0o644))
		said, err := s.calendarsOpen(t.Context())
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, "1, with nothing to mend", said)
			continue
		}
		require.EqualError(t, err, want)
	}
}
