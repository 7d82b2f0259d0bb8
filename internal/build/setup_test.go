package build

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/registry"
)

// repo is a real Git repository with a folder addons.
type repo struct {
	t   *testing.T
	dir string
	day int
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "source")}
	require.NoError(t, os.MkdirAll(r.dir, 0o755))
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	r.day++
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	date := fmt.Sprintf("2026-01-%02dT12:00:00+0200", 1+r.day%28)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A",
		"GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date, "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(r.t, os.WriteFile(file, []byte(content), 0o644))
}

func (r *repo) module(name, manifest string) {
	r.t.Helper()
	r.write("addons/"+name+"/__manifest__.py", manifest)
	r.write("addons/"+name+"/__init__.py", "")
	r.write("addons/"+name+"/models/model.py", "# "+name+"\n")
}

func (r *repo) commit(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "-m", message)
	return r.git("rev-parse", "HEAD")
}

// fakeBase is the tar of a root file system with as little of Odoo as a scan looks at.
var fakeBase = map[string]string{
	"usr/bin/python3.13": "",
	"usr/bin/python3.9":  "",
	"var/lib/dpkg/status": "Package: libodoo\nVersion: 1\n\nPackage: odoo-19\nStatus: install ok installed\n" +
		"Version: 19.0.0+dfsg-1\n\nPackage: zlib\nVersion: 2\n",
	"usr/lib/python3/dist-packages/odoo/release.py":                          "FINAL = 'final'\nversion_info = (19, 0, 0, FINAL, 0, '')\n",
	"usr/lib/python3/dist-packages/odoo/addons/base/__manifest__.py":         "{'name': 'Base', 'version': '1.3', 'installable': True}",
	"usr/lib/python3/dist-packages/odoo/addons/base/__init__.py":             "",
	"usr/lib/python3/dist-packages/odoo/addons/base/i18n/fr.po":              "msgid\n",
	"usr/lib/python3/dist-packages/odoo/addons/base/tests/x/__manifest__.py": "{'name': 'X'}",
	"usr/lib/python3/dist-packages/odoo/addons/stock/__manifest__.py":        "{'name': 'Stock', 'version': '1.1', 'depends': ['base']}",
	"usr/lib/python3/dist-packages/odoo/addons/stock/__init__.py":            "",
	"usr/lib/python3/dist-packages/odoo/addons/stock/static/a.js":            "a",
	"usr/lib/python3/dist-packages/odoo/addons/lost/__manifest__.py":         "{'name': 'Lost', 'depends': ['enterprise']}",
	"usr/lib/python3/dist-packages/odoo/addons/broken/__manifest__.py":       "{'name': open('/etc/passwd').read()}",
}

func writeRootfs(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range sortedNames(files) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(files[name])), ModTime: folderTime}))
		_, err := io.WriteString(w, files[name])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
	return file
}

// bundle is what a test of a build needs.
type bundle struct {
	registry Registry
	options  Options
	repo     *repo
}

func setup(t *testing.T) *bundle {
	t.Helper()
	handler, err := registry.Handler(t.TempDir(), func(user, password string) bool { return user == "u" && password == "p" })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	b := &bundle{repo: newRepo(t)}
	b.registry = Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}
	_, err = importForTest(t, writeRootfs(t, fakeBase), b.registry)
	require.NoError(t, err)
	b.options = Options{Source: b.repo.dir, Repository: "acme", Series: "19.0", Registry: b.registry, Cache: t.TempDir()}
	return b
}

func importForTest(t *testing.T, rootfs string, reg Registry) (string, error) {
	folder := filepath.Join(t.TempDir(), "layout")
	if err := PackRootfs(t.Context(), rootfs, folder); err != nil {
		return "", err
	}
	return ImportBase(t.Context(), "oci:"+folder, reg, "odoo:19.0")
}

// pull reads an image back from the registry.
func (b *bundle) pull(t *testing.T, ref string) v1.Image {
	t.Helper()
	parsed, err := b.registry.reference(ref)
	require.NoError(t, err)
	img, err := remote.Image(parsed)
	require.NoError(t, err)
	return img
}

// contents lists an image's files as "path mode uid:gid mtime → content".
func contents(t *testing.T, img v1.Image, under string) []string {
	t.Helper()
	layers, err := img.Layers()
	require.NoError(t, err)
	var lines []string
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		require.NoError(t, err)
		tr := tar.NewReader(r)
		for {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if !strings.HasPrefix(h.Name, under) {
				continue
			}
			content, err := io.ReadAll(tr)
			require.NoError(t, err)
			lines = append(lines, fmt.Sprintf("%s %o %d:%d %s %s%s", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.UTC().Format("2006-01-02"), content, h.Linkname))
		}
		r.Close()
	}
	slices.Sort(lines)
	return lines
}

func diskFiles(t *testing.T, dir string) []odoo.File {
	t.Helper()
	var files []odoo.File
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files = append(files, odoo.File{
			Path: strings.TrimPrefix(p, dir+"/"),
			Open: func() (io.ReadCloser, error) { return os.Open(p) },
		})
		return nil
	}))
	return files
}

func memoryFiles(contents map[string]string) []odoo.File {
	var files []odoo.File
	for name, content := range contents {
		files = append(files, odoo.File{Path: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }})
	}
	return files
}
