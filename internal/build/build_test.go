package build

import (
	"context"
	"encoding/json"
	"os"
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
