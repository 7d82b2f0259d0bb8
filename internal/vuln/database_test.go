package vuln

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// advise is one advisory in OSV's format, as short as a test needs it.
type advise map[string]any

func about(ecosystem, name string, ranges ...any) map[string]any {
	return map[string]any{"package": advise{"ecosystem": ecosystem, "name": name}, "ranges": ranges}
}

// span is a range of OSV: "introduced 0 fixed 1.2".
func span(events string) map[string]any {
	words := strings.Fields(events)
	var list []any
	for i := 0; i < len(words); i += 2 {
		list = append(list, advise{words[i]: words[i+1]})
	}
	return map[string]any{"type": "ECOSYSTEM", "events": list}
}

func advisoryOf(id string, fields advise, affected ...any) advise {
	a := advise{"id": id, "modified": "2026-11-20T10:00:00Z", "summary": "about " + id, "affected": affected}
	for k, v := range fields {
		a[k] = v
	}
	return a
}

func folder(t *testing.T, advisories ...advise) string {
	t.Helper()
	dir := t.TempDir()
	for _, a := range advisories {
		content, err := json.Marshal(a)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, a["id"].(string)+".json"), content, 0o644))
	}
	return dir
}

func zipped(t *testing.T, files map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.zip")
	out, err := os.Create(file)
	require.NoError(t, err)
	w := zip.NewWriter(out)
	for name, content := range files {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, out.Close())
	return file
}

func find(t *testing.T, database string, components ...Component) []Finding {
	t.Helper()
	d, err := Open(t.Context(), []string{database}, t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	found, err := d.Find(components)
	require.NoError(t, err)
	return found
}

func deb(name, version string) Component {
	return Component{Ecosystem: "Debian:13", Name: name, Version: version}
}
func pypi(name, version string) Component {
	return Component{Ecosystem: PyPI, Name: name, Version: version}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		affected map[string]any
		one      Component
		hit      bool
		fixed    string
	}{
		{about("Debian:13", "x", span("introduced 0 fixed 1.2-3")), deb("x", "1.2-2"), true, "1.2-3"},
		{about("Debian:13", "x", span("introduced 0 fixed 1.2-3")), deb("x", "1.2-3"), false, ""},
		{about("Debian:13", "x", span("introduced 0 fixed 0")), deb("x", "1.2-3"), false, ""},
		{about("Debian:13", "x", span("introduced 0")), deb("x", "99"), true, ""},
		{about("Debian:12", "x", span("introduced 0")), deb("x", "1"), false, ""},
		{about("Debian", "x", span("introduced 0")), deb("x", "1"), true, ""},
		{about("Debian:13", "xy", span("introduced 0")), deb("x", "1"), false, ""},
		{about("Debian:13", "x", span("introduced 2 fixed 3")), deb("x", "1:2"), false, ""},
		{about("Debian:13", "x", span("introduced 2~rc1 fixed 3")), deb("x", "2~rc1"), true, "3"},
		{about("PyPI", "Zope.Interface", span("introduced 1.0 fixed 1.5 introduced 2.0 fixed 2.5")), pypi("zope-interface", "1.7"), false, ""},
		{about("PyPI", "zope_interface", span("fixed 2.5 introduced 2.0 fixed 1.5 introduced 1.0")), pypi("zope-interface", "2.4.9"), true, "2.5"},
		{about("PyPI", "x", span("introduced 0 last_affected 1.5")), pypi("x", "1.5.0"), true, "above 1.5"},
		{about("PyPI", "x", span("introduced 0 last_affected 1.5")), pypi("x", "1.5.post1"), false, ""},
		{about("PyPI", "x", span("introduced 0 limit 2.0")), pypi("x", "2.0"), false, ""},
		{about("PyPI", "x", span("introduced 0 limit *")), pypi("x", "2.0"), true, ""},
		{about("PyPI", "x", span("introduced 0 fixed 1"), span("introduced 2 fixed 3")), pypi("x", "2.1"), true, "3"},
		{about("PyPI", "x", span("introduced 0 fixed 3.0rc1")), pypi("x", "3.0.dev1"), true, "3.0rc1"},
		{about("PyPI", "x", map[string]any{"type": "GIT", "events": []any{advise{"introduced": "0"}}}), pypi("x", "2.1"), false, ""},
		{about("Odoo", "sale_x", span("introduced 19.0 fixed 19.0.1.2")), Component{Ecosystem: "Odoo:19.0", Name: "sale_x", Version: "19.0.1.1.9"}, true, "19.0.1.2"},
		{about("OCA:18.0", "sale_x", span("introduced 0")), Component{Ecosystem: "Odoo:19.0", Name: "sale_x", Version: "19.0.1.1"}, false, ""},
		{about("OCA:19.0", "sale_x", span("introduced 0")), Component{Ecosystem: "Odoo:19.0", Name: "sale_x", Version: "19.0.1.1"}, true, ""},
		{about("Ubuntu:24.04:LTS", "x", span("introduced 0 fixed 2")), Component{Ecosystem: "Ubuntu:24.04", Name: "x", Version: "1"}, true, "2"},
	} {
		found := find(t, folder(t, advisoryOf("CVE-2026-1", nil, c.affected)), c.one)
		require.Equal(t, c.hit, len(found) == 1, "%v against %v", c.affected, c.one)
		if c.hit {
			require.Equal(t, c.fixed, found[0].Fixed, "%v against %v", c.affected, c.one)
			require.Empty(t, found[0].Doubt)
		}
	}
}

func TestListedVersions(t *testing.T) {
	listed := about("PyPI", "x", span("introduced 2.0 fixed 2.5"))
	listed["versions"] = []string{"1.0", "2.1", "odd-name"}
	dir := folder(t, advisoryOf("CVE-2026-1", nil, listed))
	for version, hit := range map[string]bool{"1.0.0": true, "1.1": false, "2.2": true, "odd-name": true} {
		require.Equal(t, hit, len(find(t, dir, pypi("x", version))) == 1, version)
	}
}

// What cannot be compared is never a pass.
func TestDoubt(t *testing.T) {
	dir := folder(t, advisoryOf("CVE-2026-1", nil, about("PyPI", "x", span("introduced 0 fixed 1.0"))),
		advisoryOf("CVE-2026-2", nil, about("PyPI", "y", span("introduced 0 fixed what?"))))
	found := find(t, dir, pypi("x", "abc"), pypi("x", ""), pypi("y", "1.0"), pypi("x", "1.0"))
	require.Len(t, found, 3)
	for _, f := range found {
		require.Contains(t, f.Doubt, "cannot be compared", f)
	}
}

func TestOneFindingForAllNames(t *testing.T) {
	flask := func(fixed string) any { return about("PyPI", "flask", span("introduced 0 fixed "+fixed)) }
	glibc := func(fixed string) any { return about("Debian:13", "glibc", span("introduced 0 fixed "+fixed)) }
	dir := folder(t,
		advisoryOf("GHSA-aaaa-bbbb-cccc", advise{"aliases": []string{"CVE-2026-1"}, "database_specific": advise{"severity": "MODERATE"}}, flask("3.0")),
		advisoryOf("PYSEC-2026-9", advise{"aliases": []string{"GHSA-aaaa-bbbb-cccc"}, "severity": []any{advise{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}}, flask("3.1")),
		advisoryOf("PYSEC-2026-10", advise{"withdrawn": "2026-11-01T00:00:00Z"}, flask("4")),
		advisoryOf("DEBIAN-CVE-2026-5", advise{"upstream": []string{"CVE-2026-5"}}, glibc("2.41-13")),
		advisoryOf("DEBIAN-CVE-2026-6", advise{"upstream": []string{"CVE-2026-6"}}, glibc("2.41-14")),
		advisoryOf("DSA-1-1", advise{"upstream": []string{"CVE-2026-5", "CVE-2026-6", "CVE-2026-7"}}, glibc("2.41-14")),
		advisoryOf("DLA-2-1", advise{"related": []string{"CVE-2026-5"}}, glibc("2.41-13")),
	)
	found := find(t, dir, pypi("flask", "2.0"), deb("glibc", "2.41-12"))
	var told []string
	for _, f := range found {
		told = append(told, fmt.Sprintf("%s %v %s %.1f %s", f.ID, f.Names, f.Severity, f.Score, f.Fixed))
	}
	require.ElementsMatch(t, []string{
		"CVE-2026-1 [GHSA-aaaa-bbbb-cccc PYSEC-2026-9] critical 9.8 3.1",
		"CVE-2026-5 [DSA-1-1 DLA-2-1 DEBIAN-CVE-2026-5] unrated 0.0 2.41-14",
		"CVE-2026-6 [DSA-1-1 DEBIAN-CVE-2026-6] unrated 0.0 2.41-14",
		"CVE-2026-7 [DSA-1-1] unrated 0.0 2.41-14",
	}, told)
	require.Equal(t, "CVE-2026-1", found[0].ID, "the worst comes first")
}

func TestSeverities(t *testing.T) {
	rated := func(score ...string) advise {
		var list []any
		for _, s := range score {
			list = append(list, advise{"type": "CVSS", "score": s})
		}
		return advise{"severity": list}
	}
	urgent := func(word string) map[string]any {
		a := about("Debian:13", "x", span("introduced 0"))
		a["ecosystem_specific"] = advise{"urgency": word}
		return a
	}
	const high31, low40, v2 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N", "AV:N/AC:L/Au:N/C:C/I:C/A:C"
	for name, c := range map[string]struct {
		fields   advise
		affected map[string]any
		want     Severity
		score    float64
	}{
		"3.1":                      {rated(high31), urgent(""), High, 7.5},
		"the higher counts":        {rated(low40, high31), urgent(""), High, 7.5},
		"2 only without another":   {rated(v2, low40), urgent(""), Low, 1},
		"2":                        {rated(v2), urgent(""), Critical, 10},
		"3.0":                      {rated("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"), urgent(""), None, 0},
		"unreadable":               {rated("CVSS:3.1/AV:X"), urgent(""), Unrated, 0},
		"urgency":                  {nil, urgent("high"), High, 0},
		"not yet":                  {nil, urgent("not yet assigned"), Unrated, 0},
		"unimportant beats vector": {rated(high31), urgent("unimportant"), None, 7.5},
		"GitHub's word":            {advise{"database_specific": advise{"severity": "CRITICAL"}}, urgent(""), Critical, 0},
		"Ubuntu's":                 {rated("negligible"), urgent(""), Low, 0},
	} {
		t.Run(name, func(t *testing.T) {
			found := find(t, folder(t, advisoryOf("CVE-2026-1", c.fields, c.affected)), deb("x", "1"))
			require.Len(t, found, 1)
			require.Equal(t, c.want, found[0].Severity)
			require.InDelta(t, c.score, found[0].Score, 0.001)
		})
	}
}

func TestState(t *testing.T) {
	zip := zipped(t, map[string]string{
		"CVE-1.json": `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:13","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]},{"package":{"ecosystem":"Debian:12","name":"x"},"versions":["1"]}]}`,
		"CVE-2.json": `{"id":"CVE-2","modified":"2026-03-02T00:00:00Z","withdrawn":"2026-03-02T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:13","name":"x"}}]}`,
		"NPM-1.json": `{"id":"NPM-1","modified":"2026-05-02T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"x"}}]}`,
		"readme.txt": `nothing`,
	})
	cache := t.TempDir()
	d, err := Open(t.Context(), []string{zip, folder(t, advisoryOf("PYSEC-1", nil, about("PyPI", "x", span("introduced 0"))))}, cache)
	require.NoError(t, err)
	require.Equal(t, map[string]Ecosystem{
		Debian: {1, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}, PyPI: {1, time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)},
	}, d.State.Ecosystems)
	require.Equal(t, map[string]int{"Debian:12": 1, "Debian:13": 1, "PyPI": 1}, d.State.Releases)
	require.NoError(t, d.Close())
}

// An index is made once for a state of the databases, and a renewal makes another.
func TestIndexOncePerState(t *testing.T) {
	cache := t.TempDir()
	file := filepath.Join(t.TempDir(), "db", "a.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	put := func(content string, at time.Time) {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
		require.NoError(t, os.Chtimes(file, at, at))
	}
	scan := func() ([]Finding, string, error) {
		d, err := Open(t.Context(), []string{filepath.Dir(file)}, cache)
		if err != nil {
			return nil, "", err
		}
		defer func() { require.NoError(t, d.Close()) }()
		found, err := d.Find([]Component{pypi("x", "1")})
		return found, d.State.Fingerprint, err
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	one := `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"x"},"versions":["1"]}]}`
	put(one, at)
	found, first, err := scan()
	require.NoError(t, err)
	require.Len(t, found, 1)
	// The same state is not read again: content that would not parse goes unnoticed behind the same size and time.
	put(strings.Repeat("!", len(one)), at)
	found, again, err := scan()
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, first, again)
	put(strings.Repeat("!", len(one)), at.Add(time.Second))
	_, _, err = scan()
	require.ErrorIs(t, err, ErrDatabase)
	for i := range 3 * keptIndexes {
		put(one, at.Add(time.Duration(i+2)*time.Second))
		_, _, err = scan()
		require.NoError(t, err)
	}
	kept, err := filepath.Glob(filepath.Join(cache, "vulnerabilities", "*.index"))
	require.NoError(t, err)
	require.Len(t, kept, keptIndexes)
	// A damaged index is made anew.
	_, last, err := scan()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(cache, "vulnerabilities", fmt.Sprintf("%d-%s.index", indexVersion, last)), []byte("rubbish"), 0o644))
	found, _, err = scan()
	require.NoError(t, err)
	require.Len(t, found, 1)
}

func TestDamagedDatabases(t *testing.T) {
	good := `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[]}`
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	whole, err := os.ReadFile(zipped(t, map[string]string{"a.json": good, "b.json": good}))
	require.NoError(t, err)
	bomb := func() string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create("CVE-1.json")
		require.NoError(t, err)
		zeros := make([]byte, 1<<20)
		for range maxAdvisory>>20 + 1 {
			_, err := f.Write(zeros)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.Less(t, b.Len(), 1<<20)
		return file("bomb.zip", b.String())
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":          {filepath.Join(t.TempDir(), "none"), "none: no such file or directory; put a folder or a zip file"},
		"empty folder":     {t.TempDir(), "holds no advisory"},
		"empty zip":        {zipped(t, map[string]string{"readme.txt": "x"}), "all.zip holds no advisory: no .json file is in it"},
		"no zip":           {file("all.zip", "not a zip"), "all.zip cannot be read as a zip file"},
		"cut zip":          {file("cut.zip", string(whole[:len(whole)/2])), "cut.zip cannot be read as a zip file"},
		"flipped bytes":    {file("flip.zip", strings.Replace(string(whole), string(whole[45:50]), "XXXXX", 1)), `flip.zip: "`},
		"no JSON":          {zipped(t, map[string]string{"CVE-1.json": good, "CVE-2.json": "{"}), `all.zip: "CVE-2.json": it is no advisory in OSV's format`},
		"other JSON":       {file("a.json", `{"name": "x"}`), "a.json: it is no advisory in OSV's format: it has no id"},
		"no date":          {file("a.json", `{"id": "CVE-1"}`), `advisory CVE-1 has no date in "modified"`},
		"wrong type":       {file("a.json", `{"id": "CVE-1", "modified": "2026-01-02T00:00:00Z", "affected": {}}`), "a.json: it is no advisory"},
		"unknown event":    {file("a.json", `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":[{"began":"0"}]}]}]}`), `the event "began"`},
		"unknown range":    {file("a.json", `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"x"},"ranges":[{"type":"MOON"}]}]}`), `the type "MOON"`},
		"nameless package": {file("a.json", `{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI"}}]}`), "without a name"},
		"bomb":             {bomb(), `bomb.zip: "CVE-1.json" unpacks to more than 32 MB`},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			_, err := Open(t.Context(), []string{c.path}, cache)
			require.ErrorIs(t, err, ErrDatabase)
			require.ErrorContains(t, err, c.want)
			left, err := filepath.Glob(filepath.Join(cache, "vulnerabilities", "*.index"))
			require.NoError(t, err)
			require.Empty(t, left, "an index of half a database was kept")
		})
	}
}

func FuzzAdvisory(f *testing.F) {
	f.Add([]byte(`{"id":"CVE-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.0rc1"}]}],"versions":["0.9"]}]}`))
	f.Add([]byte(`{"id":"DSA-1","modified":"2026-01-02T00:00:00Z","related":["CVE-1","CVE-2"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],"affected":[{"package":{"ecosystem":"Debian:13","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"1:2~a"},{"last_affected":"9-1"},{"limit":"*"}]}]}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, records, err := parseAdvisory(content)
		if err != nil {
			return
		}
		for _, k := range records {
			read := orderOf(baseOf(k.ecosystem))
			for _, given := range []string{"1.0", "1:2-3", "", "x"} {
				own, wrong := read(given)
				k.record.match(given, own, wrong, read)
			}
		}
	})
}
