//go:build docker

package docker

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

func TestReadOutTrustsNothing(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "result.json"), []byte("{}"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	out, err := readOut(dir)
	require.NoError(t, err)
	require.Equal(t, runtime.Files{"result.json": []byte("{}")}, out)

	out, err = readOut(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestWriteFilesIsAtomicAndQuiet(t *testing.T) {
	r := setup(t, "").runtime
	dir := filepath.Join(t.TempDir(), "pool")
	require.NoError(t, r.writeFiles(dir, runtime.Files{"a": []byte("1"), "b": []byte("1")}, true))
	stat := func(name string) os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return info
	}
	a, b := stat("a"), stat("b")
	require.Equal(t, os.FileMode(0o400), a.Mode().Perm())
	require.Equal(t, uint32(testUID), a.Sys().(*syscall.Stat_t).Uid)
	require.NoError(t, os.WriteFile(filepath.Join(dir, tempPrefix+"killed"), nil, 0o600))

	require.NoError(t, r.writeFiles(dir, runtime.Files{"a": []byte("1"), "b": []byte("2")}, false))
	require.True(t, os.SameFile(a, stat("a")), "an unchanged file was replaced")
	require.False(t, os.SameFile(b, stat("b")), "a changed file was written in place")
	require.NoFileExists(t, filepath.Join(dir, tempPrefix+"killed"))
}

func TestSocketOfALongFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.Greater(t, len(filepath.Join(dir, adminSocket)), longestSocket)
	var s socketFolders
	defer func() { require.NoError(t, s.close()) }()
	for range 2 { // the second time in a folder that was made anew
		path := s.path(dir)
		require.LessOrEqual(t, len(path), longestSocket)
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		require.NoError(t, dials(t.Context(), "unix", s.path(dir)))
		require.NoError(t, l.Close())
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
}

func TestPortOwnerIsNamed(t *testing.T) {
	r := setup(t, "").runtime
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	owner := r.portOwner(t.Context(), uint16(l.Addr().(*net.TCPAddr).Port))
	require.Contains(t, owner, strings.TrimSpace(string(comm)))
}

func FuzzCheckFiles(f *testing.F) {
	for _, name := range []string{"odoo.conf", "", "..", "a/b", ".x", "a\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkFiles(runtime.Files{name: nil}) != nil {
			return
		}
		if joined := filepath.Join("/dir", name); filepath.Dir(joined) != "/dir" || filepath.Base(joined) != name {
			t.Fatalf("file name %q leaves its folder", name)
		}
	})
}
