package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/release"
)

// twoReleases is a server that knows r1, which production runs, and r2.
func twoReleases(t *testing.T) string {
	t.Helper()
	module := func(name, version, sum string, depends ...string) release.Module {
		return release.Module{Name: name, Version: version, Checksum: sum, Depends: depends}
	}
	base := release.Base{Reference: "odoo:19.0", Digest: "sha256:" + strings.Repeat("b", 64), Version: "odoo-19 19.0.0", Python: "python3.13",
		Modules: []release.Module{module("base", "19.0.1.3", "b"), module("stock", "19.0.1.1", "s", "base")}}
	r1 := release.Release{Name: "r1", Repository: "acme", Digest: "sha256:" + strings.Repeat("1", 64), Series: "19.0", Source: "https://git.example/acme", Commit: strings.Repeat("c", 40),
		Created: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), Addons: []string{"addons"}, Waybill: "v1", BridgeProtocol: 1, Base: base,
		Modules: []release.Module{module("acme_dock", "19.0.1.0", "d1", "stock"), module("acme_label", "19.0.1.0", "l1", "acme_dock"), module("acme_old", "19.0.1.0", "o", "base")}}
	r2 := r1
	r2.Name, r2.Digest = "r2", "sha256:"+strings.Repeat("2", 64)
	r2.Modules = []release.Module{module("acme_dock", "19.0.1.1", "d2", "stock"), r1.Modules[1], module("acme_new", "19.0.1.0", "n", "base")}
	return fake(t, func(r *http.Request) (int, any) {
		switch strings.TrimPrefix(r.URL.Path, "/api/v1/") {
		case "releases/r1", "releases/" + r1.Digest:
			return 200, r1
		case "releases/r2", "releases/" + r2.Digest:
			return 200, r2
		case "status":
			return 200, api.Status{Estate: t.TempDir(), Environments: []api.Environment{
				{Name: "test", Tenants: []api.Tenant{{Name: "acme", Serving: "r2", ServingDigest: r2.Digest}}},
				{Name: "production", Tenants: []api.Tenant{{Name: "acme", Serving: "r1", ServingDigest: r1.Digest}, {Name: "shop", Serving: "r1", ServingDigest: r1.Digest}, {Name: "new"}}},
			}}
		}
		return 404, map[string]any{"title": "Not Found", "detail": "nothing is known under this name or ID"}
	})
}

func TestReleaseDiff(t *testing.T) {
	data := twoReleases(t)
	out, err, code := said(t, "release", "diff", "r1", "r2", "--data", data)
	require.Equal(t, exitDone, code, err)
	require.Equal(t, `r1 (cccccccccccc) → r2 (cccccccccccc)
  changed  acme_dock   19.0.1.0 → 19.0.1.1  version 19.0.1.0 → 19.0.1.1
  added    acme_new    19.0.1.0             new
  removed  acme_old    19.0.1.0             no longer in the release
  depends  acme_label  19.0.1.0             depends on acme_dock
  A database that has a removed module installed cannot take the release: uninstall it there first.
`, out)
	out, _, _ = said(t, "release", "diff", "acme@sha256:"+strings.Repeat("2", 64), "r2", "--data", data)
	require.Contains(t, out, "nothing changed: the same modules on the same base")
	out, err, code = said(t, "release", "diff", "r1", "r2", "--data", data, "-o", "json")
	require.Equal(t, exitDone, code, err)
	var changes releaseChanges
	require.NoError(t, json.Unmarshal([]byte(out), &changes))
	require.Equal(t, "acme_dock", changes.Changed[0].Name)
	require.Equal(t, "r2", changes.To.Name)
	_, err, code = said(t, "release", "diff", "r1", "r9", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "nothing is known")
	_, err, code = said(t, "release", "diff", "r1", "r2", "--registry", "127.0.0.1:1")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "expected NAME:TAG or NAME@sha256:…, for example acme:r1")
}

func TestReleaseShow(t *testing.T) {
	data := twoReleases(t)
	out, err, code := said(t, "release", "show", "r2", "--data", data)
	require.Equal(t, exitDone, code, err)
	for _, want := range []string{
		"r2  acme@sha256:2222",
		"https://git.example/acme, addons",
		"odoo:19.0, Odoo odoo-19 19.0.0 on python3.13, 2 modules",
		"Waybill v1, bridge protocol 1",
		"acme_label  19.0.1.0  needs acme_dock",
		"test serves this release: acme\n",
		"production serves r1: acme, shop\n  changed  acme_dock",
		"\nChecks\n  not known: ", "\nVulnerabilities\n  not known: ", "\nSignature\n  not known: ",
	} {
		require.Contains(t, out, want)
	}
	out, err, code = said(t, "release", "show", "r2", "--data", data, "-o", "json")
	require.Equal(t, exitDone, code, err)
	var r release.Release
	require.NoError(t, json.Unmarshal([]byte(out), &r), "it stays readable as a release")
	require.Equal(t, "r2", r.Name)
	var shown struct {
		Running []struct{ Environment string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &shown))
	require.Len(t, shown.Running, 2)
}

func TestComparisonReadsWell(t *testing.T) {
	said := func(c build.Comparison) string {
		var b bytes.Buffer
		showComparison(&b, c)
		return b.String()
	}
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	same := build.Comparison{Name: "r1", Commit: "c", Base: digest("b"), Release: digest("1"), Rebuilt: digest("1"), Same: true,
		Layers: []build.LayerComparison{{What: "base 1", Same: true}, {What: "bridge", Same: true}}}
	require.Contains(t, said(same), "✓ base 1\n✓ bridge\n\nReproduced: the same digest, so the same bytes.\n")
	packed := same
	packed.Rebuilt = digest("2")
	packed.Layers = []build.LayerComparison{{What: "bridge", Same: true, Packed: true}}
	require.Contains(t, said(packed), "Another compressor packed the layers")
	other := same
	other.Same, other.Rebuilt, other.Notes = false, digest("2"), []string{"the release was built by Waybill v1, this is Waybill v2; if the bridge differs, take that version"}
	other.Layers = append(other.Layers, build.LayerComparison{What: "addons acme_lane", Release: "x", Rebuilt: "y", More: 3, Files: []build.FileDifference{
		{Path: "opt/a.py", Kind: "content", Release: digest("a") + ", 5 bytes", Rebuilt: digest("b") + ", 6 bytes"},
		{Path: "opt/b.py", Kind: "missing", Release: "folder"},
		{Path: "opt/c.py", Kind: "extra", Rebuilt: "link to x"},
	}}, build.LayerComparison{What: "addons acme_dock", Release: "x"})
	other.Differences = []build.Difference{{Field: "configuration.config.User", Release: `"0:0"`, Rebuilt: `"10001:10001"`}}
	require.Equal(t, `r1  `+digest("1")+`
  commit c on base `+digest("b")+`
  note: the release was built by Waybill v1, this is Waybill v2; if the bridge differs, take that version

✓ base 1
✓ bridge
✗ addons acme_lane
    opt/a.py  content                    sha256:aaaaaaaaaaaa…, 5 bytes → sha256:bbbbbbbbbbbb…, 6 bytes
    opt/b.py  only in the release        folder
    opt/c.py  only in the rebuilt layer  link to x
    and 3 more; -o json has the rest
✗ addons acme_dock: only in the release
✗ configuration and annotations
    configuration.config.User  "0:0"  → "10001:10001"

Not reproduced: 2 of 4 layers and 1 values of configuration and annotations differ (release → rebuilt).
`, said(other))
}
