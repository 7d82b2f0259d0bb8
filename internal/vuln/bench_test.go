package vuln

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// realistic writes a database as large as those of OSV: n advisories of Debian about 3,000 source
// packages in three releases, with the lists of versions that OSV adds, and a quarter as many of PyPI.
func realistic(t testing.TB, n int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.zip")
	out, err := os.Create(file)
	require.NoError(t, err)
	w := zip.NewWriter(out)
	random := rand.New(rand.NewPCG(1, 2))
	versions := func(form string) (list []string) {
		for i := range random.IntN(60) {
			list = append(list, fmt.Sprintf(form, 1+i/10, i%10))
		}
		return list
	}
	put := func(a advise) {
		f, err := w.Create(a["id"].(string) + ".json")
		require.NoError(t, err)
		require.NoError(t, json.NewEncoder(f).Encode(a))
	}
	for i := range n {
		cve := fmt.Sprintf("CVE-20%02d-%d", 10+i%17, i)
		name := fmt.Sprintf("source%d", int(random.ExpFloat64()*400)%3000) // few packages have many
		var affected []any
		for _, release := range []string{"Debian:12", "Debian:13", "Debian:14"} {
			one := about(release, name, span(fmt.Sprintf("introduced 0 fixed %d.%d-1", 1+random.IntN(6), random.IntN(10))))
			one["versions"] = versions("%d.%d-1")
			affected = append(affected, one)
		}
		put(advisoryOf("DEBIAN-"+cve, advise{"upstream": []string{cve}, "severity": []any{advise{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}}, "details": fmt.Sprintf("%0600d", i)}, affected...))
		if i%4 == 0 {
			one := about("PyPI", fmt.Sprintf("dist%d", random.IntN(5000)), span(fmt.Sprintf("introduced 0 fixed %d.0", 1+random.IntN(6))))
			one["versions"] = versions("%d.%d")
			put(advisoryOf(fmt.Sprintf("PYSEC-%d", i), advise{"aliases": []string{cve}}, one))
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, out.Close())
	return file
}

// image is as much as an image of Odoo holds.
func image() []Component {
	var all []Component
	for i := range 250 {
		all = append(all, deb(fmt.Sprintf("source%d", i*12), "4.2-1"))
	}
	for i := range 80 {
		all = append(all, pypi(fmt.Sprintf("dist%d", i*60), "3.0"))
	}
	for i := range 630 {
		all = append(all, Component{Ecosystem: "Odoo:19.0", Name: fmt.Sprintf("module%d", i), Version: "19.0.1.0"})
	}
	return all
}

// A scan is much quicker than a second, and memory does not grow with the database.
func TestScanIsQuick(t *testing.T) {
	database, cache := realistic(t, 4_000), t.TempDir()
	started := time.Now()
	d, err := Open(t.Context(), []string{database}, cache)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	t.Logf("index of 5,000 advisories in %s", time.Since(started))

	best := time.Hour
	for range 3 {
		started = time.Now()
		d, err = Open(t.Context(), []string{database}, cache)
		require.NoError(t, err)
		found, err := d.Find(image())
		require.NoError(t, err)
		require.NotEmpty(t, found)
		require.NoError(t, d.Close())
		best = min(best, time.Since(started))
	}
	t.Logf("scan of %d components in %s", len(image()), best)
	require.Less(t, best, time.Second)
}

func BenchmarkIndex(b *testing.B) {
	database := realistic(b, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		d, err := Open(b.Context(), []string{database}, b.TempDir())
		require.NoError(b, err)
		require.NoError(b, d.Close())
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MB-of-memory")
}

func BenchmarkScan(b *testing.B) {
	database, cache := realistic(b, 50_000), b.TempDir()
	d, err := Open(b.Context(), []string{database}, cache)
	require.NoError(b, err)
	require.NoError(b, d.Close())
	components := image()
	found := 0
	for b.Loop() {
		d, err := Open(b.Context(), []string{database}, cache)
		require.NoError(b, err)
		list, err := d.Find(components)
		require.NoError(b, err)
		require.NoError(b, d.Close())
		found = len(list)
	}
	b.ReportMetric(float64(found), "findings")
}
