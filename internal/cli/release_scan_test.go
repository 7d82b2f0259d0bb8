package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/sbom/sbomtest"
)

// Without a server, on another registry: a file of CycloneDX, and a scan by the default rules.
func TestReleaseSBOMAndScan(t *testing.T) {
	t.Setenv("WAYBILL_CACHE", t.TempDir())
	images := sbomtest.Registry(t, "p")
	built := sbomtest.Release(t, images)
	file := filepath.Join(t.TempDir(), "sbom.json")
	out, err, code := said(t, "release", "sbom", "shop:r1", "--registry", images.Host, "-o", file)
	require.Equal(t, exitDone, code, err)
	require.Empty(t, out)
	content, readErr := os.ReadFile(file)
	require.NoError(t, readErr)
	require.Contains(t, string(content), `"purl": "pkg:pypi/flask@2.0"`)
	out, err, code = said(t, "release", "sbom", "shop@"+built.Digest, "--registry", images.Host)
	require.Equal(t, exitDone, code, err)
	require.Equal(t, string(content), out, "the same release, the same bytes")

	database := t.TempDir()
	advise := func(severity, debianFixed string) {
		require.NoError(t, os.WriteFile(filepath.Join(database, "GHSA-1.json"), fmt.Appendf(nil, `{"id": "GHSA-1", "aliases": ["CVE-2026-1"], "modified": %q, "database_specific": {"severity": %q},
			"affected": [{"package": {"ecosystem": "PyPI", "name": "Flask"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0.1"}]}]},
				{"package": {"ecosystem": "Debian:13", "name": "glibc"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": %q}]}]}]}`,
			time.Now().UTC().Format(time.RFC3339), severity, debianFixed), 0o644))
	}
	scan := func(more ...string) (string, string, int) {
		return said(t, append([]string{"release", "scan", "shop:r1", "--registry", images.Host, "--databases", database}, more...)...)
	}
	advise("HIGH", "2.41-12")
	out, err, code = scan()
	require.Equal(t, exitFailed, code, err)
	require.Equal(t, "r1  "+built.Digest+`
COMPARED   COMPONENTS  ADVISORIES  NEWEST
Debian:13  1           1           `+time.Now().UTC().Format(time.DateOnly)+`
Odoo:19.0  2           0           –
PyPI       1           1           `+time.Now().UTC().Format(time.DateOnly)+`

LEVEL   SEVERITY  VULNERABILITY  COMPONENT  VERSION  FIXED IN
refuse  high      CVE-2026-1     flask      2.0      2.0.1

The estate refuses this release. What to do:
  install flask 2.0.1 in the base image and build again
  where that cannot be done now, accept it for a while in the estate (kind: Vulnerabilities, accept), with a reason
`, out)
	advise("LOW", "2.41-13")
	out, err, code = scan()
	require.Equal(t, exitDone, code, err)
	require.Contains(t, out, "Below the estate's thresholds: 2 more; --all shows them.\nNothing known keeps this release out.")
	require.NotContains(t, out, "LEVEL")
	out, _, code = scan("--all", "-o", "json")
	require.Equal(t, exitDone, code)
	require.Contains(t, out, `"refused": false`)

	login := t.TempDir() // of docker login, on the machine that scans
	require.NoError(t, os.WriteFile(filepath.Join(login, "config.json"), fmt.Appendf(nil, `{"auths": {%q: {"username": "waybill", "password": "p"}}}`, images.Host), 0o600))
	t.Setenv("DOCKER_CONFIG", login)
	key := filepath.Join(t.TempDir(), "ci.pem")
	_, err, code = said(t, "key", "new", key)
	require.Equal(t, exitDone, code, err)
	for range 2 { // the same result once
		_, err, code = scan("--attach", "--key", key)
		require.Equal(t, exitDone, code, err)
	}
	out, err, code = said(t, "release", "verify", "shop:r1", "--registry", images.Host, "--key", key+".pub")
	require.Equal(t, exitFailed, code, err, "a scan says nothing of where the release comes from")
	require.Equal(t, 1, strings.Count(out, "vulnerabilities ok"), out)
	_, err, code = scan("--key", key)
	require.Equal(t, exitUsage, code, err)

	require.NoError(t, os.WriteFile(filepath.Join(database, "x.json"), []byte("{"), 0o644))
	_, err, code = scan()
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, "x.json: it is no advisory in OSV's format")
	_, err, code = said(t, "release", "scan", "shop:r1", "--registry", images.Host, "--estate", t.TempDir())
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "waybill init")
	_, _, code = said(t, "release", "scan")
	require.Equal(t, exitUsage, code)
	_, _, code = said(t, "release", "scan", "--running", "--databases", "x")
	require.Equal(t, exitUsage, code)
}

func TestScanOfWhatRuns(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	one := func(level string) api.Vulnerability {
		return api.Vulnerability{ID: "CVE-2026-1", Component: "glibc", Version: "2.41-12", Severity: "high", Level: level, FirstSeen: at}
	}
	running := func(level string) api.Vulnerabilities {
		return api.Vulnerabilities{Declared: true, Running: 2, Newest: map[string]time.Time{"Debian": at}, Problems: []string{}, Environments: []api.VulnerableEnvironment{
			{Name: "production", Releases: []api.VulnerableRelease{{Name: "r1", Digest: "sha256:1", Vulnerabilities: []api.Vulnerability{one(level)}}}}}}
	}
	quiet := running("warn")
	quiet.Environments = nil
	old := quiet
	old.Problems = []string{"the newest advisory of Debian is old"}
	for name, c := range map[string]struct {
		answer api.Vulnerabilities
		code   int
		says   string
	}{
		"vulnerable": {running("refuse"), exitFailed, "production   r1       refuse  high      CVE-2026-1     glibc      2.41-12  2026-11-20"},
		"warned of":  {running("warn"), exitDone, "Warnings: 1; --all shows them."},
		"quiet":      {quiet, exitDone, "Releases that run: 2. None is known to be vulnerable."},
		"old":        {old, exitFailed, "the newest advisory of Debian is old"},
	} {
		out, err, code := said(t, "release", "scan", "--running", "--data", fake(t, func(r *http.Request) (int, any) {
			require.Equal(t, "POST /api/v1/vulnerabilities/scan", r.Method+" "+r.URL.Path)
			return 200, c.answer
		}))
		require.Equal(t, c.code, code, "%s: %s", name, err)
		require.Contains(t, out, c.says, name)
	}
	_, err, code := said(t, "release", "scan", "--running", "--data", fake(t, func(*http.Request) (int, any) { return 200, api.Vulnerabilities{} }))
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "names no vulnerability databases")

	out, _, _ := said(t, "status", "--data", fake(t, func(*http.Request) (int, any) {
		return 200, api.Status{Environments: []api.Environment{{Name: "production", Vulnerable: []string{"CVE-2026-1 (high) in glibc of r1, since 2026-11-20"}}}, Problems: []string{"the database is damaged"}}
	}))
	require.Contains(t, out, "production runs something vulnerable: CVE-2026-1 (high) in glibc of r1, since 2026-11-20\nthe database is damaged\n")
}
