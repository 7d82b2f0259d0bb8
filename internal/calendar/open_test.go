package calendar

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var berlin = func() *time.Location {
	zone, err := Zone("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

// at reads a moment of Berlin, "2026-11-24 22:00", or one with its offset.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	if m, err := time.Parse(time.RFC3339, text); err == nil {
		return m
	}
	m, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
	require.NoError(t, err)
	return m
}

// compiled makes one calendar of Berlin.
func compiled(t testing.TB, windows, freezes []Entry) *Set {
	t.Helper()
	s, err := Compile(Spec{Name: "warehouse", Timezone: "Europe/Berlin", Windows: windows, Freezes: freezes})
	require.NoError(t, err)
	return s
}

var acme = Subject{Environment: "production", Tenant: "acme", Ring: "early", Labels: map[string]string{"country": "de"}}

// occurrences are what happens between two moments, as "start–end".
func occurrences(t testing.TB, s *Set, from, to string) []string {
	t.Helper()
	agenda, err := s.Agenda(at(t, from), at(t, to), nil)
	require.NoError(t, err)
	var found []string
	for _, o := range agenda {
		const form = "2006-01-02 15:04 MST"
		found = append(found, o.Start.Format(form)+" – "+o.End.Format(form))
	}
	return found
}

// The days on which clocks change, in Berlin 2027: forward on March 28 (02:00 → 03:00), back on
// October 31 (03:00 → 02:00).
func TestClocksChange(t *testing.T) {
	for _, c := range []struct {
		name            string
		entry           Entry
		day             string
		window, freeze  string
		windowN, freezN time.Duration
	}{
		{name: "over the missing hour, by the wall", entry: Entry{From: "01:30", To: "03:30"}, day: "2027-03-28",
			window: "2027-03-28 01:30 CET – 2027-03-28 03:30 CEST", windowN: time.Hour},
		{name: "over the missing hour, by elapsed time", entry: Entry{From: "01:30", Duration: 2 * time.Hour}, day: "2027-03-28",
			window: "2027-03-28 01:30 CET – 2027-03-28 04:30 CEST", windowN: 2 * time.Hour},
		{name: "begins in the missing hour", entry: Entry{From: "02:30", To: "04:00"}, day: "2027-03-28",
			window: "2027-03-28 03:30 CEST – 2027-03-28 04:00 CEST", windowN: 30 * time.Minute,
			freeze: "2027-03-28 03:00 CEST – 2027-03-28 04:00 CEST", freezN: time.Hour},
		{name: "ends in the missing hour", entry: Entry{From: "01:30", To: "02:30"}, day: "2027-03-28",
			window: "2027-03-28 01:30 CET – 2027-03-28 03:00 CEST", windowN: 30 * time.Minute,
			freeze: "2027-03-28 01:30 CET – 2027-03-28 03:30 CEST", freezN: time.Hour},
		{name: "lies in the missing hour", entry: Entry{From: "02:10", To: "02:50"}, day: "2027-03-28",
			window: "", freeze: "2027-03-28 03:00 CEST – 2027-03-28 03:50 CEST", freezN: 50 * time.Minute},
		{name: "over the hour that comes twice, by the wall", entry: Entry{From: "01:30", To: "03:30"}, day: "2027-10-31",
			window: "2027-10-31 01:30 CEST – 2027-10-31 03:30 CET", windowN: 3 * time.Hour},
		{name: "over the hour that comes twice, by elapsed time", entry: Entry{From: "01:30", Duration: 2 * time.Hour}, day: "2027-10-31",
			window: "2027-10-31 01:30 CEST – 2027-10-31 02:30 CET", windowN: 2 * time.Hour},
		{name: "begins in the hour that comes twice", entry: Entry{From: "02:30", To: "04:00"}, day: "2027-10-31",
			window: "2027-10-31 02:30 CET – 2027-10-31 04:00 CET", windowN: 90 * time.Minute,
			freeze: "2027-10-31 02:30 CEST – 2027-10-31 04:00 CET", freezN: 150 * time.Minute},
		{name: "ends in the hour that comes twice", entry: Entry{From: "01:30", To: "02:30"}, day: "2027-10-31",
			window: "2027-10-31 01:30 CEST – 2027-10-31 02:30 CEST", windowN: time.Hour,
			freeze: "2027-10-31 01:30 CEST – 2027-10-31 02:30 CET", freezN: 2 * time.Hour},
		{name: "whole days", entry: Entry{}, day: "2027-10-31",
			window: "2027-10-31 00:00 CEST – 2027-11-01 00:00 CET", windowN: 25 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			entry := c.entry
			entry.Name, entry.Rule = "x", "FREQ=DAILY"
			if c.freeze == "" && c.window != "" {
				c.freeze, c.freezN = c.window, c.windowN
			}
			for _, want := range []struct {
				windows, freezes []Entry
				text             string
				length           time.Duration
			}{{[]Entry{entry}, nil, c.window, c.windowN}, {nil, []Entry{entry}, c.freeze, c.freezN}} {
				s := compiled(t, want.windows, want.freezes)
				var found []string
				for _, o := range occurrences(t, s, c.day+" 00:00", c.day+" 23:59") {
					if o[:len(c.day)] == c.day {
						found = append(found, o)
					}
				}
				if want.text == "" {
					require.Empty(t, found)
					continue
				}
				require.Equal(t, []string{want.text}, found)
				agenda, err := s.Agenda(at(t, c.day+" 00:00"), at(t, c.day+" 23:59"), nil)
				require.NoError(t, err)
				require.Equal(t, want.length, agenda[0].End.Sub(agenda[0].Start))
			}
		})
	}
}

// A predicted hour and a half fits a window of two hours on any night but the one that lacks an hour.
func TestPredictedDurationOnTheShortNight(t *testing.T) {
	s := compiled(t, []Entry{{Name: "night", Rule: "FREQ=DAILY", From: "01:30", To: "03:30"}}, nil)
	require.True(t, s.Open(acme, at(t, "2027-03-27 01:30"), 90*time.Minute).Open)
	a := s.Open(acme, at(t, "2027-03-28 01:30"), 90*time.Minute)
	require.False(t, a.Open)
	require.Equal(t, `window "night" ends in 1 h, at Sun 2027-03-28 03:30 CEST; 1 h 30 min are needed`, a.Why)
	require.Equal(t, at(t, "2027-03-29 01:30").UTC(), a.Next.UTC())
}

func TestLeapDay(t *testing.T) {
	for _, c := range []struct {
		entry Entry
		want  []string
	}{
		{Entry{Rule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"}, []string{"2028-02-29 00:00 CET – 2028-03-01 00:00 CET"}},
		{Entry{Rule: "FREQ=MONTHLY;BYMONTHDAY=-1", From: "20:00", To: "02:00"}, []string{
			"2028-01-31 20:00 CET – 2028-02-01 02:00 CET", "2028-02-29 20:00 CET – 2028-03-01 02:00 CET"}},
		{Entry{Rule: "FREQ=MONTHLY", Starting: "2028-01-31"}, []string{"2028-01-31 00:00 CET – 2028-02-01 00:00 CET"}},
		{Entry{From: "2028-02-28", To: "2028-02-29"}, []string{"2028-02-28 00:00 CET – 2028-03-01 00:00 CET"}},
		{Entry{Rule: "FREQ=YEARLY;BYYEARDAY=60"}, []string{"2028-02-29 00:00 CET – 2028-03-01 00:00 CET"}},
	} {
		c.entry.Name = "x"
		require.Equal(t, c.want, occurrences(t, compiled(t, []Entry{c.entry}, nil), "2028-01-02 00:00", "2028-03-15 00:00"), c.entry.Rule)
	}
}

// What a person is told, and when it opens.
func TestOpen(t *testing.T) {
	windows := []Entry{
		{Name: "weeknights", Rule: "FREQ=WEEKLY;BYDAY=TU,TH", From: "22:00", To: "02:00"},
		{Name: "lunch", Rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", From: "12:00", Duration: 30 * time.Minute},
	}
	freezes := []Entry{
		{Name: "year end", From: "2026-12-14", To: "2027-01-03", Process: "promotions", Reason: "Christmas trade."},
		{Name: "stock count", From: "2026-12-30", To: "2027-01-05T18:00", Reason: "all goods are counted"},
		{Name: "close", Rule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", From: "16:00", To: "23:00", Process: "month-end close", Reason: "the books are closed"},
	}
	s := compiled(t, windows, freezes)
	for _, c := range []struct {
		name, at            string
		need                time.Duration
		open                bool
		until               string
		why, next, nextText string
	}{
		{name: "in a window", at: "2026-11-24 22:00", need: 20 * time.Minute, open: true, until: "2026-11-25 02:00",
			why: `in window "weeknights" until Wed 2026-11-25 02:00 CET`},
		{name: "over midnight", at: "2026-11-25 01:00", need: time.Hour, open: true, until: "2026-11-25 02:00",
			why: `in window "weeknights" until Wed 2026-11-25 02:00 CET`},
		{name: "one minute too long", at: "2026-11-25 01:00", need: 61 * time.Minute,
			why:  `window "weeknights" ends in 1 h, at Wed 2026-11-25 02:00 CET; 1 h 1 min are needed`,
			next: "2026-11-26 22:00", nextText: `next: Thu 2026-11-26 22:00 CET, window "weeknights", for 4 h (2 before it are too short for 1 h 1 min)`},
		{name: "outside", at: "2026-11-23 18:00", need: 0,
			why:  `outside the windows of production/acme`,
			next: "2026-11-24 12:00", nextText: `next: Tue 2026-11-24 12:00 CET, window "lunch", for 30 min`},
		{name: "the end is no longer open", at: "2026-11-25 02:00", need: 0, why: `outside the windows of production/acme`,
			next: "2026-11-25 12:00", nextText: `next: Wed 2026-11-25 12:00 CET, window "lunch", for 30 min`},
		{name: "a freeze cuts a window", at: "2026-12-31 21:00", need: time.Hour,
			why:  `freeze "stock count" until Tue 2027-01-05 18:00 CET: all goods are counted`,
			next: "2027-01-05 22:00", nextText: `next: Tue 2027-01-05 22:00 CET, window "weeknights", for 4 h`},
		{name: "overlapping freezes", at: "2026-12-15 12:00", need: time.Minute,
			why:  `freeze "year end" (promotions) until Mon 2027-01-04 00:00 CET: Christmas trade`,
			next: "2027-01-05 22:00", nextText: `next: Tue 2027-01-05 22:00 CET, window "weeknights", for 4 h`},
		{name: "a window opens late, after a freeze", at: "2027-06-30 12:10", need: 0, open: true, until: "2027-06-30 12:30",
			why: `in window "lunch" until Wed 2027-06-30 12:30 CEST`},
		{name: "longer than any window", at: "2026-11-24 22:00", need: 5 * time.Hour,
			why:      `window "weeknights" ends in 4 h, at Wed 2026-11-25 02:00 CET; 5 h are needed`,
			nextText: `none of the next 400 days' opportunities lasts 5 h`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.Open(acme, at(t, c.at), c.need)
			require.Equal(t, c.open, a.Open)
			require.Equal(t, c.why, a.Why)
			require.Equal(t, c.nextText, a.NextWhy)
			for _, m := range []struct {
				want string
				got  time.Time
			}{{c.until, a.Until}, {c.next, a.Next}} {
				if m.want == "" {
					require.Zero(t, m.got)
				} else {
					require.True(t, at(t, m.want).Equal(m.got), "%s, got %s", m.want, m.got)
				}
			}
		})
	}
}

// The end of September 2026's last working day, a Wednesday: the freeze ends at 23:00 within the
// window, which is then shorter.
func TestFreezeOverTheBeginningOfAWindow(t *testing.T) {
	s := compiled(t,
		[]Entry{{Name: "nights", Rule: "FREQ=DAILY", From: "22:00", To: "02:00"}},
		[]Entry{{Name: "close", Rule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", From: "16:00", To: "23:00", Process: "month-end close", Reason: "the books are closed"}})
	a := s.Open(acme, at(t, "2026-09-30 22:15"), 3*time.Hour)
	require.Equal(t, `freeze "close" (month-end close) until Wed 2026-09-30 23:00 CEST: the books are closed`, a.Why)
	require.Equal(t, `next: Wed 2026-09-30 23:00 CEST, after freeze "close" (month-end close), for 3 h`, a.NextWhy)
	a = s.Open(acme, at(t, "2026-09-30 22:15"), 3*time.Hour+time.Minute)
	require.Equal(t, `next: Thu 2026-10-01 22:00 CEST, window "nights", for 4 h (one before it is too short for 3 h 1 min)`, a.NextWhy)
}

// Windows that touch are one: a promotion may run over midnight.
func TestWindowsThatTouch(t *testing.T) {
	s := compiled(t, []Entry{
		{Name: "evening", Rule: "FREQ=WEEKLY;BYDAY=SA", From: "20:00", To: "00:00"},
		{Name: "sunday", Rule: "FREQ=WEEKLY;BYDAY=SU", From: "00:00", To: "06:00"},
	}, nil)
	a := s.Open(acme, at(t, "2026-11-28 21:00"), 8*time.Hour)
	require.True(t, a.Open, a.Why)
	require.True(t, a.Until.Equal(at(t, "2026-11-29 06:00")))
}

// Without a window, freezes alone bind; a freeze without an end is a stop.
func TestNoWindow(t *testing.T) {
	s := compiled(t, nil, []Entry{{Name: "dispatch", Rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", From: "15:00", To: "19:00", Process: "end-of-day dispatch", Reason: "lorries leave"}})
	a := s.Open(acme, at(t, "2026-11-24 12:00"), time.Hour)
	require.Equal(t, `no window concerns production/acme; open until Tue 2026-11-24 15:00 CET, when freeze "dispatch" (end-of-day dispatch) begins`, a.Why)
	a = s.Open(acme, at(t, "2026-11-24 14:30"), time.Hour)
	require.Equal(t, `freeze "dispatch" (end-of-day dispatch) begins in 30 min, at Tue 2026-11-24 15:00 CET; 1 h are needed`, a.Why)
	require.True(t, a.Next.Equal(at(t, "2026-11-24 19:00")))

	stopped := compiled(t, nil, []Entry{{Name: "stop", From: "2026-11-01T08:00", Reason: "nothing moves until the incident is understood"}})
	a = stopped.Open(acme, at(t, "2026-11-24 12:00"), 0)
	require.Equal(t, `freeze "stop", until further notice: nothing moves until the incident is understood`, a.Why)
	require.Equal(t, "no opportunity within the next 400 days", a.NextWhy)
	require.Equal(t, Facts{Reason: a.Why + "; " + a.NextWhy}, a.Facts())

	free := compiled(t, nil, nil).Open(acme, at(t, "2026-11-24 12:00"), 48*time.Hour)
	require.Equal(t, Answer{Open: true, Why: "no window concerns production/acme, and no freeze is near"}, free)
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		scope Scope
		want  bool
		text  string
	}{
		{Scope{}, true, "everything"},
		{Scope{Environments: []string{"test", "production"}}, true, "test/production"},
		{Scope{Environments: []string{"test"}}, false, "test"},
		{Scope{Tenants: []string{"acme"}, Rings: []string{"late"}}, false, "tenant acme, ring late"},
		{Scope{Rings: []string{"early"}, Labels: map[string]string{"country": "de"}}, true, "ring early, country=de"},
		{Scope{Labels: map[string]string{"country": "fr"}}, false, "country=fr"},
		{Scope{Labels: map[string]string{"site": ""}}, false, "site="},
	} {
		require.Equal(t, c.want, c.scope.Concerns(acme), c.text)
		require.Equal(t, c.text, c.scope.String())
	}
}

// Two calendars in two zones: a freeze of one cuts a window of the other.
func TestTwoZones(t *testing.T) {
	s, err := Compile(
		Spec{Name: "berlin", Timezone: "Europe/Berlin", Windows: []Entry{{Name: "night", Rule: "FREQ=DAILY", From: "22:00", To: "04:00"}}},
		Spec{Name: "new-york", Timezone: "America/New_York", Freezes: []Entry{{Name: "dispatch", Rule: "FREQ=DAILY", From: "17:00", To: "19:00", Reason: "x"}}})
	require.NoError(t, err)
	a := s.Open(acme, at(t, "2026-11-24 23:00"), time.Hour)
	require.Equal(t, `freeze "dispatch" until Wed 2026-11-25 01:00 CET: x`, a.Why, "told in one zone")
	require.True(t, a.Next.Equal(at(t, "2026-11-25 01:00")))
	// Between the changes of both, the distance is five hours instead of six.
	a = s.Open(acme, at(t, "2027-03-21 22:00"), time.Hour)
	require.True(t, a.Next.Equal(at(t, "2027-03-22 00:00")), a.NextWhy)
}

// Whatever the entries, Open says the same as going through every quarter of an hour.
func TestOpenAgainstSteps(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 4))
	clock := func() string {
		return time.Date(2000, 1, 1, random.IntN(24), random.IntN(4)*15, 0, 0, time.UTC).Format("15:04")
	}
	rules := []string{"FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,WE,SA", "FREQ=MONTHLY;BYMONTHDAY=1,15,-1", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", "FREQ=DAILY;INTERVAL=3"}
	for range 60 {
		entries := func(n int) (list []Entry) {
			for i := range n {
				e := Entry{Name: string(rune('a' + i)), Rule: rules[random.IntN(len(rules))], Starting: "2027-02-01", From: clock()}
				if e.To = clock(); random.IntN(2) == 0 {
					e.To, e.Duration = "", time.Duration(1+random.IntN(90))*15*time.Minute
				}
				list = append(list, e)
			}
			return list
		}
		s := compiled(t, entries(1+random.IntN(3)), entries(random.IntN(3)))
		from := at(t, "2027-03-26 00:00").Add(time.Duration(random.IntN(96)) * 15 * time.Minute) // around the change of clocks
		to := from.Add(4 * 24 * time.Hour)
		all, err := s.Agenda(from.Add(-48*time.Hour), to, nil)
		require.NoError(t, err)
		open := func(m time.Time) bool {
			within := func(kind Kind) bool {
				return slices.ContainsFunc(all, func(o Occurrence) bool { return o.Kind == kind && !o.Start.After(m) && o.End.After(m) })
			}
			return within(Window) && !within(Freeze)
		}
		for range 20 {
			m := from.Add(time.Duration(random.IntN(90)) * 15 * time.Minute)
			need := time.Duration(random.IntN(12)) * 15 * time.Minute
			fits := func(m time.Time) bool { // open all the time
				for x := m; x.Before(m.Add(max(need, 1))); x = x.Add(15 * time.Minute) {
					if !open(x) {
						return false
					}
				}
				return true
			}
			a := s.Open(acme, m, need)
			require.Equal(t, fits(m), a.Open, "%s for %s: %s", m, need, a.Why)
			if a.Open || a.Next.IsZero() || a.Next.After(to.Add(-3*time.Hour)) {
				continue
			}
			for x := m; x.Before(a.Next); x = x.Add(15 * time.Minute) {
				require.False(t, fits(x), "%s is earlier than %s", x, a.Next)
			}
			require.True(t, fits(a.Next), "%s for %s", a.Next, need)
		}
	}
}

func TestLint(t *testing.T) {
	night := Entry{Name: "night", Rule: "FREQ=DAILY", From: "22:00", To: "02:00"}
	for name, c := range map[string]struct {
		windows, freezes []Entry
		want             []string
	}{
		"healthy":        {[]Entry{night}, []Entry{{Name: "x", Rule: "FREQ=WEEKLY;BYDAY=MO"}}, nil},
		"covered":        {[]Entry{night}, []Entry{{Name: "x", Rule: "FREQ=DAILY", From: "20:00", To: "04:00"}}, []string{"never opens: freezes cover all of its windows within the next 400 d, first freeze \"x\""}},
		"stopped":        {nil, []Entry{{Name: "stop", From: "2026-01-01"}}, []string{`never opens within the next 400 d: freeze "stop"`}},
		"past":           {[]Entry{night, {Name: "x", From: "2025-01-01", To: "2025-01-31"}}, nil, []string{"lies in the past; nothing comes within the next 400 d"}},
		"until":          {[]Entry{{Name: "x", Rule: "FREQ=DAILY;UNTIL=20250101"}}, nil, []string{"lies in the past; nothing comes within the next 400 d", "never opens: none of its windows occurs within the next 400 d"}},
		"no such day":    {[]Entry{night, {Name: "x", Rule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}}, nil, []string{"never occurs: there is no such day"}},
		"much later":     {[]Entry{night, {Name: "x", From: "2030-01-01"}}, nil, []string{"does not begin within the next 400 d"}},
		"nobody":         {[]Entry{night}, []Entry{{Name: "x", Rule: "FREQ=WEEKLY;BYDAY=MO", Scope: Scope{Labels: map[string]string{"country": "fr"}}}}, []string{"concerns nobody: there is no tenant with country=fr"}},
		"not everywhere": {[]Entry{{Name: "x", Rule: "FREQ=DAILY", Scope: Scope{Environments: []string{"test"}}}}, nil, []string{"concerns nobody: there is no tenant with test"}},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			for _, f := range compiled(t, c.windows, c.freezes).Lint(at(t, "2026-11-22 12:00"), []Subject{acme}) {
				found = append(found, f.Message)
			}
			require.Equal(t, c.want, found)
		})
	}
}

func TestStretches(t *testing.T) {
	s := compiled(t, []Entry{{Name: "night", Rule: "FREQ=DAILY", From: "22:00", To: "02:00"}}, []Entry{{Name: "x", From: "2026-11-24T23:00", To: "2026-11-24T23:30"}})
	var found []string
	from, to := at(t, "2026-11-24 00:00"), at(t, "2026-11-25 12:00")
	end := from
	for _, x := range s.Stretches(acme, from, to) {
		require.True(t, x.Start.Equal(end), "a gap before %s", x.Start)
		end = x.End
		found = append(found, x.Start.In(berlin).Format("15:04")+" "+string(x.State))
	}
	require.True(t, end.Equal(to))
	require.Equal(t, []string{"00:00 open", "02:00 closed", "22:00 open", "23:00 frozen", "23:30 open", "02:00 closed"}, found)
}

// BenchmarkOpen asks a calendar of a usual size; 1,000 evaluations must take less than a second.
func BenchmarkOpen(b *testing.B) {
	s := compiled(b, []Entry{
		{Name: "weeknights", Rule: "FREQ=WEEKLY;BYDAY=TU,TH", From: "22:00", To: "02:00"},
		{Name: "sundays", Rule: "FREQ=WEEKLY;BYDAY=SU", From: "04:00", To: "12:00"},
	}, []Entry{
		{Name: "dispatch", Rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", From: "15:00", To: "19:00"},
		{Name: "inbound", Rule: "FREQ=DAILY", From: "06:00", To: "10:00"},
		{Name: "close", Rule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"},
		{Name: "year end", Rule: "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=14", Duration: 20 * 24 * time.Hour},
	})
	now := at(b, "2026-11-23 12:00")
	for name, need := range map[string]time.Duration{"near": 20 * time.Minute, "none-in-400-days": 20 * time.Hour} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.Open(acme, now, need)
			}
		})
	}
}
