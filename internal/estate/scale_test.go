package estate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const scaledYAML = `kind: Environment
name: test
runtime: {docker: {http: "127.0.0.1:8079"}}
resources: {cpus: 2}
scale:
  web: {min: 2, max: 8}
  floors:
    - {name: morning, rrule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", from: "05:30", to: "09:00", timezone: Europe/Berlin, web: 6}
    - {name: night shift, rrule: FREQ=DAILY, from: "22:00", to: "06:00", timezone: Europe/Berlin, web: 4}
    - {name: nights of the change, rrule: FREQ=DAILY, from: "02:15", to: "02:45", timezone: Europe/Berlin, web: 7}
    - {name: sale, from: 2026-11-27T06:00, to: 2026-11-28, timezone: America/New_York, web: 8}
`

func scaled(t *testing.T) Environment {
	t.Helper()
	e, err := Parse(map[string][]byte{"product.yaml": []byte(productYAML), "test.yaml": []byte(scaledYAML)})
	require.NoError(t, err)
	return e.Environments[0]
}

func TestPodsAt(t *testing.T) {
	env := scaled(t)
	require.Equal(t, 70, env.Scale.Web.CPU)
	require.Equal(t, 8, env.Scale.Most())
	for _, c := range []struct {
		at    string // UTC
		pods  int
		floor string
	}{
		{"2026-11-23T04:29:59Z", 4, "night shift"}, // a Monday, 05:29:59 in Berlin
		{"2026-11-23T04:30:00Z", 6, "morning"},     // of two that hold the higher
		{"2026-11-23T05:30:00Z", 6, "morning"},
		{"2026-11-23T07:59:59Z", 6, "morning"},
		{"2026-11-23T08:00:00Z", 2, ""},
		{"2026-11-23T21:00:00Z", 4, "night shift"},
		{"2026-11-22T06:00:00Z", 2, ""},        // a Sunday
		{"2026-07-20T03:30:00Z", 6, "morning"}, // in summer an hour earlier by UTC
		{"2026-07-20T07:00:00Z", 2, ""},
		{"2026-11-27T10:59:59Z", 2, ""},
		{"2026-11-27T11:00:00Z", 8, "sale"}, // 06:00 in New York
		{"2026-11-29T04:59:59Z", 8, "sale"}, // its last day ends
		{"2026-11-29T05:00:00Z", 2, ""},
		// On 25 October 2026 the hour after 02:00 comes twice: it holds from the first to the last.
		{"2026-10-25T00:14:59Z", 4, "night shift"},
		{"2026-10-25T00:15:00Z", 7, "nights of the change"},
		{"2026-10-25T01:00:00Z", 7, "nights of the change"},
		{"2026-10-25T01:44:59Z", 7, "nights of the change"},
		{"2026-10-25T01:45:00Z", 4, "night shift"},
		// On 29 March 2026 it is missing: from the jump on for as long as it would have been at most, and never not at all.
		{"2026-03-29T00:59:59Z", 4, "night shift"},
		{"2026-03-29T01:00:00Z", 7, "nights of the change"},
		{"2026-03-29T01:44:59Z", 7, "nights of the change"},
		{"2026-03-29T01:45:00Z", 4, "night shift"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		got, err := env.PodsAt(at)
		require.NoError(t, err)
		require.Equal(t, Pods{Min: c.pods, Max: 8, CPU: 70, Floor: c.floor}, got, c.at)
	}
}

func TestPodsOfAnEnvironmentThatSaysNothing(t *testing.T) {
	pods, err := Environment{}.PodsAt(time.Now())
	require.NoError(t, err)
	require.Equal(t, Pods{Min: 1}, pods)
	require.Equal(t, 1, Environment{}.Scale.Most())
}
