package folder

import (
	"os"
	"path/filepath"
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
	out, err := ReadOut(dir)
	require.NoError(t, err)
	require.Equal(t, runtime.Files{"result.json": []byte("{}")}, out)

	out, err = ReadOut(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestWriteFilesIsAtomicAndQuiet(t *testing.T) {
	o := &Owner{UID: os.Geteuid(), GID: os.Getegid()}
	if o.UID == 0 { // then files are given away
		o.UID, o.GID = 12345, 12346
	}
	dir := filepath.Join(t.TempDir(), "pool")
	require.NoError(t, o.Write(dir, runtime.Files{"a": []byte("1"), "b": []byte("1")}, true))
	stat := func(name string) os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return info
	}
	a, b := stat("a"), stat("b")
	require.Equal(t, os.FileMode(0o400), a.Mode().Perm())
	require.Equal(t, uint32(o.UID), a.Sys().(*syscall.Stat_t).Uid)
	require.NoError(t, os.WriteFile(filepath.Join(dir, tempPrefix+"killed"), nil, 0o600))

	require.NoError(t, o.Write(dir, runtime.Files{"a": []byte("1"), "b": []byte("2")}, false))
	require.True(t, os.SameFile(a, stat("a")), "an unchanged file was replaced")
	require.False(t, os.SameFile(b, stat("b")), "a changed file was written in place")
	require.NoFileExists(t, filepath.Join(dir, tempPrefix+"killed"))
}

func FuzzCheckFiles(f *testing.F) {
	for _, name := range []string{"odoo.conf", "", "..", "a/b", ".x", "a\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if (runtime.Files{name: nil}).Check() != nil {
			return
		}
		if joined := filepath.Join("/dir", name); filepath.Dir(joined) != "/dir" || filepath.Base(joined) != name {
			t.Fatalf("file name %q leaves its folder", name)
		}
	})
}
