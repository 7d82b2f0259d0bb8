//go:build odoo

package gather

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// real is the base image of the tests: what is known of it, and its own modules unpacked, all
// files but translations.
type real struct {
	base   *base
	addons string // folder with the modules
	cache  string
	err    error
}

var realOnce sync.Once
var realBase real

func realSetup(t testing.TB) real {
	t.Helper()
	reference := os.Getenv("WAYBILL_BASE")
	if reference == "" {
		t.Fatal("WAYBILL_BASE is not set; run: hack/base/build.sh && export WAYBILL_BASE=oci:$(hack/base/build.sh --path)")
	}
	realOnce.Do(func() { realBase = unpackReal(context.Background(), t, reference) })
	require.NoError(t, realBase.err)
	return realBase
}

// TestMain removes what the tests unpacked.
func TestMain(m *testing.M) {
	code := m.Run()
	if realBase.addons != "" {
		os.RemoveAll(filepath.Dir(realBase.addons))
	}
	os.Exit(code)
}

func unpackReal(ctx context.Context, t testing.TB, reference string) (r real) {
	work, err := os.MkdirTemp("", "waybill-check-*")
	if err != nil {
		return real{err: err}
	}
	r.addons, r.cache = filepath.Join(work, "addons"), filepath.Join(work, "cache")
	img, err := build.OpenBase(ctx, reference, "", r.cache, build.Registry{})
	if err != nil {
		return real{err: err}
	}
	started := time.Now()
	if r.base, r.err = (Options{Cache: r.cache, Progress: t.Logf}).open(ctx, img); r.err != nil {
		return r
	}
	t.Logf("the base was indexed in %.1f s", time.Since(started).Seconds())
	const from = "usr/lib/python3/dist-packages/odoo/addons/"
	l := layers{
		wanted: func(name string) bool { return strings.HasPrefix(name, from) && path.Ext(name) != ".po" },
		take: func(name string, h *tar.Header, content io.Reader) error {
			file := filepath.Join(r.addons, strings.TrimPrefix(name, from))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			switch h.Typeflag {
			case tar.TypeSymlink:
				return os.Symlink(h.Linkname, file)
			case tar.TypeReg:
				out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode().Perm())
				if err != nil {
					return err
				}
				_, err = io.Copy(out, content)
				return errors.Join(err, out.Close())
			}
			return nil
		},
	}
	r.err = l.read(ctx, img)
	return r
}

func TestRealIndex(t *testing.T) {
	r := realSetup(t)
	require.Empty(t, r.base.Unusable)
	i := r.base.index
	t.Logf("%d records, %d of demo data, %d models, %d distributions, %d importable names, %d programs",
		i.ExternalIDs.Len(), i.DemoIDs.Len(), len(i.Models), len(i.Python), len(i.PythonNames), len(i.Binaries))
	for _, id := range []string{"base.main_company", "base.group_user", "sale.view_order_form", "stock.menu_stock_root", "account.access_account_account", "web.layout"} {
		require.True(t, i.ExternalIDs.Has(id), id)
	}
	require.True(t, i.DemoIDs.Has("base.user_demo"))
	require.False(t, i.ExternalIDs.Has("base.user_demo"))
	for _, name := range []string{"sale.order", "res.partner", "stock.picking", "ir.model.data"} {
		require.True(t, i.Models[name], name)
	}
	for _, name := range []string{"psycopg2", "lxml", "werkzeug"} {
		require.NotEmpty(t, i.Python[name], name)
	}
	for _, name := range []string{"psycopg2", "lxml", "os", "sys", "json", "odoo", "xml", "_ssl", "PIL"} {
		require.True(t, i.PythonNames[name], name)
	}
	require.True(t, i.Binaries["python3.13"])
	require.True(t, i.Binaries["sh"])
	require.Greater(t, len(i.Modules), 600)
	require.Greater(t, i.ExternalIDs.Len(), 30_000)
}

// TestRealModules reads Odoo's own modules as if they were a product's.
func TestRealModules(t *testing.T) {
	r := realSetup(t)
	var in *check.Input
	for _, pass := range []string{"cold", "warm"} {
		started := time.Now()
		var err error
		in, err = Folder(t.Context(), r.addons, []string{"."}, Options{Series: "19.0", Base: os.Getenv("WAYBILL_BASE"), Cache: r.cache})
		require.NoError(t, err)
		gathered := time.Since(started)
		report := check.Run(in, check.Policy{})
		t.Logf("%s: gathered %d modules in %s, checked in %s: %+v", pass, len(in.Modules), gathered, time.Since(started)-gathered, report.Counts)
	}
	require.Greater(t, len(in.Modules), 600)
	sources, parsed := 0, 0
	for _, m := range in.Modules {
		require.NoError(t, m.ManifestErr, m.Folder)
		for _, f := range m.Files {
			if path.Ext(f.Path) != ".py" || f.Content == nil {
				continue
			}
			sources++
			if f.Python != nil {
				parsed++
				require.Empty(t, f.Python.SyntaxError, f.Path)
			}
		}
	}
	t.Logf("%d Python sources; not looked at: %v", sources, in.Unread)
	require.Equal(t, sources, parsed)
	require.Greater(t, sources, 7000)
}

// TestRealManifestsAgain: manifests and graph, read again and again, with what it took; make
// bench-build sets it beside Python's.
func TestRealManifestsAgain(t *testing.T) {
	r := realSetup(t)
	series, err := odoo.Series("19.0", false)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(r.addons, "*", "__manifest__.py"))
	require.NoError(t, err)
	read := func() time.Duration {
		started := time.Now()
		modules, err := Manifests(t.Context(), r.addons, []string{"."}, series)
		require.NoError(t, err)
		_, err = odoo.NewGraph(asReleased(modules))
		require.NoError(t, err)
		require.Greater(t, len(modules), 620)
		return time.Since(started)
	}
	cold, warm := time.Hour, time.Hour
	for range 5 {
		for _, file := range files {
			forget(t, file)
		}
		cold = min(cold, read())
		warm = min(warm, read())
	}
	t.Logf("%d manifests and their graph: cold %s, warm %s", len(files), cold, warm)
}

// forget has the kernel drop what it remembers of a file.
func forget(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)))
}

func BenchmarkCheckBaseManifests(b *testing.B) {
	r := realSetup(b)
	series, err := odoo.Series("19.0", false)
	require.NoError(b, err)
	defer cpu(b)()
	for b.Loop() {
		modules, err := Manifests(b.Context(), r.addons, []string{"."}, series)
		require.NoError(b, err)
		_, err = odoo.NewGraph(asReleased(modules))
		require.NoError(b, err)
	}
}

func BenchmarkCheckBaseWhole(b *testing.B) {
	r := realSetup(b)
	o := Options{Series: "19.0", Base: os.Getenv("WAYBILL_BASE"), Cache: r.cache}
	_, err := Folder(b.Context(), r.addons, []string{"."}, o) // what Python says is remembered from here on
	require.NoError(b, err)
	defer cpu(b)()
	for b.Loop() {
		in, err := Folder(b.Context(), r.addons, []string{"."}, o)
		require.NoError(b, err)
		check.Run(in, check.Policy{})
	}
}

func asReleased(modules []*check.Module) []release.Module {
	var list []release.Module
	for _, m := range modules {
		if m.Manifest != nil && m.Manifest.Installable {
			list = append(list, release.Module{Name: m.Name, Version: m.Version, Depends: slices.DeleteFunc(slices.Clone(m.Manifest.Depends), func(d string) bool { return m.Name == "base" })})
		}
	}
	return list
}

// cpu reports the processor's time, which others on the machine don't change.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Milliseconds())/float64(b.N), "cpu-ms/op") }
}
