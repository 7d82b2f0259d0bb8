//go:build odoo

package sbom

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/sbom/sbomtest"
)

// TestRealBase builds a release on the real Odoo 19.0 (WAYBILL_BASE names it) and compares what is
// read of it with what dpkg-query and tar say of the same image.
func TestRealBase(t *testing.T) {
	base := os.Getenv("WAYBILL_BASE")
	if base == "" {
		t.Fatal("WAYBILL_BASE is not set; run: hack/base/build.sh && export WAYBILL_BASE=oci:$(hack/base/build.sh --path)")
	}
	reg := sbomtest.Registry(t, "p")
	_, err := build.ImportBase(t.Context(), base, reg, "odoo:19.0")
	require.NoError(t, err)
	rel, err := build.Build(t.Context(), build.Options{Source: sbomtest.Source(t, "sale_stock"), Repository: "acme", Name: "r1", Series: "19.0", Registry: reg})
	require.NoError(t, err)

	cache := t.TempDir()
	started := time.Now()
	inv, err := Read(t.Context(), "acme@"+rel.Digest, reg, cache)
	require.NoError(t, err)
	t.Logf("read in %s", time.Since(started))
	started = time.Now()
	again, err := Read(t.Context(), "acme:r1", reg, cache)
	require.NoError(t, err)
	t.Logf("read from the cache in %s", time.Since(started))
	require.Less(t, time.Since(started), 2*time.Second)
	require.Equal(t, string(written(t, inv)), string(written(t, again)))
	validate(t, written(t, inv))

	// dpkg-query itself, on the status file of the image.
	root := t.TempDir()
	listing := unpack(t, strings.TrimPrefix(base, "oci:"), root, "./var/lib/dpkg/status")
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "--admindir="+filepath.Join(root, "var/lib/dpkg"), "-W",
		"-f", "${db:Status-Status}|${Package}|${Version}|${Architecture}|${source:Package}|${source:Version}\n").Output()
	require.NoError(t, err)
	var want, got []string
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "installed|"); ok {
			want = append(want, rest)
		}
	}
	for _, p := range inv.Debian {
		got = append(got, strings.Join([]string{p.Name, p.Version, p.Architecture, p.Source, p.SourceVersion}, "|"))
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Greater(t, len(want), 200)
	require.Equal(t, want, got)

	// Every Python distribution that is in the image's list of files, with the package that it came in.
	var metadata, found []string
	for line := range strings.Lines(listing) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), "./"); isMetadata(name) {
			metadata = append(metadata, name)
		}
	}
	for _, d := range inv.Python {
		found = append(found, d.Path)
		require.NotEmpty(t, d.Owner, "%s: this base holds nothing but Debian's packages", d.Path)
		require.NotEmpty(t, d.Version, d.Path)
	}
	slices.Sort(metadata)
	slices.Sort(found)
	require.Equal(t, metadata, found)

	require.Equal(t, "debian 13", inv.Distro.ID+" "+inv.Distro.Version)
	require.Len(t, inv.Modules, len(rel.Base.Modules)+1)
	licensed := 0
	for _, m := range inv.Modules {
		if m.License != "" {
			licensed++
		}
	}
	require.Greater(t, licensed, 600)
	t.Logf("%d Debian packages, %d Python distributions, %d modules (%d with a license), %d bytes of CycloneDX",
		len(inv.Debian), len(inv.Python), len(inv.Modules), licensed, len(written(t, inv)))
	for _, purl := range []string{"pkg:deb/debian/odoo-19@", "pkg:deb/debian/python3-werkzeug@", "pkg:pypi/werkzeug@", "pkg:generic/odoo/sale_stock@19.0.", "pkg:generic/odoo/acme_lane@19.0.1.0"} {
		require.Contains(t, string(written(t, inv)), purl)
	}
}

// unpack writes one file of the base to a folder, with tar and nothing of ours, and returns the list of all files.
func unpack(t *testing.T, folder, to, name string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(folder)
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	img, err := index.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	list := filepath.Join(t.TempDir(), "list")
	tar := func(layer v1.Layer, args ...string) {
		content, err := layer.Uncompressed()
		require.NoError(t, err)
		defer func() { _ = content.Close() }()
		out, err := os.Create(list)
		require.NoError(t, err)
		defer func() { _ = out.Close() }()
		cmd := exec.CommandContext(t.Context(), "tar", args...)
		cmd.Stdin, cmd.Stdout = content, out
		require.NoError(t, cmd.Run(), fmt.Sprint(args))
		_, err = io.Copy(io.Discard, content)
		require.NoError(t, err)
	}
	tar(layers[0], "-x", "-C", to, name)
	tar(layers[0], "-t")
	content, err := os.ReadFile(list)
	require.NoError(t, err)
	return string(content)
}
