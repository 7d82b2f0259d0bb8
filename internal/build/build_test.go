package build

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// TestMain builds with a mask and a time zone that would show in an image if they could.
func TestMain(m *testing.M) {
	syscall.Umask(0o027)
	os.Setenv("TZ", "Asia/Tokyo")
	os.Exit(m.Run())
}

const lane = `{'name': 'Lane', 'version': '1.0', 'depends': ['stock']}`

func layerDigests(t *testing.T, img v1.Image) []string {
	t.Helper()
	manifest, err := img.Manifest()
	require.NoError(t, err)
	var digests []string
	for _, l := range manifest.Layers {
		digests = append(digests, l.Digest.String())
	}
	return digests
}

func TestBuild(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.module("acme_base", `{'name': 'B', 'version': '19.0.2.0.0', 'auto_install': True}`)
	b.repo.module("acme_old", `{'name': 'O', 'installable': False, 'depends': ['nowhere'], 'version': '12.0.1.0.0'}`)
	b.repo.write("addons/acme_lane/bin/run.sh", "#!/bin/sh\n")
	require.NoError(t, os.Chmod(filepath.Join(b.repo.dir, "addons/acme_lane/bin/run.sh"), 0o755))
	require.NoError(t, os.Symlink("models/model.py", filepath.Join(b.repo.dir, "addons/acme_lane/link.py")))
	b.repo.write("addons/README.md", "x")
	b.repo.write("addons/docs/index.rst", "x")
	commit := b.repo.commit("one")
	b.options.Name = "r1"

	rel, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Equal(t, commit, rel.Commit)
	require.Equal(t, "acme", rel.Source)
	require.False(t, rel.Dirty)
	require.Equal(t, []string{"acme_base", "acme_lane"}, []string{rel.Modules[0].Name, rel.Modules[1].Name})
	require.Equal(t, "19.0.1.0", rel.Modules[1].Version)
	require.True(t, rel.Modules[0].AutoInstall)
	sum, err := odoo.Checksum(diskFiles(t, filepath.Join(b.repo.dir, "addons/acme_lane")), odoo.ChecksumRule{})
	require.NoError(t, err)
	require.Equal(t, sum, rel.Modules[1].Checksum)

	require.Equal(t, "odoo-19 19.0.0+dfsg-1", rel.Base.Version)
	require.Equal(t, "python3.13", rel.Base.Python)
	require.Equal(t, []string{"/usr/lib/python3/dist-packages/odoo/addons"}, rel.Base.AddonsPaths)
	names := []string{}
	for _, m := range rel.Base.Modules {
		names = append(names, m.Name)
	}
	require.Equal(t, []string{"base", "stock"}, names, "what Odoo could not install is left out")

	img := b.pull(t, "acme@"+rel.Digest)
	files := strings.Join(contents(t, img, "opt/waybill/addons"), "\n")
	require.NotContains(t, files, "acme_old")
	require.NotContains(t, files, "docs")
	day := rel.Created.Format("2006-01-02")
	for _, want := range []string{
		"opt/waybill/addons/acme_lane/ 755 0:0 " + day,
		"opt/waybill/addons/acme_lane/__init__.py 644 0:0 " + day,
		"opt/waybill/addons/acme_lane/bin/run.sh 755 0:0 " + day + " #!/bin/sh",
		"opt/waybill/addons/acme_lane/link.py 777 0:0 " + day + " models/model.py",
		"opt/waybill/addons/ 755 0:0 2020-01-01",
	} {
		require.Contains(t, files, want)
	}
	bridge := strings.Join(contents(t, img, "opt/waybill/bridge"), "\n")
	require.Contains(t, bridge, "opt/waybill/bridge/waybill_probe/__manifest__.py 644 0:0 2020-01-01")
	for _, unwanted := range []string{"__pycache__", ".pyc ", "/tests/"} {
		require.NotContains(t, bridge, unwanted)
	}

	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "10001:10001", config.Config.User)
	require.Empty(t, config.Config.Entrypoint)
	require.Contains(t, config.Config.Env, "HOME=/var/lib/odoo")
	require.Equal(t, rel.Created, config.Created.Time.UTC())
	require.Equal(t, commit, config.Config.Labels["org.opencontainers.image.revision"])
	require.Equal(t, "r1", config.Config.Labels["org.opencontainers.image.version"])
	manifest, err := img.Manifest()
	require.NoError(t, err)
	require.Equal(t, types.OCIManifestSchema1, manifest.MediaType)
	var noted release.Release
	require.NoError(t, json.Unmarshal([]byte(manifest.Annotations[release.Annotation]), &noted))
	require.Empty(t, noted.Digest)

	read, err := ReadRelease(t.Context(), "acme:r1", b.registry)
	require.NoError(t, err)
	require.Equal(t, rel, read)

	for _, rule := range []odoo.ChecksumRule{{}, {Languages: []string{"fr_BE"}}, {Exclude: []string{}}} {
		sums, err := Checksums(t.Context(), "acme:r1", rule, b.registry, b.options.Cache)
		require.NoError(t, err)
		sum, err := odoo.Checksum(diskFiles(t, filepath.Join(b.repo.dir, "addons/acme_lane")), rule)
		require.NoError(t, err)
		require.Equal(t, sum, sums["acme_lane"])
		require.Len(t, sums, 4)
	}
}

func TestSameCommitSameDigest(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	b.repo.write("addons/acme_lane/a.txt", "2")
	b.repo.commit("two")
	first, err := Build(t.Context(), b.options)
	require.NoError(t, err)

	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	clone := filepath.Join(t.TempDir(), "elsewhere")
	b.repo.git("clone", "-q", b.repo.dir, clone)
	require.NoError(t, os.Chtimes(filepath.Join(clone, "addons/acme_lane/a.txt"), time.Unix(1, 0), time.Unix(1, 0)))
	options := b.options
	options.Source, options.Cache = clone, t.TempDir()
	t.Setenv("TZ", "America/New_York")
	second, err := Build(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, first, second)

	bare := filepath.Join(t.TempDir(), "bare.git")
	b.repo.git("clone", "-q", "--bare", b.repo.dir, bare)
	options.Source = bare
	third, err := Build(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, first.Digest, third.Digest)
}

func TestOneChangedModuleIsOneNewLayer(t *testing.T) {
	b := setup(t)
	for _, name := range []string{"acme_a", "acme_b", "acme_c"} {
		b.repo.module(name, lane)
	}
	b.repo.commit("one")
	first, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	b.repo.write("addons/acme_b/models/model.py", "# other")
	b.repo.commit("two")
	second, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	before, after := layerDigests(t, b.pull(t, "acme@"+first.Digest)), layerDigests(t, b.pull(t, "acme@"+second.Digest))
	require.Len(t, after, len(before))
	var changed []int
	for i := range before {
		if before[i] != after[i] {
			changed = append(changed, i)
		}
	}
	require.Equal(t, []int{len(before) - 2}, changed, "acme_b's layer only")
}

func TestManyModulesShareLayers(t *testing.T) {
	var modules []sourceModule
	for i := range 200 {
		modules = append(modules, sourceModule{name: "m" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26))})
	}
	where := func(groups [][]sourceModule) map[string]string {
		found := map[string]string{}
		for _, group := range groups {
			for _, m := range group {
				found[m.name] = group[0].name
			}
		}
		return found
	}
	all, fewer := groups(modules, 126), groups(modules[:199], 126)
	require.LessOrEqual(t, len(all), 64)
	a, f := where(all), where(fewer)
	require.Len(t, a, 200)
	delete(a, modules[199].name)
	require.Equal(t, f, a, "a further module moves no other")
	require.Len(t, groups(modules[:80], 126), 80)
	require.LessOrEqual(t, len(groups(modules[:30], 10)), 10)
}

func TestDirtyBuildIsMarked(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.write(".gitignore", "*.pyc\n")
	commit := b.repo.commit("one")
	b.repo.write("addons/acme_lane/new.py", "# new")
	b.repo.write("addons/acme_lane/junk.pyc", "")
	_, err := Build(t.Context(), b.options)
	require.EqualError(t, err, "build: the work tree has changes that are not committed: addons/acme_lane/new.py; commit them, or allow a dirty build, which is marked as such")

	b.options.AllowDirty = true
	rel, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.True(t, rel.Dirty)
	require.Equal(t, commit, rel.Commit)
	require.Equal(t, commit[:12]+"-dirty", rel.Name)
	files := strings.Join(contents(t, b.pull(t, "acme@"+rel.Digest), "opt/waybill/addons"), "\n")
	require.Contains(t, files, "acme_lane/new.py 644")
	require.NotContains(t, files, "junk.pyc")

	b.options.AllowDirty, b.options.Commit = false, commit
	rel, err = Build(t.Context(), b.options)
	require.NoError(t, err, "a named commit is built as it is")
	require.False(t, rel.Dirty)
}

func TestBadInput(t *testing.T) {
	type input struct {
		repo    *repo
		options *Options
		bundle  *bundle
	}
	good := func(in input) { in.repo.module("acme_lane", lane) }
	cases := []struct {
		name   string
		change func(t *testing.T, in input)
		want   string
	}{
		{"malformed manifest", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{\n 'name': 'x',\n 'depends': [open('x')],\n}")
		}, `addons/acme_lane/__manifest__.py:3:14: "open" is code; only literals are read`},
		{"unknown dependency", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{\n 'name': 'x',\n 'depends': ['stock', 'nowhere'],\n}")
		}, `addons/acme_lane/__manifest__.py:3: module "nowhere" is unknown: it is neither among the addons nor in base odoo:19.0, and acme_lane depends on it`},
		{"cycle", func(t *testing.T, in input) {
			in.repo.module("acme_a", "{'depends': ['acme_b']}")
			in.repo.module("acme_b", "{'depends': ['acme_a']}")
		}, `addons/acme_a/__manifest__.py: modules depend on each other in a circle: acme_a → acme_b → acme_a`},
		{"another series", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{'name': 'x',\n'version': '17.0.1.0.0'}")
		}, `addons/acme_lane/__manifest__.py:2: version "17.0.1.0.0" is not one of series 19.0`},
		{"module twice", func(t *testing.T, in input) {
			good(in)
			in.repo.write("more/acme_lane/__manifest__.py", lane)
			in.repo.write("more/acme_lane/__init__.py", "")
			in.options.Addons = []string{"addons", "more"}
		}, `module "acme_lane" is there twice: addons/acme_lane and more/acme_lane`},
		{"Odoo's own name", func(t *testing.T, in input) {
			in.repo.module("stock", "{'name': 'x'}")
		}, `addons/stock: the base has a module "stock" of its own`},
		{"link out", func(t *testing.T, in input) {
			good(in)
			require.NoError(t, os.Symlink("../../secret", filepath.Join(in.repo.dir, "addons/acme_lane/x.py")))
		}, `addons/acme_lane/x.py is a link to "../../secret", outside of its module`},
		{"module is a link", func(t *testing.T, in input) {
			good(in)
			require.NoError(t, os.Symlink("acme_lane", filepath.Join(in.repo.dir, "addons/acme_two")))
		}, `addons/acme_two is a link, and a module must not be one`},
		{"submodule", func(t *testing.T, in input) {
			good(in)
			other := newRepo(t)
			other.write("a", "b")
			other.commit("x")
			in.repo.git("-c", "protocol.file.allow=always", "submodule", "-q", "add", other.dir, "addons/oca")
		}, `addons/oca is a Git submodule`},
		{"no module", func(t *testing.T, in input) {
			in.repo.write("addons/readme.md", "x")
		}, `no installable module in addons`},
		{"no folder", func(t *testing.T, in input) {
			in.repo.write("readme.md", "x")
		}, `addons folder "addons" does not exist at commit`},
		{"folder outside", func(t *testing.T, in input) {
			good(in)
			in.options.Addons = []string{"../x"}
		}, `addons folder "../x" is not within the source`},
		{"a module for a folder", func(t *testing.T, in input) {
			good(in)
			in.options.Addons = []string{"addons/acme_lane"}
		}, `addons folder "addons/acme_lane" is itself a module`},
		{"no __init__", func(t *testing.T, in input) {
			in.repo.write("addons/acme_lane/__manifest__.py", lane)
		}, `addons/acme_lane has no __init__.py`},
		{"Git LFS", func(t *testing.T, in input) {
			good(in)
			in.repo.write("addons/acme_lane/x.png", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("0", 64)+"\nsize 5\n")
		}, `addons/acme_lane/x.png is kept in Git LFS`},
		{"unknown series", func(t *testing.T, in input) { good(in); in.options.Series = "11.0" }, `series "11.0" is unknown`},
		{"untested series", func(t *testing.T, in input) { good(in); in.options.Series = "17.0" }, `set "experimental: true"`},
		{"series of the base", func(t *testing.T, in input) {
			good(in)
			in.options.Series, in.options.Experimental, in.options.Base = "18.0", true, "odoo:19.0"
		}, `base odoo:19.0 holds Odoo 19.0, and the product is of series 18.0`},
		{"no base", func(t *testing.T, in input) { good(in); in.options.Base = "odoo:nothing" }, `base "odoo:nothing" is not in Waybill's registry`},
		{"base without Odoo", func(t *testing.T, in input) {
			good(in)
			in.options.Base = "rootfs:" + writeRootfs(t, map[string]string{"usr/bin/python3.13": "", "srv/addons/x/__manifest__.py": "{}"})
		}, `base without Odoo: `},
		{"base that is no tar", func(t *testing.T, in input) {
			good(in)
			file := filepath.Join(t.TempDir(), "x.tar")
			require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("no tar", 500)), 0o644))
			in.options.Base = "rootfs:" + file
		}, `not a tar of a root file system`},
		{"no layout", func(t *testing.T, in input) { good(in); in.options.Base = "oci:" + t.TempDir() }, `is no OCI layout`},
		{"registry refuses", func(t *testing.T, in input) { good(in); in.options.Registry.Password = "wrong" }, `check the registry's user and password`},
		{"registry away", func(t *testing.T, in input) {
			good(in)
			in.options.Base = "rootfs:" + writeRootfs(t, fakeBase)
			in.options.Registry.Host = "127.0.0.1:1"
		}, `no registry answers there`},
		{"bad name", func(t *testing.T, in input) { good(in); in.options.Name = "a b" }, `release name "a b"`},
		{"no commit of that name", func(t *testing.T, in input) { good(in); in.options.Commit = "v9" }, `there is no commit "v9"`},
		{"an option for a commit", func(t *testing.T, in input) { good(in); in.options.Commit = "--all" }, `"--all" is no commit`},
		{"no repository", func(t *testing.T, in input) { good(in); in.options.Source = t.TempDir() }, `is no Git repository that can be read`},
	}
	b := setup(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			options := b.options
			r := newRepo(t)
			options.Source = r.dir
			c.change(t, input{r, &options, b})
			r.commit("x")
			_, err := Build(t.Context(), options)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestShallowCloneIsRefused(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	b.repo.write("x", "y")
	b.repo.commit("two")
	clone := filepath.Join(t.TempDir(), "c")
	b.repo.git("clone", "-q", "--depth=1", "file://"+b.repo.dir, clone)
	b.options.Source = clone
	_, err := Build(t.Context(), b.options)
	require.ErrorContains(t, err, "is a shallow clone")
	require.ErrorContains(t, err, "git fetch --unshallow")
}

func TestHooksAndFiltersOfTheRepositoryDoNotRun(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.write(".gitattributes", "* filter=evil\n")
	b.repo.commit("one")
	mark := filepath.Join(t.TempDir(), "ran")
	b.repo.git("config", "filter.evil.smudge", "touch "+mark)
	b.repo.git("config", "core.fsmonitor", "touch "+mark)
	_, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	_, err = os.Stat(mark)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCancelledBuildPushesNothing(t *testing.T) {
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	ctx, cancel := context.WithCancel(t.Context())
	b.options.Progress = func(format string, _ ...any) {
		if strings.HasPrefix(format, "base ") {
			cancel()
		}
	}
	b.options.Name = "r1"
	_, err := Build(ctx, b.options)
	require.ErrorIs(t, err, context.Canceled)
	_, err = ReadRelease(t.Context(), "acme:r1", b.registry)
	require.ErrorContains(t, err, "it is not there")
}

func TestReadReleaseWantsOurAnnotation(t *testing.T) {
	b := setup(t)
	_, err := ReadRelease(t.Context(), "odoo:19.0", b.registry)
	require.ErrorContains(t, err, "was not made by waybill build")
	_, err = ReadRelease(t.Context(), "Not A Ref", b.registry)
	require.ErrorContains(t, err, "is no reference")
}

func TestScanMergesLayers(t *testing.T) {
	root := map[string]string{
		"opt/odoo/odoo/release.py":                       "version_info = (19, 0, 0, 'final', 0, '')",
		"opt/odoo/odoo/addons/base/__manifest__.py":      "{'name': 'Base'}",
		"opt/odoo/addons/stock/__manifest__.py":          "{'name': 'Stock'}",
		"opt/odoo/addons/stock/a.py":                     "below",
		"opt/odoo/addons/gone/__manifest__.py":           "{'name': 'Gone'}",
		"srv/enterprise/extra/__manifest__.py":           "{'name': 'Extra', 'depends': ['stock']}",
		"srv/enterprise/extra/static/description/x.html": "x",
		"usr/local/bin/python3.12":                       "",
		"usr/bin/python3.11":                             "",
	}
	folder := filepath.Join(t.TempDir(), "one")
	require.NoError(t, PackRootfs(t.Context(), writeRootfs(t, root), folder))
	below, err := openLayout(folder)
	require.NoError(t, err)
	folder = filepath.Join(t.TempDir(), "two")
	require.NoError(t, PackRootfs(t.Context(), writeRootfs(t, map[string]string{
		"opt/odoo/addons/stock/a.py": "above", "opt/odoo/addons/.wh.gone": "", "opt/odoo/addons/stock/b.py": "b",
	}), folder))
	above, err := openLayout(folder)
	require.NoError(t, err)
	lower, err := below.Layers()
	require.NoError(t, err)
	upper, err := above.Layers()
	require.NoError(t, err)
	scan, err := scanLayers(t.Context(), append(lower, upper...), odoo.ChecksumRule{}, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{"/opt/odoo/odoo/addons", "/opt/odoo/addons", "/srv/enterprise"}, scan.Base.AddonsPaths)
	require.Equal(t, "19.0", scan.Base.Version)
	require.Equal(t, "python3.11", scan.Base.Python)
	var names []string
	for _, m := range scan.Base.Modules {
		names = append(names, m.Name)
		if m.Name == "stock" {
			want, err := odoo.Checksum(memoryFiles(map[string]string{"__manifest__.py": "{'name': 'Stock'}", "a.py": "above", "b.py": "b"}), odoo.ChecksumRule{})
			require.NoError(t, err)
			require.Equal(t, want, m.Checksum)
		}
	}
	require.Equal(t, []string{"base", "extra", "stock"}, names)
}

func TestPackedRootfsIsTheSameFromAnyCompression(t *testing.T) {
	plain := writeRootfs(t, fakeBase)
	dir := t.TempDir()
	for _, command := range []string{"zstd -q " + plain + " -o " + dir + "/z.tar.zst", "gzip -c " + plain + " > " + dir + "/g.tar.gz"} {
		require.NoError(t, exec.Command("sh", "-c", command).Run(), "apt-get install -y zstd gzip")
	}
	digest := func(file string) string {
		folder := filepath.Join(t.TempDir(), "layout")
		require.NoError(t, PackRootfs(t.Context(), file, folder))
		img, err := openLayout(folder)
		require.NoError(t, err)
		d, err := img.Digest()
		require.NoError(t, err)
		return d.String()
	}
	want := digest(plain)
	require.Equal(t, want, digest(dir+"/z.tar.zst"))
	require.Equal(t, want, digest(dir+"/g.tar.gz"))
}
