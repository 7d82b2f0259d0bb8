package cli

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
)

// addons is a source folder with one module that lacks a data file.
func addons(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "addons/lane/__manifest__.py", "{\n    'name': 'Lane',\n    'version': '1.0',\n    'author': 'A', 'license': 'LGPL-3',\n    'data': ['views/gone.xml'],\n}\n")
	put(t, dir, "addons/lane/__init__.py", "")
	return dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
}

// declare writes an estate whose base is not to be had, with the document given.
func declare(t *testing.T, checks string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "product.yaml", "kind: Product\nname: shop\nseries: \"19.0\"\nbase: oci:gone\nenvironments: [test]\n---\nkind: Environment\nname: test\nruntime: {docker: {http: \"127.0.0.1:8079\"}}\n---\nkind: Checks\n"+checks)
	return dir
}

func TestCheck(t *testing.T) {
	source, nowhere := addons(t), t.TempDir()
	t.Setenv("WAYBILL_CACHE", t.TempDir())
	run := func(args ...string) (string, string, int) {
		t.Helper()
		return said(t, append([]string{"check", "--data", nowhere}, args...)...)
	}
	place := filepath.Join(source, "addons/lane/__manifest__.py") + ":5: error: "

	out, _, code := run(source, "--base", "none")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, place)
	require.Contains(t, out, "[data-file-missing]")
	require.Contains(t, out, "1 error in 1 module, 2 files")

	out, _, code = run(source, "-o", "json")
	require.Equal(t, exitFailed, code)
	var report check.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, "addons/lane/__manifest__.py", report.Findings[0].File)

	out, _, code = run(source, "-o", "sarif")
	require.Equal(t, exitFailed, code)
	log, err := sarif.FromBytes([]byte(out))
	require.NoError(t, err)
	require.NoError(t, log.Validate())

	level := func(checks string, args ...string) (string, string, int) {
		return run(append([]string{source, "--estate", declare(t, checks)}, args...)...)
	}
	out, _, code = level("levels: {data-file-missing: warning}")
	require.Equal(t, exitDone, code, out)
	require.Contains(t, out, "not checked: the base image was not looked at", "the estate's base cannot be had: said, and no mistake")
	_, _, code = level("levels: {data-file-missing: warning}", "--fail-on", "warning")
	require.Equal(t, exitFailed, code)
	out, _, code = level("exceptions: [{check: data-file-missing, module: lane, reason: comes later, expires: 2999-01-01}]")
	require.Equal(t, exitDone, code)
	require.Contains(t, out, "accepted: 1 finding of data-file-missing: comes later")
	out, _, code = level("exceptions: [{check: data-file-missing, module: lane, reason: comes later, expires: 2001-01-01}]")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "has expired: it held until 2001-01-01")

	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no such folder":     {[]string{filepath.Join(nowhere, "x")}, "x"},
		"no module":          {[]string{nowhere}, "no module"},
		"two folders":        {[]string{source, source}, "expected one folder"},
		"unknown check":      {[]string{source, "--estate", declare(t, "levels: {data-file-mising: off}")}, `product.yaml:12:28: levels.data-file-mising: there is no check "data-file-mising" (did you mean "data-file-missing"?)`},
		"unknown severity":   {[]string{source, "--fail-on", "eror"}, "expected error, warning or note"},
		"unknown series":     {[]string{source, "--series", "12.0"}, "unknown"},
		"a base that is not": {[]string{source, "--base", "oci:gone"}, "gone"},
		"running is none":    {[]string{source, "--running", filepath.Join(source, "addons/lane/__manifest__.py")}, "waybill release show"},
		"explain unknown":    {[]string{"--explain", "xml-malformd"}, `did you mean "xml-malformed"?`},
	} {
		_, says, code := run(c.args...)
		require.Equal(t, exitUsage, code, "%s: %s", name, says)
		require.Contains(t, says, c.says, name)
	}
	_, says, code := said(t, "status", "-o", "sarif", "--data", nowhere)
	require.Equal(t, exitUsage, code)
	require.Contains(t, says, "expected text or json")
}

func TestCheckListAndExplain(t *testing.T) {
	out, _, code := said(t, "check", "--list")
	require.Equal(t, exitDone, code)
	for _, c := range check.Checks() {
		require.Contains(t, out, c.ID)
		explained, _, code := said(t, "check", "--explain", c.ID)
		require.Equal(t, exitDone, code)
		require.Contains(t, explained, c.Why)
	}
}

// TestCheckKnowsWhatRuns: a version lower than what runs is found, whether a server or a file says so.
func TestCheckKnowsWhatRuns(t *testing.T) {
	source := addons(t)
	put(t, source, "addons/lane/views/gone.xml", "<odoo/>")
	running := release.Release{Digest: "sha256:aa", Name: "r7", Modules: []release.Module{{Name: "lane", Version: "19.0.2.0", Checksum: "x"}}}
	content, err := json.Marshal(running)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "running.json")
	require.NoError(t, os.WriteFile(file, content, 0o644))
	many, err := json.Marshal([]check.RunningRelease{{Environment: "production", Release: running}})
	require.NoError(t, err)
	list := filepath.Join(t.TempDir(), "list.json")
	require.NoError(t, os.WriteFile(list, many, 0o644))

	data := fake(t, func(r *http.Request) (int, any) {
		if r.URL.Path == "/api/v1/status" {
			return 200, api.Status{Estate: declare(t, ""), Environments: []api.Environment{{Name: "production", Tenants: []api.Tenant{{ServingDigest: "sha256:aa"}, {ServingDigest: "sha256:aa"}, {}}}}}
		}
		require.Equal(t, "/api/v1/releases/sha256:aa", r.URL.Path)
		return 200, running
	})
	for name, args := range map[string][]string{"server": {"--data", data}, "file": {"--data", t.TempDir(), "--running", file}, "list": {"--data", t.TempDir(), "--running", list}} {
		out, says, code := said(t, append([]string{"check", source, "--base", "none"}, args...)...)
		require.Equal(t, exitFailed, code, "%s: %s%s", name, out, says)
		require.Contains(t, out, "[version-lower]", name)
		require.NotContains(t, out, "that is not known", name)
	}
}

// TestBuildRunsTheChecks: an error refuses the build before anything is made.
func TestBuildRunsTheChecks(t *testing.T) {
	source, errs := addons(t), errors.New("far enough")
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "x"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = source
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	var said quiet
	a := &app{out: &said, err: &said, data: t.TempDir()}
	run := func(c *buildChecks, declared estate.Checks) error {
		o := build.Options{Source: source, Repository: "shop", Series: "19.0", Base: tinyBase(t), Cache: t.TempDir(), Registry: build.Registry{Host: "127.0.0.1:1", Plain: true}}
		require.NoError(t, c.into(t.Context(), a, &o, declared))
		if check := o.Check; check != nil {
			o.Check = func(ctx context.Context, tree build.SourceTree) error { return errors.Join(check(ctx, tree), errs) }
		} else {
			return errs
		}
		_, err := build.Build(t.Context(), o)
		require.ErrorIs(t, err, errs)
		return err
	}
	var c buildChecks
	require.ErrorContains(t, run(&c, estate.Checks{}), "the checks refuse it (1 error")
	require.Contains(t, string(said), "addons/lane/__manifest__.py:5: error: ")
	claim, err := c.claim()
	require.NoError(t, err)
	require.Equal(t, attest.Checks, claim.Type)
	require.Contains(t, string(claim.Predicate.(json.RawMessage)), `"passed":false`)

	c = buildChecks{}
	require.NotContains(t, run(&c, estate.Checks{Levels: map[string]string{"data-file-missing": "note"}}).Error(), "refuse")
	claim, err = c.claim()
	require.NoError(t, err)
	require.Contains(t, string(claim.Predicate.(json.RawMessage)), `"passed":true`)

	c = buildChecks{skip: "the warehouse stands still"}
	require.Equal(t, errs, run(&c, estate.Checks{}))
	claim, err = c.claim()
	require.NoError(t, err)
	require.NotEqual(t, attest.Checks, claim.Type, "where checks are required, this does not do")
	require.Contains(t, string(claim.Predicate.(json.RawMessage)), `"skipped":"the warehouse stands still"`)
	require.Contains(t, string(said), "The checks were skipped: the warehouse stands still")

	require.Error(t, (&buildChecks{}).into(t.Context(), a, &build.Options{}, estate.Checks{Levels: map[string]string{"no-such": "off"}}))
}

type quiet []byte

func (q *quiet) Write(p []byte) (int, error) { *q = append(*q, p...); return len(p), nil }

// tinyBase is a root file system with as little of Odoo as a scan looks at.
func tinyBase(t *testing.T) string {
	t.Helper()
	const odoo = "usr/lib/python3/dist-packages/odoo/"
	files := map[string]string{
		odoo + "release.py":                  "version_info = (19, 0, 0, 'final', 0, '')\n",
		odoo + "addons/base/__manifest__.py": "{'name': 'Base', 'version': '1.3', 'data': ['a.xml']}",
		odoo + "addons/base/a.xml":           `<odoo><record id="main_company" model="res.company"/></odoo>`,
		"usr/bin/python3.13":                 "",
		"usr/lib/python3/dist-packages/x.py": "",
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	out, err := os.Create(file)
	require.NoError(t, err)
	w := tar.NewWriter(out)
	for _, name := range names {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), out.Close()))
	return "rootfs:" + file
}
