package sbom

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/release"
)

// file is one entry of a layer.
type file struct{ name, content string }

func layerOf(t *testing.T, files ...file) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "./" + f.name, Mode: 0o644, Size: int64(len(f.content))}))
		_, err := io.WriteString(w, f.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	return l
}

const site = "usr/lib/python3/dist-packages/"

var baseFiles = []file{
	{"usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n"},
	{"var/lib/dpkg/status", `Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.41-12
Description: libraries
 Version: 9 is not the version

Package: bash
Status: hold ok installed
Architecture: amd64
Source: bash (5.2.37-2)
Version: 5.2.37-2+b3

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
`},
	{"var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2025b-4\nArchitecture: all\n"},
	{"var/lib/dpkg/status.d/tzdata.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/share/zoneinfo/UTC\n"},
	{"var/lib/dpkg/info/python3-jinja2.list", "/.\n/usr\n/" + site + "Jinja2-3.1.6.dist-info\n/" + site + "Jinja2-3.1.6.dist-info/METADATA\n"},
	{site + "Jinja2-3.1.6.dist-info/METADATA", "Metadata-Version: 2.4\nName: Jinja2\nVersion: 3.1.6\nLicense-Expression: BSD-3-Clause\n\nName: not the name\n"},
	{site + "zope.interface-7.2.egg-info/PKG-INFO", "Name: zope.interface\nVersion: 7.2\nLicense: ZPL 2.1\n  and more\n\n"},
	{"usr/local/lib/python3.13/site-packages/old-1.0.egg-info", "Name: Old_Thing\r\nVersion: 1.0\r\n\r\n"},
	{"usr/local/lib/python3.13/site-packages/bare-2.0-py3.13.egg-info/PKG-INFO", "Metadata-Version: 1.0\n"},
	{site + "odoo/addons/base/__manifest__.py", "{'name': 'Base', 'license': 'LGPL-3'}"},
	{site + "odoo/addons/stock/__manifest__.py", "{'name': 'Stock', 'license': 'OEEL-1'}"},
}

func opened(t *testing.T, above ...v1.Layer) build.Opened {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, append([]v1.Layer{layerOf(t, baseFiles...)}, above...)...)
	require.NoError(t, err)
	digest, err := img.Digest()
	require.NoError(t, err)
	return build.Opened{Image: img, BaseLayers: 1, Release: release.Release{
		Digest: digest.String(), Repository: "acme", Name: "r1", Series: "19.0", Source: "https://example.com/acme.git", Commit: strings.Repeat("a", 40),
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Base: release.Base{Digest: "sha256:base", Version: "19.0", AddonsPaths: []string{"/" + site + "odoo/addons"}, Modules: []release.Module{
			{Name: "base", Version: "19.0.1.3", Checksum: "b"}, {Name: "stock", Version: "19.0.1.1", Depends: []string{"base"}, Checksum: "s"}}},
		Modules: []release.Module{{Name: "acme_lane", Version: "19.0.1.0", Depends: []string{"stock"}, Checksum: "l"}},
	}}
}

func lane(t *testing.T) v1.Layer {
	return layerOf(t, file{"opt/waybill/addons/acme_lane/__manifest__.py", "{'name': 'Lane', 'license': 'AGPL-3'}"})
}

func TestReadsWhatIsThere(t *testing.T) {
	inv, err := read(t.Context(), opened(t, lane(t)), t.TempDir())
	require.NoError(t, err)
	require.Equal(t, Distro{"debian", "13", "Debian GNU/Linux 13 (trixie)"}, inv.Distro)
	require.Equal(t, []Package{
		{"bash", "5.2.37-2+b3", "amd64", "bash", "5.2.37-2"},
		{"libc6", "2.41-12", "amd64", "glibc", "2.41-12"},
		{"tzdata", "2025b-4", "all", "tzdata", "2025b-4"},
	}, inv.Debian)
	require.Equal(t, []Distribution{
		{"bare", "2.0", "", "usr/local/lib/python3.13/site-packages/bare-2.0-py3.13.egg-info/PKG-INFO", ""},
		{"Jinja2", "3.1.6", "BSD-3-Clause", site + "Jinja2-3.1.6.dist-info/METADATA", "python3-jinja2"},
		{"Old_Thing", "1.0", "", "usr/local/lib/python3.13/site-packages/old-1.0.egg-info", ""},
		{"zope.interface", "7.2", "", site + "zope.interface-7.2.egg-info/PKG-INFO", ""},
	}, inv.Python)
	require.Equal(t, "zope-interface", inv.Python[3].Normal())
	var modules []string
	for _, m := range inv.Modules {
		modules = append(modules, m.Name+" "+m.License)
	}
	require.Equal(t, []string{"acme_lane AGPL-3", "base LGPL-3", "stock OEEL-1"}, modules)
}

// A layer above the base takes files away, replaces them, and hides whole folders.
func TestLayersHideWhatIsBelow(t *testing.T) {
	cache := t.TempDir()
	names := func(above ...v1.Layer) string {
		inv, err := read(t.Context(), opened(t, above...), cache)
		require.NoError(t, err)
		var list []string
		for _, d := range inv.Python {
			list = append(list, d.Name+"="+d.Version)
		}
		for _, p := range inv.Debian {
			list = append(list, p.Name)
		}
		return strings.Join(list, " ")
	}
	const all = "bare=2.0 Jinja2=3.1.6 Old_Thing=1.0 zope.interface=7.2 bash libc6 tzdata"
	require.Equal(t, all, names())
	require.Equal(t, "bare=2.0 Old_Thing=1.0 zope.interface=7.2 bash libc6 tzdata", names(layerOf(t, file{site + ".wh.Jinja2-3.1.6.dist-info", ""})))
	require.Equal(t, "bare=2.0 Jinja2=3.1.7 Old_Thing=1.0 zope.interface=7.2 bash libc6 tzdata",
		names(layerOf(t, file{site + ".wh.Jinja2-3.1.6.dist-info", ""}, file{site + "Jinja2-3.1.7.dist-info/METADATA", "Name: Jinja2\nVersion: 3.1.7\n"})))
	require.Equal(t, "bare=2.0 Old_Thing=1.0 bash libc6 tzdata", names(layerOf(t, file{site + ".wh..wh..opq", ""})))
	require.Equal(t, "bare=2.0 Jinja2=3.1.6 Old_Thing=1.0 zope.interface=7.2 tzdata zlib1g",
		names(layerOf(t, file{"var/lib/dpkg/status", "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.3\n"})))
	// The upper of two layers counts, whatever the order of the entries.
	require.Equal(t, "bare=2.0 Jinja2=9 Old_Thing=1.0 zope.interface=7.2 bash libc6 tzdata", names(
		layerOf(t, file{site + ".wh.Jinja2-3.1.6.dist-info", ""}, file{site + "Jinja2-8.dist-info/METADATA", "Name: Jinja2\nVersion: 8\n"}),
		layerOf(t, file{site + "Jinja2-9.dist-info/METADATA", "Name: Jinja2\nVersion: 9\n"}, file{site + ".wh.Jinja2-8.dist-info", ""})))
}

// The second reading of a base opens none of its layers.
func TestBaseIsReadOnce(t *testing.T) {
	cache := t.TempDir()
	o := opened(t, lane(t))
	first, err := read(t.Context(), o, cache)
	require.NoError(t, err)
	layers, err := o.Image.Layers()
	require.NoError(t, err)
	o.Image = closed{o.Image, layers}
	second, err := read(t.Context(), o, cache)
	require.NoError(t, err)
	require.Equal(t, first, second)
	_, err = read(t.Context(), o, t.TempDir())
	require.ErrorIs(t, err, os.ErrClosed)
}

// closed is an image whose lowest layer cannot be read.
type closed struct {
	v1.Image
	layers []v1.Layer
}

func (c closed) Layers() ([]v1.Layer, error) {
	return append([]v1.Layer{closedLayer{c.layers[0]}}, c.layers[1:]...), nil
}

type closedLayer struct{ v1.Layer }

func (closedLayer) Uncompressed() (io.ReadCloser, error) { return nil, os.ErrClosed }

func TestDamagedInputIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file file
		want string
	}{
		"no version":   {file{"var/lib/dpkg/status", "Package: x\nStatus: install ok installed\n"}, `package "x" has no name or no version`},
		"odd source":   {file{"var/lib/dpkg/status", "Package: x\nStatus: install ok installed\nVersion: 1\nSource: a b c\n"}, `names the source "a b c"`},
		"huge list":    {file{"var/lib/dpkg/info/x.list", strings.Repeat("/usr/share/x\n", maxList/12)}, "var/lib/dpkg/info/x.list: the file is larger than"},
		"huge release": {file{"etc/os-release", strings.Repeat("A=b\n", maxHeader/2)}, "etc/os-release: the file is larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t.Context(), opened(t, layerOf(t, c.file)), t.TempDir())
			require.ErrorContains(t, err, c.want)
		})
	}
}

func written(t *testing.T, inv *Inventory) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, inv.Write(&b))
	return b.Bytes()
}

// What is written is what the library writes where it is asked for this version: nothing of a later one is in it.
func TestWrittenInItsVersion(t *testing.T) {
	inv, err := read(t.Context(), opened(t, lane(t)), t.TempDir())
	require.NoError(t, err)
	var theirs, compact bytes.Buffer
	encoder := cdx.NewBOMEncoder(&theirs, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.EncodeVersion(inv.document(), cdx.SpecVersion1_6))
	require.Equal(t, theirs.String(), string(written(t, inv)))
	require.NoError(t, inv.WriteCompact(&compact))
	require.JSONEq(t, theirs.String(), compact.String())
}

func TestSameImageSameBytes(t *testing.T) {
	o := opened(t, lane(t))
	first, err := read(t.Context(), o, t.TempDir())
	require.NoError(t, err)
	cache := t.TempDir()
	for range 2 { // cold and from the cache
		again, err := read(t.Context(), o, cache)
		require.NoError(t, err)
		require.Equal(t, string(written(t, first)), string(written(t, again)))
	}
	o.Release.Digest = "sha256:" + strings.Repeat("0", 64)
	other, err := read(t.Context(), o, cache)
	require.NoError(t, err)
	require.NotEqual(t, serial(t, written(t, first)), serial(t, written(t, other)))
}

func serial(t *testing.T, content []byte) string {
	t.Helper()
	var doc struct{ SerialNumber string }
	require.NoError(t, json.Unmarshal(content, &doc))
	return doc.SerialNumber
}

func TestValidByTheOfficialSchema(t *testing.T) {
	inv, err := read(t.Context(), opened(t, lane(t)), t.TempDir())
	require.NoError(t, err)
	content := written(t, inv)
	validate(t, content)
	require.Contains(t, string(content), `"purl": "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc"`)
	require.Contains(t, string(content), `"purl": "pkg:deb/debian/bash@5.2.37-2%2Bb3?arch=amd64&distro=debian-13&upstream=bash%405.2.37-2"`)
	require.Contains(t, string(content), `"purl": "pkg:pypi/zope-interface@7.2"`)
	require.Contains(t, string(content), `"purl": "pkg:generic/odoo/acme_lane@19.0.1.0"`)
	require.Contains(t, string(content), `"value": "python3-jinja2"`)

	var doc map[string]any
	require.NoError(t, json.Unmarshal(content, &doc))
	doc["components"].([]any)[1].(map[string]any)["type"] = "nonsense"
	broken, err := json.Marshal(doc)
	require.NoError(t, err)
	require.Error(t, schema(t).Validate(unmarshal(t, broken)), "the schema does refuse what is wrong")
}

func validate(t *testing.T, content []byte) {
	t.Helper()
	require.NoError(t, schema(t).Validate(unmarshal(t, content)))
}

func unmarshal(t *testing.T, content []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	require.NoError(t, err)
	return value
}

// schema is CycloneDX's own, as its Go library carries it.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	require.NoError(t, err, "go list finds the module's folder after: go mod download")
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for id, name := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource(id, unmarshal(t, content)))
	}
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	return compiled
}
