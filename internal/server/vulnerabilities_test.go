package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/sbom/sbomtest"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// watched is a server without its HTTP side, with one release that serves a tenant in production.
type watched struct {
	t       *testing.T
	server  *server
	release release.Release
	log     *lines
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func watch(t *testing.T) *watched {
	t.Helper()
	dir := folder(t)
	state := storetest.Open(t, cluster(t))
	secrets, err := keys.Open(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	images := sbomtest.Registry(t, secrets.Token())

	w := &watched{t: t, log: &lines{}}
	w.server = &server{config: Config{Data: filepath.Join(dir, "data"), Estate: declared(t), RescanEvery: 20 * time.Millisecond}, log: slog.New(slog.NewTextHandler(w.log, nil)),
		keys: secrets, store: state, registry: images.Host}
	w.release = sbomtest.Release(t, images)
	require.NoError(t, state.PutRelease(t.Context(), w.release))
	w.serve(w.release.Digest)
	return w
}

// serve makes the tenant's route go to a release.
func (w *watched) serve(digest string) {
	w.t.Helper()
	ctx := w.t.Context()
	require.NoError(w.t, w.server.store.PutTenant(ctx, store.Tenant{Environment: "production", Name: "east", Database: "east", Hosts: []string{"east.example"}, Group: "shared"}))
	_, err := w.server.store.ChangeTenant(ctx, "production", "east", store.Lease{}, func(t *store.Tenant) { t.ServingRelease = digest })
	require.NoError(w.t, err)
}

// advise puts an advisory about glibc into the database, or replaces it.
func (w *watched) advise(id, fixed string, modified time.Time) {
	w.t.Helper()
	w.put("osv/"+id+".json", fmt.Sprintf(`{"id": %q, "modified": %q, "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
		"affected": [{"package": {"ecosystem": "PyPI", "name": "django"}, "versions": ["1.0"]}, {"package": {"ecosystem": "Debian:13", "name": "glibc"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": %q}]}]}]}`,
		id, modified.UTC().Format(time.RFC3339), fixed))
}

// rule writes the estate's document.
func (w *watched) rule(more string) {
	w.put("vulnerabilities.yaml", "kind: Vulnerabilities\ndatabases: [osv]\n"+more)
}

func (w *watched) put(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.server.config.Estate, name)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(w.t, os.WriteFile(path+".new", []byte(content), 0o644))
	require.NoError(w.t, os.Rename(path+".new", path))
}

// until waits for what the server knows of what runs.
func (w *watched) until(what string, so func(store.VulnerabilityScan, []store.Vulnerability) bool) {
	w.t.Helper()
	var scan store.VulnerabilityScan
	var rows []store.Vulnerability
	require.Eventually(w.t, func() bool {
		var err error
		scan, err = w.server.store.LastVulnerabilityScan(w.t.Context())
		require.NoError(w.t, err)
		rows, err = w.server.store.Vulnerabilities(w.t.Context())
		require.NoError(w.t, err)
		return so(scan, rows)
	}, time.Minute, 20*time.Millisecond, "%s", what)
}

func ids(rows []store.Vulnerability) (list []string) {
	for _, r := range rows {
		list = append(list, r.Level+" "+r.ID)
	}
	return list
}

// What runs is compared again when a database is renewed, without anybody asking.
func TestRunningReleasesAreComparedAgain(t *testing.T) {
	long.Test(t)
	w := watch(t)
	w.advise("CVE-2020-1", "2.0-1", time.Now())
	w.rule("")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.watchVulnerabilities(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })

	w.until("a first scan finds nothing", func(s store.VulnerabilityScan, rows []store.Vulnerability) bool {
		return s.ScannedAt != nil && len(rows) == 0
	})
	w.advise("CVE-2026-1", "2.41-13", time.Now())
	w.until("the renewed database has one", func(_ store.VulnerabilityScan, rows []store.Vulnerability) bool {
		return slices.Equal(ids(rows), []string{"refuse CVE-2026-1"})
	})
	status := w.status()
	require.Equal(t, []string{"CVE-2026-1 (high) in glibc of r1, since " + time.Now().UTC().Format(time.DateOnly)}, status.Environments[1].Vulnerable)
	require.Empty(t, status.Environments[0].Vulnerable)
	for range 3 {
		require.NoError(t, w.server.rescan(t.Context(), true))
	}
	require.Equal(t, 1, w.log.count("CVE-2026-1"), "it is logged once")

	w.put("osv/broken.json", "{")
	w.until("a damaged database is told, and what is known stands", func(s store.VulnerabilityScan, rows []store.Vulnerability) bool {
		return strings.Contains(s.Error, "broken.json") && len(rows) == 1
	})
	require.Contains(t, w.status().Problems[0], "broken.json")
	require.NoError(t, os.Remove(filepath.Join(w.server.config.Estate, "osv/broken.json")))
	w.until("it is mended", func(s store.VulnerabilityScan, _ []store.Vulnerability) bool {
		return s.Error == "" && s.ScannedAt != nil
	})
	require.Equal(t, 1, w.log.count("broken.json"), "a failure is logged once")
	require.Equal(t, 1, w.log.count("CVE-2026-1"))

	w.rule("accept:\n  - {id: CVE-2026-1, component: glibc, reason: not called, expires: " + time.Now().UTC().Format(time.DateOnly) + "}\n")
	w.until("the estate accepts it", func(_ store.VulnerabilityScan, rows []store.Vulnerability) bool { return len(rows) == 0 })
	w.rule("unfixed: refuse\n")
	w.until("it no longer does", func(_ store.VulnerabilityScan, rows []store.Vulnerability) bool { return len(rows) == 1 })
	w.serve("")
	w.until("the release no longer runs", func(_ store.VulnerabilityScan, rows []store.Vulnerability) bool { return len(rows) == 0 })
	require.NoError(t, os.Remove(filepath.Join(w.server.config.Estate, "vulnerabilities.yaml")))
	w.until("the estate no longer asks", func(s store.VulnerabilityScan, _ []store.Vulnerability) bool {
		return s.ScannedAt == nil && s.State == ""
	})
}

// status asks the API, as waybill status does.
func (w *watched) status() api.Status {
	w.t.Helper()
	handler := api.Handler(api.Backend{Store: w.server.store, Token: "t", Estate: func(ctx context.Context) (*estate.Estate, error) { return estate.Load(ctx, w.server.config.Estate) }})
	request := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
	request.Header.Set("Authorization", "Bearer t")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	require.Equal(w.t, http.StatusOK, answer.Code, answer.Body)
	var s api.Status
	require.NoError(w.t, json.Unmarshal(answer.Body.Bytes(), &s))
	return s
}

// A promotion asks the same, of the estate as it was when it was asked for.
func TestAdmissionComparesWithAdvisories(t *testing.T) {
	long.Test(t)
	w := watch(t)
	w.put("osv/.hidden.json", "{")
	ask := func(change func(*estate.Vulnerabilities)) error {
		rules := estate.DefaultVulnerabilities("osv")
		if change != nil {
			change(&rules)
		}
		return w.server.vulnerable(t.Context(), w.release, promotion.Snapshot{Vulnerabilities: &rules, Root: w.server.config.Estate})
	}
	require.NoError(t, w.server.vulnerable(t.Context(), w.release, promotion.Snapshot{}), "an estate without rules asks for nothing")
	require.ErrorIs(t, ask(nil), vuln.ErrDatabase)

	w.advise("CVE-2020-1", "2.0-1", time.Now())
	require.NoError(t, ask(nil))

	w.advise("CVE-2026-1", "2.41-13", time.Now())
	var refused *vuln.Refused
	require.ErrorAs(t, ask(nil), &refused)
	require.Contains(t, refused.Error(), "CVE-2026-1 (high, 7.5) in glibc 2.41-12 (libc6): fixed in 2.41-13. The estate refuses from high on (build again on a base image with glibc 2.41-13; or accept it")
	require.NoError(t, ask(func(v *estate.Vulnerabilities) { v.Refuse = "critical" }))

	w.advise("CVE-2026-1", "2.0", time.Now().Add(-10*24*time.Hour))
	w.advise("CVE-2020-1", "2.0", time.Now().Add(-10*24*time.Hour))
	require.ErrorAs(t, ask(nil), &refused)
	require.Contains(t, refused.Error(), "10 days ago; the estate allows 7 days (max_age) (renew the database")
	require.NoError(t, ask(func(v *estate.Vulnerabilities) { v.MaxAge = 11 * 24 * time.Hour }))

	missing := w.release
	missing.Digest = "sha256:" + strings.Repeat("0", 64)
	err := w.server.vulnerable(t.Context(), missing, promotion.Snapshot{Vulnerabilities: &estate.Vulnerabilities{Databases: []string{"osv"}}, Root: w.server.config.Estate})
	require.Error(t, err)
	require.False(t, errors.As(err, &refused) || errors.Is(err, vuln.ErrDatabase), "a registry that lacks the release is no verdict on it")
}
