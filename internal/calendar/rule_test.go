package calendar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a rule or an entry cannot say, and what the person is told.
func TestRefused(t *testing.T) {
	for rule, want := range map[string]string{
		"FREQ=SECONDLY":                                        "FREQ=SECONDLY is too often; DAILY, WEEKLY, MONTHLY or YEARLY expected (use FREQ=DAILY with BYHOUR)",
		"FREQ=MINUTELY;INTERVAL=5":                             "FREQ=MINUTELY is too often; DAILY, WEEKLY, MONTHLY or YEARLY expected (use FREQ=DAILY with BYHOUR)",
		"FREQ=HOURLY":                                          "FREQ=HOURLY is too often; DAILY, WEEKLY, MONTHLY or YEARLY expected (use FREQ=DAILY with BYHOUR)",
		"FREQ=WEEKLY":                                          "does not say on which day (for example BYDAY=TU,TH)",
		"FREQ=MONTHLY":                                         "does not say on which day (for example BYMONTHDAY=-1)",
		"FREQ=DAILY;INTERVAL=2":                                "counts with INTERVAL or COUNT, and has no first day to count from (add starting: with a date)",
		"FREQ=DAILY;COUNT=3":                                   "counts with INTERVAL or COUNT, and has no first day to count from (add starting: with a date)",
		"FREQ=DAILY;INTERVAL=1000000":                          "INTERVAL=1000000 is out of range; 1 to 366 expected",
		"FREQ=MONTHLY;BYDAY=53MO":                              "BYDAY=+53MO: there is no such day in a rule like this",
		"FREQ=MONTHLY;BYDAY=-6MO":                              "BYDAY=-6MO: there is no such day in a rule like this",
		"FREQ=WEEKLY;BYDAY=2MO":                                "BYDAY=+2MO: there is no such day in a rule like this",
		"FREQ=DAILY;BYHOUR=25":                                 "is no recurrence rule: byhour must be between 0 and 23",
		"FREQ=DAILY;DTSTART=20260101":                          "has DTSTART (give the first day in starting, and the time of day in from)",
		"FREQ=DAILY;FREQ=WEEKLY":                               "has FREQ twice",
		"FREQ=DAILY;BYSECOND=1":                                "has BYSECOND, which is not read here",
		"FREQ=YEARLY;BYEASTER=0":                               "has BYEASTER, which is not read here",
		"FREQ=DAILY;UNTIL=99990101":                            "UNTIL is in the year 9999; 1970 to 2200 expected",
		"every tuesday":                                        `"every tuesday" is no recurrence rule: wrong format (for example FREQ=WEEKLY;BYDAY=TU,TH)`,
		"FREQ=DAILY\nFREQ=DAILY":                               "has several lines; one rule expected",
		"FREQ=DAILY;X=" + strings.Repeat("1", maxRule):         fmt.Sprintf("has %d characters; at most 1000 are read", maxRule+13),
		"FREQ=DAILY;BYHOUR=0,1,2,3,4,5;BYMINUTE=0,10,20,30,40": "occurs 30 times on one day; at most 24 are possible",
	} {
		_, err := Compile(Spec{Name: "x", Timezone: "UTC", Windows: []Entry{{Name: "x", Rule: rule, Duration: time.Hour}}})
		require.EqualError(t, err, "windows[0].rrule: "+want, rule)
	}
	for want, e := range map[string]Entry{
		`freezes[0]: says no time; rrule, from and to, or ical expected`: {},
		`freezes[0].from: "2026-01-01" is no time of day; one like 22:30 expected (with a rule, from and to are times of day; the first day is starting, the last one UNTIL in the rule)`: {Rule: "FREQ=DAILY", From: "2026-01-01", To: "12:00"},
		`freezes[0].from: "22:00" is no day and no moment; one like 2026-12-24 or 2026-12-24T18:00 expected (a time of day needs a rule beside it: rrule: FREQ=DAILY)`:                    {From: "22:00", To: "23:00"},
		`freezes[0].from: is given beside BYHOUR or BYMINUTE in the rule; one of the two expected`:                                                                                        {Rule: "FREQ=DAILY;BYHOUR=3", From: "12:00", To: "13:00"},
		`freezes[0]: has no end; to or duration expected`:                                                           {Rule: "FREQ=DAILY", From: "12:00"},
		`freezes[0].duration: is given beside to; one of the two expected`:                                          {Rule: "FREQ=DAILY", From: "12:00", To: "13:00", Duration: time.Hour},
		`freezes[0].duration: 10s is out of range; 1m to 366 d expected`:                                            {Rule: "FREQ=DAILY", From: "12:00", Duration: 10 * time.Second},
		`freezes[0].to: is not after from`:                                                                          {From: "2026-02-01", To: "2026-01-31"},
		`freezes[0].from: "2026-02-30" is no day and no moment; one like 2026-12-24 or 2026-12-24T18:00 expected`:   {From: "2026-02-30"},
		`freezes[0].from: the year 1926 is out of range; 1970 to 2200 expected`:                                     {From: "1926-02-20"},
		`freezes[0].starting: is for rules alone; from expected`:                                                    {Starting: "2026-02-20", To: "2026-02-22"},
		`freezes[0].ical: is given beside other times; an iCal file says all times itself (make two entries of it)`: {HasICal: true, Rule: "FREQ=DAILY"},
	} {
		_, err := Compile(Spec{Name: "x", Timezone: "UTC", Freezes: []Entry{e}})
		require.EqualError(t, err, want)
	}
	_, err := Compile(Spec{Name: "x", Timezone: "Local", Windows: []Entry{{Rule: "FREQ=DAILY"}}})
	require.EqualError(t, err, `timezone: "Local" is no time zone; the IANA name of one expected (for example Europe/Berlin)`)
	_, err = Compile(Spec{Name: "x", Timezone: "../etc/passwd", Windows: []Entry{{Rule: "FREQ=DAILY"}}})
	require.ErrorContains(t, err, "is no time zone")
}

// A rule that never occurs takes the library 8,000 years to find out; it is asked once, and not often.
func TestManyRulesThatNeverOccur(t *testing.T) {
	var freezes []Entry
	for range maxNever + 1 {
		freezes = append(freezes, Entry{Rule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"})
	}
	start := time.Now()
	s := compiled(t, nil, freezes[:2])
	require.True(t, s.Open(acme, at(t, "2026-11-24 12:00"), 0).Open)
	require.Less(t, time.Since(start), 5*time.Second)
	_, err := Compile(Spec{Name: "x", Timezone: "UTC", Freezes: freezes})
	require.EqualError(t, err, "freezes[5].rrule: is one of more than 5 rules that never occur")
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule, starting string
		want           []string
	}{
		{"FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "2024-01-01", []string{"03-09", "03-23", "04-06"}},
		{"FREQ=DAILY;INTERVAL=14", "2026-02-23", []string{"03-09", "03-23", "04-06"}},
		{"FREQ=DAILY;COUNT=3", "2026-03-30", []string{"03-30", "03-31", "04-01"}},
		{"FREQ=WEEKLY;BYDAY=SU", "2026-03-29", []string{"03-29", "04-05"}},
		{"FREQ=MONTHLY;BYDAY=-1FR", "", []string{"03-27"}},
		{"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1,1", "", []string{"03-02", "03-31", "04-01"}},
		{"FREQ=YEARLY", "2020-03-17", []string{"03-17"}},
		{"FREQ=DAILY;UNTIL=20260303", "", []string{"03-01", "03-02", "03-03"}},
		{"FREQ=DAILY;UNTIL=20260302T230000Z", "", []string{"03-01", "03-02", "03-03"}}, // 00:00 of the 3rd in Berlin
		{"FREQ=YEARLY;BYWEEKNO=10;BYDAY=WE", "", []string{"03-04"}},
		{"FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=-1", "", []string{"03-03", "03-10", "03-17", "03-24", "03-31", "04-07"}},
		{"RRULE:FREQ=MONTHLY;INTERVAL=5;BYMONTHDAY=2", "2025-11-02", []string{"04-02"}},
	} {
		var found []string
		for _, o := range occurrences(t, compiled(t, []Entry{{Name: "x", Rule: c.rule, Starting: c.starting}}, nil), "2026-03-01 00:00", "2026-04-08 00:00") {
			found = append(found, o[5:10])
		}
		require.Equal(t, c.want, found, c.rule)
	}
}

// Whatever the rule, reading it neither panics nor takes long, and asking it is quick.
func FuzzRule(f *testing.F) {
	for _, rule := range []string{
		"FREQ=WEEKLY;BYDAY=TU,TH", "FREQ=SECONDLY", "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=0,30", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU", "FREQ=YEARLY;BYDAY=-53MO", "FREQ=MONTHLY;BYDAY=5FR,-5FR",
		"FREQ=DAILY;INTERVAL=366;COUNT=10000", "FREQ=YEARLY;BYYEARDAY=366,-366", "FREQ=WEEKLY;WKST=SU;INTERVAL=2;BYDAY=SA,SU;BYSETPOS=1,-1",
		"FREQ=DAILY;UNTIL=20270101T120000Z", "FREQ=YEARLY;BYWEEKNO=1;BYMONTH=7;BYDAY=MO", "FREQ=YEARLY;WKST=WE;BYWEEKNO=-1,1,52;BYDAY=TH",
	} {
		f.Add(rule, "2026-01-31")
		f.Add(rule, "")
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, rule, starting string) {
		start := time.Now()
		s, err := Compile(Spec{Name: "x", Timezone: "Europe/Berlin", Windows: []Entry{{Name: "x", Rule: rule, Starting: starting, From: "22:00", To: "02:00"}}})
		if err == nil {
			a := s.Open(acme, now, time.Hour)
			if !a.Open && !a.Next.IsZero() && !a.Next.After(now) {
				t.Fatalf("the next opportunity %s is not after %s", a.Next, now)
			}
			s.Lint(now, []Subject{acme})
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

func ical(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return content
}

func TestICal(t *testing.T) {
	s := compiled(t, nil, []Entry{{Name: "holidays", HasICal: true, ICal: ical(t, "holidays.ics"), Reason: "nobody is there"}})
	require.Equal(t, []string{
		"2026-12-24 14:00 CET – 2026-12-24 23:00 CET", // DTSTART and DTEND in the calendar's zone
		"2026-12-25 00:00 CET – 2026-12-27 00:00 CET", // whole days; the end is the first day after
		"2026-12-31 18:00 CET – 2027-01-01 06:00 CET", // UTC and DURATION
		"2027-01-11 09:00 CET – 2027-01-11 11:00 CET", // weekly
		"2027-01-19 13:00 CET – 2027-01-19 15:00 CET", // the occurrence of the 18th, moved
		"2027-01-25 23:00 CET – 2027-01-26 01:00 CET", // another zone
		"2027-02-01 09:00 CET – 2027-02-01 11:00 CET", // the 25th is excepted
		"2027-02-05 09:00 CET – 2027-02-05 11:00 CET", // a further date
	}, occurrences(t, s, "2026-12-01 00:00", "2027-02-07 00:00"))
	a := s.Open(acme, at(t, "2026-12-25 10:00"), 0)
	require.Equal(t, `freeze "holidays: Christmas, both days" until Sun 2026-12-27 00:00 CET: nobody is there`, a.Why)
	// The yearly event of whole days is there in any year.
	require.Contains(t, occurrences(t, s, "2031-12-01 00:00", "2031-12-28 00:00"), "2031-12-25 00:00 CET – 2031-12-27 00:00 CET")
}

func TestICalRefused(t *testing.T) {
	event := func(lines ...string) string {
		return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Count\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	}
	for content, want := range map[string]string{
		"":                               "is no iCal file: it does not begin with BEGIN:VCALENDAR",
		"hello":                          "is no iCal file: it does not begin with BEGIN:VCALENDAR",
		event():                          `event "Count": has no DTSTART`,
		event("DTSTART:20260101T000000"): `event "Count": has no end after its beginning`,
		event("DTSTART:20260101T000000", "DTEND:20251231T000000"):                                                                                `event "Count": has no end after its beginning`,
		event("DTSTART:20260101T000000", "DTEND:20290101T000000"):                                                                                `event "Count": lasts 1096 d; at most 366 d are possible`,
		event("DTSTART:20260101T000000", "DURATION:PT1X"):                                                                                        `event "Count": "PT1X" is no duration; one like PT2H or P1D expected`,
		event("DTSTART;TZID=W. Europe Standard Time:20260101T000000", "DURATION:PT1H"):                                                           `event "Count": its time zone "W. Europe Standard Time" is no time zone; the IANA name of one expected (export the calendar with zones like Europe/Berlin)`,
		event("DTSTART:20260101T000000", "DURATION:PT1H", "RRULE:FREQ=SECONDLY"):                                                                 `event "Count": FREQ=SECONDLY is too often; DAILY, WEEKLY, MONTHLY or YEARLY expected (use FREQ=DAILY with BYHOUR)`,
		event("DTSTART:20260101T000000", "DURATION:PT1H", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"):                                               `event "Count": has several RRULE, or EXRULE, which is not read`,
		event("DTSTART:20260101T000000", "DURATION:PT1H", "RDATE;VALUE=PERIOD:20260101T000000Z/PT1H"):                                            `event "Count": "20260101T000000Z/PT1H" is no day and no moment`,
		event("DTSTART:20260101T000000", "DURATION:PT1H", "RDATE:"+strings.Repeat("20260101T000000,", maxDates)+"20260101T000000"):               `event "Count": has more than 2000 further or excepted dates`,
		strings.Repeat("BEGIN:VEVENT\r\n", 100_000):                                                                                              "is no iCal file: its parts are nested more than 8 levels deep",
		"BEGIN:VCALENDAR\r\n" + strings.Repeat("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101\r\nEND:VEVENT\r\n", maxEvents+1) + "END:VCALENDAR\r\n": "has 2001 events; at most 2000 are read",
	} {
		_, err := Compile(Spec{Name: "x", Timezone: "UTC", Freezes: []Entry{{Name: "x", HasICal: true, ICal: []byte(content)}}})
		require.EqualError(t, err, "freezes[0].ical: "+want)
	}
}

// Whatever the bytes, reading a file neither panics nor takes long.
func FuzzICal(f *testing.F) {
	f.Add(ical(f, "holidays.ics"))
	f.Add([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260229\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR\n"))
	f.Add([]byte("BEGIN:VCALENDAR\r\nX-A;B=\"c\";D=e,f:g\r\nBEGIN:VTIMEZONE\r\nBEGIN:STANDARD\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nEND:VCALENDAR"))
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1<<16 {
			return
		}
		start := time.Now()
		s, err := Compile(Spec{Name: "x", Timezone: "Europe/Berlin", Freezes: []Entry{{Name: "x", HasICal: true, ICal: content}}})
		if err == nil {
			s.Open(acme, now, time.Hour)
			s.Lint(now, []Subject{acme})
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}
