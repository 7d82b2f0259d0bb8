// Package sbomtest makes small but real releases for tests of what looks into one: built from a Git
// repository, on a base with as little in it as a reading looks at, in a real registry.
package sbomtest

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// Registry runs one until the test ends. Whoever has the password may write.
func Registry(t *testing.T, password string) build.Registry {
	t.Helper()
	handler, err := registry.Handler(t.TempDir(), func(_, given string) bool { return given == password })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return build.Registry{Host: server.Listener.Addr().String(), User: "waybill", Password: password}
}

// Source is a Git repository with one module, acme_lane 1.0, that depends on another one.
func Source(t *testing.T, depends string) string {
	t.Helper()
	dir := t.TempDir()
	module := filepath.Join(dir, "addons", "acme_lane")
	require.NoError(t, os.MkdirAll(module, 0o755))
	manifest := "{'name': 'Lane', 'version': '1.0', 'license': 'LGPL-3', 'depends': ['" + depends + "']}"
	require.NoError(t, os.WriteFile(filepath.Join(module, "__manifest__.py"), []byte(manifest), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(module, "__init__.py"), nil, 0o644))
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", "lane"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	return dir
}

// Release builds release r1 of shop on a Debian 13 with libc6 2.41-12, of the source glibc, and the
// Python distribution flask 2.0, which pip installed.
func Release(t *testing.T, images build.Registry) release.Release {
	t.Helper()
	built, err := build.Build(t.Context(), build.Options{Source: Source(t, "base"), Repository: "shop", Name: "r1", Series: "19.0",
		Base: "rootfs:" + rootfs(t), Registry: images, Cache: t.TempDir()})
	require.NoError(t, err)
	return built
}

func rootfs(t *testing.T) string {
	t.Helper()
	const odoo = "usr/lib/python3/dist-packages/odoo/"
	var content bytes.Buffer
	pack := tar.NewWriter(&content)
	for _, f := range [][2]string{
		{"etc/os-release", "ID=debian\nVERSION_ID=13\n"},
		{"usr/bin/python3.13", ""},
		{"usr/local/lib/python3.13/dist-packages/flask-2.0.dist-info/METADATA", "Name: Flask\nVersion: 2.0\n"},
		{"var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nSource: glibc\nVersion: 2.41-12\n"},
		{odoo + "release.py", "FINAL = 'final'\nversion_info = (19, 0, 0, FINAL, 0, '')\n"},
		{odoo + "addons/base/__manifest__.py", "{'name': 'Base', 'version': '1.3'}"},
	} {
		require.NoError(t, pack.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}))
		_, err := io.WriteString(pack, f[1])
		require.NoError(t, err)
	}
	require.NoError(t, pack.Close())
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	require.NoError(t, os.WriteFile(file, content.Bytes(), 0o644))
	return file
}
