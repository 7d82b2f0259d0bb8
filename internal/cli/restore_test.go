package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/store"
)

func TestPointInTime(t *testing.T) {
	zone := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, zone)
	for text, want := range map[string]string{"2026-11-21 14:30": "2026-11-21T13:30:00Z", "2026-11-21 14:30:05": "2026-11-21T13:30:05Z", "2026-11-21T14:30:00Z": "2026-11-21T14:30:00Z", "2026-11-21T14:30:00+02:00": "2026-11-21T12:30:00Z"} {
		got, err := pointInTime(text, now)
		require.NoError(t, err, text)
		require.Equal(t, want, got.UTC().Format(time.RFC3339), text)
	}
	for _, text := range []string{"yesterday", "14:30", "2026-13-01 00:00", ""} {
		_, err := pointInTime(text, now)
		require.ErrorContains(t, err, "is no time", text)
	}
}

func TestHoursOf(t *testing.T) {
	for text, want := range map[string]int{"7d": 168, "12h": 12, "1h": 1} {
		got, err := hoursOf("--keep", text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "0d", "-1d", "90m", "5m", "x", "1.5d"} {
		_, err := hoursOf("--keep", text)
		require.ErrorContains(t, err, "--keep", text)
	}
}

func TestRestoreMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"neither":           {[]string{"a/b"}, "either CHECKPOINT or --to-time"},
		"both":              {[]string{"a/b", "c", "--to-time", "2026-11-21 14:30"}, "either CHECKPOINT or --to-time"},
		"a host over it":    {[]string{"a/b", "c", "--host", "x"}, "--beside"},
		"a name over it":    {[]string{"a/b", "c", "--as", "x"}, "--beside"},
		"kept over it":      {[]string{"a/b", "c", "--keep", "7d"}, "--beside"},
		"no time":           {[]string{"a/b", "--to-time", "noon"}, "is no time"},
		"no length of time": {[]string{"a/b", "c", "--beside", "--keep", "long"}, "--keep"},
		"drop what":         {[]string{"drop", "a/b"}, "NAME"},
	} {
		_, err, code := said(t, append([]string{"restore"}, test.args...)...)
		require.Equal(t, exitUsage, code, name)
		require.Contains(t, err, test.says, name)
	}
}

func TestRestoreAsks(t *testing.T) {
	var asked map[string]any
	data := fake(t, func(r *http.Request) (int, any) {
		if r.Method == "POST" {
			require.NoError(t, json.NewDecoder(r.Body).Decode(&asked))
			return 422, map[string]any{"title": "Unprocessable Entity", "detail": "enough"}
		}
		return 200, []api.Beside{}
	})
	_, _, code := said(t, "restore", "a/b", "--to-time", "2026-11-21T14:30:00Z", "--beside", "--as", "look", "--host", "look.example", "--keep", "2d", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Equal(t, map[string]any{"environment": "a", "tenant": "b", "to_time": "2026-11-21T14:30:00Z", "beside": true, "name": "look", "host": "look.example", "keep_hours": 48.0}, asked)
	clear(asked)
	_, _, _ = said(t, "restore", "a/b", "c1", "--data", data)
	require.Equal(t, map[string]any{"environment": "a", "tenant": "b", "checkpoint": "c1"}, asked, "as ever, over it")
	out, err, code := said(t, "restore", "list", "a/b", "--data", data)
	require.Equal(t, exitDone, code, err)
	require.Contains(t, out, "Nothing stands beside a/b")
}

func TestBesidesAreShown(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	b := api.Beside{Beside: store.Beside{Environment: "production", Tenant: "acme", Name: "look", Database: "acme__b_look", Host: "look.acme.example", RecoveryPoint: at, ExpiresAt: at.AddDate(0, 0, 7)}, ReleaseName: "r2", State: "stands"}
	var out strings.Builder
	besideTable(&out, "production/acme", []api.Beside{b})
	require.Equal(t, `NAME  RECOVERY POINT       RELEASE  HOST               DATABASE      STATE   GOES AWAY
look  2026-11-22 12:00:00  r2       look.acme.example  acme__b_look  stands  2026-11-29 12:00:00
`, out.String())
	out.Reset()
	showStatus(&out, api.Status{Environments: []api.Environment{{Name: "production", Tenants: []api.Tenant{{Name: "acme", Beside: []api.Beside{b}}}}}})
	require.Contains(t, out.String(), "production/acme has look beside it, of 2026-11-22 12:00:00, under look.acme.example, until 2026-11-29 12:00:00")
}
