package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// boundedMemory runs f and fails when the process needed more than limit bytes beyond what it had.
func boundedMemory(t *testing.T, limit int64, f func()) {
	t.Helper()
	debug.FreeOSMemory()
	resident := func(field string) int64 {
		status, err := os.ReadFile("/proc/self/status")
		require.NoError(t, err)
		for line := range strings.SplitSeq(string(status), "\n") {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				require.NoError(t, err)
				return kb << 10
			}
		}
		t.Fatalf("/proc/self/status has no %s", field)
		return 0
	}
	require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0), "the peak counts from here on")
	before := resident("VmRSS")
	f()
	grown := resident("VmHWM") - before
	t.Logf("%d MB more at the peak", grown>>20)
	require.Less(t, grown, limit)
}

// gzipBomb is a tar of one file of zeros, which unpacks to size bytes.
func gzipBomb(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var head bytes.Buffer
	require.NoError(t, tar.NewWriter(&head).WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}))
	pack := func(raw []byte) []byte {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		require.NoError(t, err)
		_, err = z.Write(raw)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return b.Bytes()
	}
	const member = 32 << 20
	zeros := pack(make([]byte, member))
	return append(pack(head.Bytes()), bytes.Repeat(zeros, int(size/member)+1)...)
}

// writeLayout makes an OCI layout with one image of one layer.
func writeLayout(t *testing.T, layer []byte) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "layout")
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		static.NewLayer(layer, types.OCILayer))
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", platform().Architecture
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	path, err := layout.Write(folder, empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(img))
	return folder
}

func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	raw, err := os.ReadFile(writeRootfs(t, files))
	require.NoError(t, err)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(raw)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

const stockFolder = "usr/lib/python3/dist-packages/odoo/addons/stock/"

func with(more map[string]string) map[string]string {
	files := map[string]string{}
	for _, list := range []map[string]string{fakeBase, more} {
		for name, content := range list {
			files[name] = content
		}
	}
	return files
}

func TestBombsForBases(t *testing.T) {
	long.Test(t)
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	write := func(content []byte) string {
		file := filepath.Join(t.TempDir(), "rootfs.tar")
		require.NoError(t, os.WriteFile(file, content, 0o644))
		return file
	}
	for name, c := range map[string]struct {
		base func(t *testing.T) string
		want []string
	}{
		"rootfs that unpacks to 10 GB": {
			func(t *testing.T) string { return "rootfs:" + write(gzipBomb(t, "bomb", 10<<30)) },
			[]string{"packing the root file system", "it unpacks to more than 100 times its size"},
		},
		"layer that unpacks to 10 GB": {
			func(t *testing.T) string { return "oci:" + writeLayout(t, gzipBomb(t, "bomb", 10<<30)) },
			[]string{"base: layer sha256:", "it unpacks to more than 100 times its size"},
		},
		"layer with a module's file of 10 GB": {
			func(t *testing.T) string { return "oci:" + writeLayout(t, gzipBomb(t, stockFolder+"x.py", 10<<30)) },
			[]string{stockFolder + "x.py: it has 10240 MB; a file of a module has at most 256 MB"},
		},
		"sparse file of a terabyte": {
			func(t *testing.T) string { return "oci:" + writeLayout(t, sparse(t, stockFolder+"x.py", 1<<40)) },
			[]string{stockFolder + "x.py: with it, the files have more than 48 GB"},
		},
		"sparse file of a terabyte in a rootfs": {
			func(t *testing.T) string { return "rootfs:" + write(sparse(t, "x", 1<<40)) },
			[]string{"x: with it, the files have more than 48 GB"},
		},
		"manifest of 50 MB": {
			func(t *testing.T) string {
				return "oci:" + writeLayout(t, packed(t, with(map[string]string{stockFolder + "__manifest__.py": "{" + strings.Repeat(" ", 50<<20) + "}"})))
			},
			[]string{stockFolder + "__manifest__.py: it has more than 1048576 bytes"},
		},
		"name of 5000 bytes": {
			func(t *testing.T) string {
				return "oci:" + writeLayout(t, packed(t, with(map[string]string{strings.Repeat("a/", 2500) + "x": ""})))
			},
			[]string{"a name of more than 4096 bytes"},
		},
		"layer with another content than its digest": {
			func(t *testing.T) string {
				folder := writeLayout(t, packed(t, fakeBase))
				require.Equal(t, 1, replaceLayer(t, folder, packed(t, with(map[string]string{stockFolder + "evil.py": "x"}))))
				return "oci:" + folder
			},
			[]string{"its content is another: sha256:"},
		},
		"manifest of an image of 50 MB": {
			func(t *testing.T) string {
				folder := writeLayout(t, packed(t, fakeBase))
				require.NoError(t, os.Truncate(filepath.Join(folder, "index.json"), 50<<20))
				return "oci:" + folder
			},
			[]string{"index.json has 50 MB; at most 8 MB are read"},
		},
		"no gzip": {
			func(t *testing.T) string { return "oci:" + writeLayout(t, []byte("\x1f\x8bno gzip")) },
			[]string{"layer sha256:", "gzip"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			options := b.options
			options.Base, options.Cache, options.Name = c.base(t), t.TempDir(), "bomb"
			boundedMemory(t, 200<<20, func() {
				_, err := Build(t.Context(), options)
				for _, want := range c.want {
					require.ErrorContains(t, err, want)
				}
			})
			// Neither in the registry nor in the cache is anything left, so that a mended base is read anew.
			_, err := ReadRelease(t.Context(), "acme:bomb", b.registry)
			require.ErrorContains(t, err, "it is not there")
			size := int64(0)
			require.NoError(t, filepath.Walk(options.Cache, func(_ string, info os.FileInfo, err error) error {
				if err == nil && info.Mode().IsRegular() {
					size += info.Size()
				}
				return err
			}))
			require.Less(t, size, int64(1<<20))
		})
	}
}

// sparse is a packed tar, made by GNU tar, of a file that is all hole.
func sparse(t *testing.T, name string, size int64) []byte {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(dir, name), size))
	out, err := exec.Command("tar", "--sparse", "--hole-detection=seek", "-C", dir, "-czf", "-", name).Output()
	require.NoError(t, err)
	require.Less(t, len(out), 1<<20)
	return out
}

func replaceLayer(t *testing.T, folder string, content []byte) (replaced int) {
	t.Helper()
	blobs := filepath.Join(folder, "blobs", "sha256")
	files, err := os.ReadDir(blobs)
	require.NoError(t, err)
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(blobs, f.Name()))
		require.NoError(t, err)
		if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
			require.NoError(t, os.WriteFile(filepath.Join(blobs, f.Name()), content, 0o644))
			replaced++
		}
	}
	return replaced
}

func TestBudget(t *testing.T) {
	b := &budget{entries: 2, names: 10, files: 100}
	require.NoError(t, b.entry(&tar.Header{Name: "abc", Size: 40}))
	require.ErrorContains(t, b.entry(&tar.Header{Name: "abc", Size: 61}), "the files have more than")
	require.ErrorContains(t, b.entry(&tar.Header{Name: "abc"}), "more than 3000000 files")
	b = &budget{entries: 9, names: 10, files: 100}
	require.ErrorContains(t, b.entry(&tar.Header{Name: "abcdefg", Linkname: "hijk"}), "names alone have more than 512 MB")
}

func TestBombsInTheSource(t *testing.T) {
	long.Test(t)
	b := setup(t)
	for name, c := range map[string]struct {
		write func(r *repo)
		want  string
	}{
		"manifest of 50 MB": {
			func(r *repo) { r.module("acme_lane", "{"+strings.Repeat(" ", 50<<20)+"}") },
			"addons/acme_lane/__manifest__.py has 52428802 bytes; at most 1048576 are read",
		},
		"manifest nested 10,000 deep": {
			func(r *repo) {
				r.module("acme_lane", "{'x': "+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+"}")
			},
			"addons/acme_lane/__manifest__.py:1:",
		},
		"name that is not UTF-8": {
			func(r *repo) {
				r.module("acme_lane", lane)
				r.write("addons/acme_lane/caf\xe9.py", "")
			},
			`"addons/acme_lane/caf\xe9.py": the name is not UTF-8`,
		},
		"path that Linux cannot open": {
			func(r *repo) {
				r.module("acme_lane", lane)
				r.git("add", "-A")
				blob := r.git("hash-object", "-w", "addons/acme_lane/__init__.py")
				r.git("update-index", "--add", "--cacheinfo", "100644,"+blob+",addons/acme_lane/"+strings.Repeat("abc/", 1000)+"x")
			},
			"a path of 4018 bytes; at most 3500",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			c.write(r)
			if strings.HasPrefix(name, "path") {
				r.git("commit", "-q", "-m", "x")
			} else {
				r.commit("x")
			}
			options := b.options
			options.Source, options.Commit = r.dir, "HEAD"
			boundedMemory(t, 100<<20, func() {
				_, err := Build(t.Context(), options)
				require.ErrorContains(t, err, c.want)
			})
		})
	}
}

// What is in a base is carried byte for byte, whatever its names.
func TestNamesOfTheBaseAreCarried(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	b.options.Base = "oci:" + writeLayout(t, packed(t, with(map[string]string{stockFolder + "caf\xe9.py": "x", "etc/\xff": "y"})))
	rel, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprintf("%q", contents(t, b.pull(t, "acme@"+rel.Digest), "./"+stockFolder)), `caf\xe9.py`)
}
