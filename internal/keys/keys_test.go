package keys

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
)

func TestOpenTwiceGivesTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	a, err := Open(dir)
	require.NoError(t, err)
	b, err := Open(dir)
	require.NoError(t, err)

	require.Equal(t, a.Password("test", "r"), b.Password("test", "r"))
	require.Len(t, a.Password("test", "r"), 64)
	require.NotEqual(t, a.Password("test", "r"), a.Password("production", "r"))
	require.NotEqual(t, a.Password("ab", "c"), a.Password("a", "bc"))
	require.Equal(t, a.BridgeKey("test", 1), b.BridgeKey("test", 1))
	require.NotEqual(t, a.BridgeKey("test", 0), a.BridgeKey("test", 1))
	require.NotEqual(t, string(a.BridgeKey("test", 0)), a.Password("test", ""))
	require.Equal(t, a.Token(), b.Token())
	require.Len(t, a.Recipients(), 2)

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "no temporary file stays")
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
}

func TestOfflineIdentityIsHandedOutOnceAndOpens(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(dir)
	require.NoError(t, err)
	text, ok := k.NewOfflineIdentity()
	require.True(t, ok)
	_, again := k.NewOfflineIdentity()
	require.False(t, again)
	later, err := Open(dir)
	require.NoError(t, err)
	_, again = later.NewOfflineIdentity()
	require.False(t, again)
	secret := strings.Split(strings.TrimSpace(text), "\n")[2]
	for _, name := range []string{masterFile, identityFile, recipientsFile, tokenFile} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NotContains(t, string(raw), secret)
	}

	offline, err := age.ParseIdentities(strings.NewReader(text))
	require.NoError(t, err)
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, later.Recipients()...)
	require.NoError(t, err)
	_, _ = io.WriteString(w, "hello")
	require.NoError(t, w.Close())
	for _, id := range []age.Identity{offline[0], later.Identity()} {
		r, err := age.Decrypt(bytes.NewReader(sealed.Bytes()), id)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
	}
}

func TestConcurrentOpenAgrees(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	got := make([]*Keys, 8)
	for i := range got {
		wg.Go(func() {
			k, err := Open(dir)
			if err == nil {
				got[i] = k
			}
		})
	}
	wg.Wait()
	handed := 0
	for _, k := range got {
		require.NotNil(t, k)
		require.Equal(t, got[0].Password("e", "r"), k.Password("e", "r"))
		require.Equal(t, got[0].Token(), k.Token())
		require.Equal(t, fmt.Sprint(got[0].Recipients()), fmt.Sprint(k.Recipients()))
		if _, ok := k.NewOfflineIdentity(); ok {
			handed++
		}
	}
	require.Equal(t, 1, handed, "only the process whose recipient was stored hands out an identity")
}

func TestDamagedKeysAreNotReplaced(t *testing.T) {
	for _, name := range []string{masterFile, identityFile, recipientsFile, tokenFile} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600))
		_, err := Open(dir)
		require.ErrorContains(t, err, name)
		raw, _ := os.ReadFile(filepath.Join(dir, name))
		require.Equal(t, "x\n", string(raw))
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, masterFile), []byte(randomHex()), 0o644))
	_, err := Open(dir)
	require.ErrorContains(t, err, "chmod 600")
}

// A Secret is mounted read-only, owned by root, and readable for the pod's group.
func TestAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, MakeSigning(dir))
	marked := func() string {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		var mark strings.Builder
		for _, e := range entries {
			info, err := e.Info()
			require.NoError(t, err)
			fmt.Fprintln(&mark, e.Name(), info.ModTime(), info.Sys().(*syscall.Stat_t).Ino)
		}
		info, err := os.Stat(dir)
		require.NoError(t, err)
		return mark.String() + info.ModTime().String()
	}
	before := marked()
	_, err = Open(dir)
	require.NoError(t, err)
	require.NoError(t, MakeSigning(dir))
	require.Equal(t, before, marked(), "whoever has all keys writes nothing")

	err = missing(filepath.Join(dir, "token"), &os.PathError{Op: "open", Path: dir, Err: syscall.EROFS})
	require.ErrorContains(t, err, "waybill key create")
	require.ErrorContains(t, err, "token")
}

func TestWhoMayReadASecret(t *testing.T) {
	for _, c := range []struct {
		mode       os.FileMode
		owner, own int
		refused    bool
	}{
		{0o600, 1000, 1000, false}, {0o640, 1000, 1000, true}, {0o604, 1000, 1000, true},
		{0o440, 0, 1000, false}, {0o640, 0, 1000, false}, {0o444, 0, 1000, true}, {0o460, 0, 1000, true},
		{0o440, 0, 0, true}, {0o440, 1001, 1000, true},
	} {
		require.Equal(t, c.refused, tooOpen(c.mode, c.owner, c.own), "%o of %d for %d", c.mode, c.owner, c.own)
	}
}

func TestNotPrinted(t *testing.T) {
	k, err := Open(t.TempDir())
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k)
	out := log.String() + fmt.Sprintf("%v %+v %#v %s", k, k, k, k)
	require.NotContains(t, out, k.Token())
	require.NotContains(t, out, "AGE-SECRET")
	require.NotContains(t, out, fmt.Sprint([]byte(k.master)))
}
