package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

// estateWith is a first estate, with one file more.
func estateWith(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	files := estate.Skeleton("acme")
	files[name] = content
	for file, text := range files {
		path := filepath.Join(dir, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

const nights = `kind: Calendar
name: warehouse
timezone: Europe/Berlin
windows:
  - name: weeknights
    rrule: FREQ=WEEKLY;BYDAY=TU,TH
    from: "22:00"
    to: "02:00"
    applies_to: {environments: [production]}
freezes:
  - name: dispatch
    rrule: FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR
    from: "15:00"
    duration: 4h
    process: end-of-day dispatch
    reason: the lorries leave at seven
`

// The verbs need the folder alone.
func TestCalendar(t *testing.T) {
	dir := estateWith(t, "calendar.yaml", nights)
	on := func(at string, args ...string) (string, string, int) {
		return said(t, append([]string{"calendar"}, append(args, "--estate", dir, "--at", at, "--data", t.TempDir())...)...)
	}
	out, errs, code := on("2026-11-25T01:40+01:00", "next", "--env", "production", "--for", "30m")
	require.Equal(t, exitDone, code, errs)
	require.Equal(t, `✗ production/acme: closed, window "weeknights" ends in 20 min, at Wed 2026-11-25 02:00 CET; 30 min are needed
  next: Thu 2026-11-26 22:00 CET, window "weeknights", for 4 h
`, out)
	out, _, _ = on("2026-11-24T22:00+01:00", "next", "--env", "production", "-o", "json")
	var answers []struct {
		Tenant string
		Open   bool
		Until  string
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answers))
	require.Len(t, answers, 1)
	require.True(t, answers[0].Open)
	require.Equal(t, "2026-11-25T02:00:00+01:00", answers[0].Until)

	out, _, _ = on("2026-11-24T10:00+01:00", "show", "--days", "1")
	require.Equal(t, `BEGINS                    ENDS                      KIND    NAME        CALENDAR   CONCERNS    WHY
Tue 2026-11-24 15:00 CET  Tue 2026-11-24 19:00 CET  freeze  dispatch    warehouse  everything  end-of-day dispatch; the lorries leave at seven
Tue 2026-11-24 22:00 CET  Wed 2026-11-25 02:00 CET  window  weeknights  warehouse  production  `+"\n", out)
	// The week in which clocks go forward: Sunday has 46 half hours.
	out, _, _ = on("2027-03-24T10:00+01:00", "show", "--week", "--env", "production")
	require.Contains(t, out, "▸ Wed 24 Mar ████··························xxxxxxxx··········\n")
	require.Contains(t, out, "  Sun 28 Mar ··············································  23 h: the clocks change\n")

	out, _, code = on("2026-11-24T10:00+01:00", "check")
	require.Equal(t, exitDone, code, out)
	for _, mistake := range [][]string{{"next", "--env", "prodction"}, {"next", "--tenant", "west"}, {"show", "--days", "401"}, {"next", "--for", "-1m"}} {
		_, errs, code = on("2026-11-24T10:00+01:00", mistake...)
		require.Equal(t, exitUsage, code, "%v: %s", mistake, errs)
	}
	_, errs, code = on("tomorrow", "next")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "like 2026-12-24T18:00+01:00")

	closed := estateWith(t, "calendar.yaml", nights+"  - name: stop\n    from: 2026-11-01\n    reason: nothing moves until the incident is understood\n")
	out, _, code = said(t, "calendar", "check", "--estate", closed, "--at", "2026-11-24T10:00+01:00")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "! production/acme: never opens")
	_, errs, code = said(t, "calendar", "check", "--estate", estateWith(t, "calendar.yaml", "kind: Calendar\nname: x\ntimezone: Berlin\n"))
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "calendar.yaml:3:11: timezone:")
	out, _, _ = said(t, "calendar", "next", "--estate", estateWith(t, "notes.txt", ""))
	require.Contains(t, out, "The estate has no calendar")
	_, errs, code = said(t, "calendar", "next", "--data", t.TempDir())
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--estate FOLDER")
}
