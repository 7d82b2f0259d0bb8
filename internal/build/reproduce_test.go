package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// released is a bundle with a release r1 of two modules in the registry.
func released(t *testing.T) (*bundle, release.Release, ReproduceOptions) {
	t.Helper()
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.module("acme_dock", lane)
	b.repo.write("addons/acme_lane/bin/run.sh", "#!/bin/sh\n")
	require.NoError(t, os.Chmod(filepath.Join(b.repo.dir, "addons/acme_lane/bin/run.sh"), 0o755))
	require.NoError(t, os.Symlink("models/model.py", filepath.Join(b.repo.dir, "addons/acme_lane/link.py")))
	b.repo.commit("one")
	b.options.Name, b.options.Waybill = "r1", "v1.2.3"
	rel, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Equal(t, []string{"addons"}, rel.Addons)
	require.Equal(t, "v1.2.3", rel.Waybill)
	return b, rel, ReproduceOptions{Ref: "acme@" + rel.Digest, Source: b.repo.dir, Registry: b.registry, Cache: b.options.Cache, Waybill: "v1.2.3"}
}

func TestReproduce(t *testing.T) {
	b, rel, options := released(t)
	// Later commits, and a base that is another under the same name, are no matter.
	b.repo.write("addons/acme_lane/later.py", "x")
	b.repo.commit("two")
	other := map[string]string{}
	for name, content := range fakeBase {
		other[name] = content + "\n"
	}
	_, err := importForTest(t, writeRootfs(t, other), b.registry)
	require.NoError(t, err)

	bare := filepath.Join(t.TempDir(), "bare.git")
	b.repo.git("clone", "-q", "--bare", b.repo.dir, bare)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for _, source := range []string{b.repo.dir, filepath.Join(b.repo.dir, "addons", "acme_lane"), bare} {
		options.Source = source
		c, err := Reproduce(t.Context(), options)
		require.NoError(t, err, source)
		require.True(t, c.Same, "%+v", c)
		require.Equal(t, rel.Digest, c.Rebuilt)
		require.Equal(t, rel.Digest, c.Release)
		require.Empty(t, c.Differences)
		require.Empty(t, c.Notes)
		var what []string
		for _, layer := range c.Layers {
			require.Equal(t, layer.Release, layer.Rebuilt)
			what = append(what, layer.What)
		}
		require.Equal(t, []string{"base 1", "bridge", "addons acme_dock", "addons acme_lane"}, what)
	}
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, left)
	// Nothing was pushed.
	_, err = ReadRelease(t.Context(), "acme:"+rel.Commit[:12], b.registry)
	require.ErrorContains(t, err, "it is not there")

	options.Waybill = "v9"
	c, err := Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.True(t, c.Same)
	require.Equal(t, []string{"the release was built by Waybill v1.2.3, this is Waybill v9; if the bridge differs, take that version"}, c.Notes)
}

// rewrite changes the tar of a layer, entry by entry; edit returns nil to leave one out.
func rewrite(t *testing.T, layer v1.Layer, edit func(h *tar.Header, content []byte) (*tar.Header, []byte), more ...tar.Header) v1.Layer {
	t.Helper()
	in, err := layer.Uncompressed()
	require.NoError(t, err)
	defer in.Close()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		if h, content = edit(h, content); h != nil {
			h.Size = int64(len(content))
			require.NoError(t, w.WriteHeader(h))
			_, err = w.Write(content)
			require.NoError(t, err)
		}
	}
	for _, h := range more {
		require.NoError(t, w.WriteHeader(&h))
	}
	require.NoError(t, w.Close())
	return packLayer(t, out.Bytes(), gzip.BestSpeed)
}

func packLayer(t *testing.T, raw []byte, level int) v1.Layer {
	t.Helper()
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, level)
	require.NoError(t, err)
	_, err = z.Write(raw)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	require.NoError(t, err)
	return layer
}

// forge pushes the release again with other layers, and the rest as it was, as somebody might who
// wants it to pass for the real one.
func (b *bundle) forge(t *testing.T, tag string, change func(layers []v1.Layer) []v1.Layer, configure func(*v1.ConfigFile)) string {
	t.Helper()
	img := b.pull(t, "acme:r1")
	manifest, err := img.Manifest()
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	layers = change(layers)
	forged := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	forged, err = mutate.AppendLayers(forged, layers...)
	require.NoError(t, err)
	made, err := forged.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.RootFS = made.RootFS
	if len(config.History) > len(layers) {
		config.History = config.History[:len(layers)]
	}
	if configure != nil {
		configure(config)
	}
	forged, err = mutate.ConfigFile(forged, config)
	require.NoError(t, err)
	annotated := mutate.Annotations(forged, manifest.Annotations).(v1.Image)
	ref, err := b.registry.reference("acme:" + tag)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, annotated, b.registry.options(t.Context(), ref)...))
	digest, err := annotated.Digest()
	require.NoError(t, err)
	return "acme@" + digest.String()
}

func same(layers []v1.Layer) []v1.Layer { return layers }

func TestReproduceNamesWhatDiffers(t *testing.T) {
	b, rel, options := released(t)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	options.Ref = b.forge(t, "forged", func(layers []v1.Layer) []v1.Layer {
		layers[3] = rewrite(t, layers[3], func(h *tar.Header, content []byte) (*tar.Header, []byte) {
			switch h.Name {
			case "opt/waybill/addons/acme_lane/models/model.py":
				return h, []byte("import os; os.system('true')\n")
			case "opt/waybill/addons/acme_lane/__init__.py":
				return nil, nil
			case "opt/waybill/addons/acme_lane/bin/run.sh":
				h.Mode, h.ModTime = 0o4755, at
			case "opt/waybill/addons/acme_lane/link.py":
				h.Linkname = "/etc/passwd"
			}
			return h, content
		}, tar.Header{Typeflag: tar.TypeSymlink, Name: "opt/waybill/addons/acme_lane/\xff\x1b[2J.py", Linkname: "x", ModTime: at, Uid: 7})
		return layers
	}, nil)
	c, err := Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.False(t, c.Same)
	require.Equal(t, rel.Digest, c.Rebuilt)
	for i, layer := range c.Layers {
		require.Equal(t, i != 3, layer.Same, layer.What)
	}
	lane := c.Layers[3]
	require.Equal(t, "addons acme_lane", lane.What)
	when := rel.Created.Format(time.RFC3339)
	const folder = "opt/waybill/addons/acme_lane/"
	var told []string
	for _, f := range lane.Files {
		told = append(told, f.Path+" "+f.Kind)
		switch f.Kind {
		case "mtime":
			require.Equal(t, []string{"2030-01-02T03:04:05Z", when}, []string{f.Release, f.Rebuilt})
		case "mode":
			require.Equal(t, []string{"4755", "0755"}, []string{f.Release, f.Rebuilt})
		case "link":
			require.Equal(t, []string{"/etc/passwd", "models/model.py"}, []string{f.Release, f.Rebuilt})
		case "content":
			require.Contains(t, f.Release, ", 29 bytes")
			require.NotEqual(t, f.Release, f.Rebuilt)
		}
	}
	require.Equal(t, []string{
		folder + "__init__.py extra",
		folder + "bin/run.sh mode", folder + "bin/run.sh mtime",
		folder + "link.py link",
		folder + "models/model.py content",
		`"` + folder + `\xff\x1b[2J.py" missing`,
	}, told)
	require.Len(t, c.Differences, 1, "the digest of the layer, in the configuration")
	require.Contains(t, c.Differences[0].Field, "rootfs.diff_ids")

	options.Ref = b.forge(t, "fewer", func(layers []v1.Layer) []v1.Layer { return layers[:3] }, nil)
	c, err = Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.False(t, c.Same)
	require.Equal(t, "addons acme_lane", c.Layers[3].What)
	require.Empty(t, c.Layers[3].Release)
	require.NotEmpty(t, c.Layers[3].Files)

	options.Ref = b.forge(t, "root", same, func(c *v1.ConfigFile) {
		c.Config.User = "0:0"
		c.Config.Env = append(c.Config.Env, "PYTHONSTARTUP=/tmp/x")
	})
	c, err = Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.False(t, c.Same, "whoever runs it matters too")
	require.Equal(t, Difference{"configuration.config.User", `"0:0"`, `"10001:10001"`}, c.Differences[len(c.Differences)-1])
	require.Len(t, c.Differences, 2)
}

// Another compressor is another blob and the same content.
func TestReproduceWithAnotherCompressor(t *testing.T) {
	b, rel, options := released(t)
	options.Ref = b.forge(t, "packed", func(layers []v1.Layer) []v1.Layer {
		in, err := layers[3].Uncompressed()
		require.NoError(t, err)
		raw, err := io.ReadAll(in)
		require.NoError(t, err)
		layers[3] = packLayer(t, raw, gzip.HuffmanOnly)
		return layers
	}, nil)
	c, err := Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.True(t, c.Same)
	require.True(t, c.Layers[3].Packed)
	require.NotEqual(t, c.Release, c.Rebuilt)
	require.Equal(t, rel.Digest, c.Rebuilt)
}

// A configuration may say what it likes of its layers: their content decides.
func TestReproduceTrustsNoConfiguration(t *testing.T) {
	b, _, options := released(t)
	var genuine []v1.Hash
	options.Ref = b.forge(t, "liar", func(layers []v1.Layer) []v1.Layer {
		for _, l := range layers {
			id, err := l.DiffID()
			require.NoError(t, err)
			genuine = append(genuine, id)
		}
		layers[3] = rewrite(t, layers[3], func(h *tar.Header, content []byte) (*tar.Header, []byte) {
			if strings.HasSuffix(h.Name, "model.py") {
				content = []byte("evil\n")
			}
			return h, content
		})
		return layers
	}, func(c *v1.ConfigFile) { c.RootFS.DiffIDs = genuine })
	c, err := Reproduce(t.Context(), options)
	require.NoError(t, err)
	require.False(t, c.Same)
	require.Equal(t, "content", c.Layers[3].Files[0].Kind)
}

func TestReproduceSaysWhatItLacks(t *testing.T) {
	b, rel, options := released(t)
	elsewhere := newRepo(t)
	elsewhere.write("x", "y")
	elsewhere.commit("x")
	for name, c := range map[string]struct {
		change func(o *ReproduceOptions)
		want   string
	}{
		"commit":        {func(o *ReproduceOptions) { o.Source = elsewhere.dir }, "commit " + rel.Commit[:12] + " is not in " + elsewhere.dir + "; the release comes from acme: fetch it there"},
		"no repository": {func(o *ReproduceOptions) { o.Source = t.TempDir() }, "is no Git repository"},
		"another base": {func(o *ReproduceOptions) {
			o.Base = "rootfs:" + writeRootfs(t, map[string]string{"etc/x": "y"})
		}, "the release stands on base odoo:19.0 (" + rel.Base.Digest + "), and rootfs:"},
		"no release": {func(o *ReproduceOptions) { o.Ref = "acme:nothing" }, "it is not there"},
	} {
		o := options
		c.change(&o)
		_, err := Reproduce(t.Context(), o)
		require.ErrorContains(t, err, c.want, name)
	}

	// The registry that the release was copied to does not have the base.
	handler, err := registry.Handler(t.TempDir(), func(string, string) bool { return true })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := options
	o.Registry = Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}
	require.NoError(t, o.Registry.push(t.Context(), "acme", "r1", b.pull(t, "acme:r1"), recall{}))
	_, err = Reproduce(t.Context(), o)
	require.ErrorContains(t, err, "which is not to be had")
	require.ErrorContains(t, err, "name a place that has it: --base")
	o.Base = b.registry.Host + "/odoo@" + rel.Base.Digest
	c, err := Reproduce(t.Context(), o)
	require.NoError(t, err)
	require.True(t, c.Same, "%+v", c.Differences)

	// Dirty, and of another Waybill.
	for want, change := range map[string]func(*release.Release){
		"built from uncommitted changes on top of commit":          func(r *release.Release) { r.Dirty = true },
		"it carries a bridge of protocol 0, and this Waybill's is": func(r *release.Release) { r.BridgeProtocol = 0 },
	} {
		changed := rel
		changed.Digest = ""
		change(&changed)
		encoded, err := json.Marshal(changed)
		require.NoError(t, err)
		img := mutate.Annotations(b.pull(t, "acme:r1"), map[string]string{release.Annotation: string(encoded)}).(v1.Image)
		require.NoError(t, b.registry.push(t.Context(), "acme", "changed", img, recall{}))
		o := options
		o.Ref = "acme:changed"
		_, err = Reproduce(t.Context(), o)
		require.ErrorContains(t, err, want)
	}
}
