package gather

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

const manifest = `{'name': 'Lane', 'version': '1.2', 'depends': ['base']}`

func module(name string) map[string]string {
	return map[string]string{"addons/" + name + "/__manifest__.py": manifest, "addons/" + name + "/__init__.py": "", "addons/" + name + "/models.py": "x = 1\n"}
}

func folder(t testing.TB, dir string, addons []string, o Options) *check.Input {
	t.Helper()
	o.Series = "19.0"
	in, err := Folder(t.Context(), dir, addons, o)
	require.NoError(t, err)
	return in
}

func paths(m *check.Module) []string {
	var list []string
	for _, f := range m.Files {
		list = append(list, strings.TrimPrefix(f.Path, m.Folder+"/"))
	}
	return list
}

func git(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	write(t, dir, map[string]string{
		"addons/lane/__pycache__/models.cpython-313.pyc": "x", "addons/lane/old.pyc": "x", "addons/lane/static/logo.png": "png",
		"addons/lane/i18n/de.po": "po", "addons/lane/views/a.xml": "<odoo/>", "addons/README.md": "no module", "addons/docs/index.md": "no module",
		"addons/broken/__manifest__.py": "{\n'name': open('x')}", "addons/closed/__manifest__.py": "{'name': 'c', 'installable': False}",
	})
	in := folder(t, dir, nil, Options{})
	require.Len(t, in.Modules, 2)
	broken, lane := in.Modules[0], in.Modules[1]
	require.Equal(t, "addons/broken", broken.Folder)
	var syntax *odoo.SyntaxError
	require.ErrorAs(t, broken.ManifestErr, &syntax)
	require.Equal(t, 2, syntax.Line)
	require.Equal(t, "19.0.1.2", lane.Version)
	require.Equal(t, []string{"__init__.py", "__manifest__.py", "i18n/de.po", "models.py", "static/logo.png", "views/a.xml"}, paths(lane))
	for _, f := range lane.Files {
		inside := strings.TrimPrefix(f.Path, "addons/lane/")
		require.Equal(t, inside != "i18n/de.po" && inside != "static/logo.png", f.Content != nil, "%s is looked into", inside)
		require.EqualValues(t, syscall.S_IFREG|0o644, f.Mode, inside)
	}
	require.Equal(t, []check.NotChecked{{File: "addons/closed", Why: "it is marked as not installable, and a build leaves it out"}}, in.Unread)

	// A repository with its modules at the top, as OCA's have them.
	require.Len(t, folder(t, filepath.Join(dir, "addons"), nil, Options{}).Modules, 2)

	for addons, want := range map[string]string{"gone": "does not exist", "../x": "is not within", "/etc": "is not within", "addons/lane": "is itself a module", "addons/docs": "no module in addons/docs"} {
		_, err := Folder(t.Context(), dir, []string{addons}, Options{Series: "19.0"})
		require.ErrorContains(t, err, want, addons)
	}
	_, err := Folder(t.Context(), dir, []string{"addons", "./addons"}, Options{Series: "19.0"})
	require.ErrorContains(t, err, "named twice")
}

func TestFolderInGit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	write(t, dir, map[string]string{".gitignore": "*.tmp\n/addons/scratch\n", "addons/lane/x.tmp": "x", "addons/lane/new.py": "y = 1\n", "addons/scratch/__manifest__.py": manifest})
	require.NoError(t, os.Remove(filepath.Join(dir, "addons/lane/models.py")))
	in := folder(t, dir, nil, Options{})
	require.Len(t, in.Modules, 1, "what Git ignores, no build takes")
	require.Equal(t, []string{"__init__.py", "__manifest__.py", "new.py"}, paths(in.Modules[0]))
}

// TestBadFolder: what does not belong into a module is there to be seen, and is never opened.
func TestBadFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"secret.py": "secret", "__manifest__.py": manifest})
	write(t, dir, module("lane"))
	lane := filepath.Join(dir, "addons/lane")
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.py"), filepath.Join(lane, "escape.py")))
	require.NoError(t, os.Symlink(outside, filepath.Join(lane, "folder")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "addons/linked")))
	require.NoError(t, os.Symlink("loop", filepath.Join(lane, "loop")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(lane, "pipe.py"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(lane, "set.sh"), []byte("#"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(lane, "set.sh"), os.ModeSetuid|0o757))
	require.NoError(t, os.WriteFile(filepath.Join(lane, "n\xff.py"), []byte("x"), 0o644))
	for name, size := range map[string]int64{"huge.py": 50 << 20, "huge.js": 2 << 20, "huge.png": 50 << 20} {
		require.NoError(t, os.WriteFile(filepath.Join(lane, name), nil, 0o644))
		require.NoError(t, os.Truncate(filepath.Join(lane, name), size))
	}
	write(t, dir, map[string]string{"addons/big/__manifest__.py": ""})
	require.NoError(t, os.Truncate(filepath.Join(dir, "addons/big/__manifest__.py"), 50<<20))

	in := folder(t, dir, nil, Options{})
	require.Len(t, in.Modules, 2)
	require.ErrorContains(t, in.Modules[0].ManifestErr, "50 MB")
	files := map[string]*check.File{}
	for _, f := range in.Modules[1].Files {
		files[strings.TrimPrefix(f.Path, "addons/lane/")] = f
	}
	require.Equal(t, filepath.Join(outside, "secret.py"), files["escape.py"].Link)
	for name, kind := range map[string]uint32{"escape.py": syscall.S_IFLNK, "folder": syscall.S_IFLNK, "loop": syscall.S_IFLNK, "pipe.py": syscall.S_IFIFO} {
		require.Nil(t, files[name].Content, name)
		require.Equal(t, kind, files[name].Mode&syscall.S_IFMT, name)
	}
	require.EqualValues(t, syscall.S_IFREG|syscall.S_ISUID|0o757, files["set.sh"].Mode)
	require.Contains(t, files, "n\xff.py", "the bytes of the file system")
	var unread []string
	for _, n := range in.Unread {
		unread = append(unread, n.String())
	}
	require.ElementsMatch(t, []string{
		"addons/linked: it is a link, and a build takes no module behind one",
		"addons/lane/huge.py: it has 50 MB; at most 4 MB are looked into",
		"addons/lane/huge.js: it has 2 MB; at most 1 MB are looked into",
		"addons/big/__manifest__.py: it has 50 MB; at most 4 MB are looked into",
	}, unread)
}

func TestDeepFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "addons/lane", strings.Repeat("d/", maxDepth+2)), 0o755))
	_, err := Folder(t.Context(), dir, nil, Options{Series: "19.0"})
	require.ErrorContains(t, err, "more than 64 folders within each other")
}

// TestChecksumsAreThoseOfABuild: a module that runs is compared by the checksum that its release has.
func TestChecksumsAreThoseOfABuild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	write(t, dir, map[string]string{"addons/lane/i18n/de.po": "po", "addons/lane/static/x.js": "x", "addons/lane/tests/test_x.py": "x", "addons/lane/data/big.bin": strings.Repeat("b", 3<<20)})
	require.NoError(t, os.Symlink("models.py", filepath.Join(dir, "addons/lane/alias.py")))
	running := []check.RunningRelease{{Release: release.Release{Modules: []release.Module{{Name: "lane"}}}}}
	sum := folder(t, dir, nil, Options{Running: running}).Modules[0].Checksum
	require.Len(t, sum, 40)
	require.Empty(t, folder(t, dir, nil, Options{}).Modules[0].Checksum, "nobody asks for it")

	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "lane")
	var in *check.Input
	stop := fmt.Errorf("far enough")
	_, err := build.Build(t.Context(), build.Options{Source: dir, Repository: "acme", Series: "19.0", Base: "oci:" + dir, Cache: t.TempDir(),
		Check: func(ctx context.Context, tree build.SourceTree) error {
			var err error
			if in, err = Source(ctx, tree, Options{Series: "19.0", Running: running}); err != nil {
				return err
			}
			return stop
		}})
	require.ErrorIs(t, err, stop, "the check comes before the base is opened")
	require.Equal(t, sum, in.Modules[0].Checksum)
	require.Equal(t, []string{"__init__.py", "__manifest__.py", "alias.py", "data/big.bin", "i18n/de.po", "models.py", "static/x.js", "tests/test_x.py"}, paths(in.Modules[0]))
	for _, f := range in.Modules[0].Files {
		if strings.HasSuffix(f.Path, "/models.py") {
			require.Equal(t, "x = 1\n", string(f.Content))
		}
		if strings.HasSuffix(f.Path, "/alias.py") {
			require.Equal(t, "models.py", f.Link)
		}
	}
}

func TestBaseThatCannotBeHad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	o := Options{Series: "19.0", Base: "oci:gone", BaseDir: dir, Cache: t.TempDir()}
	_, err := Folder(t.Context(), dir, nil, o)
	require.ErrorContains(t, err, "gone")
	o.BaseOptional = true
	in := folder(t, dir, nil, o)
	require.Nil(t, in.Base)
	require.Len(t, in.Unread, 1)
	require.Contains(t, in.Unread[0].Why, "the base image was not looked at")
}

func TestIDs(t *testing.T) {
	require.Equal(t, []string{"a", "other.b", "menu", "nested"}, xmlIDs([]byte(`<?xml version="1.0" encoding="latin-1"?>
<odoo><data><record id="a" model="m"><field name="x"><form id="no"/></field></record><template id="other.b"><div id="no"/></template>
<menuitem id="menu"><menuitem id="nested"/></menuitem></data></odoo>`)))
	require.Equal(t, []string{"a"}, xmlIDs([]byte(`<odoo><record id="a"/><record id=`)), "what comes before a fault")
	require.Empty(t, xmlIDs([]byte(`<templates><record id="a"/></templates>`)))
	require.Empty(t, xmlIDs([]byte("<odoo>"+strings.Repeat("<a>", 5000)+`<record id="a"/>`)), "nesting is bounded")
	require.Equal(t, []string{"x", "y"}, csvIDs([]byte("\ufeffname,id\n\"a\nb\",x\nc,\nd,y\nshort\n")))
	require.Empty(t, csvIDs([]byte("name\nx\n")))
}
