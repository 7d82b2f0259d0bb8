package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMakeSigning(t *testing.T) {
	dir := t.TempDir()
	_, err := SigningKeys(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, MakeSigning(dir))
	info, err := os.Stat(filepath.Join(dir, SigningFile))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	first, err := os.ReadFile(filepath.Join(dir, SigningFile))
	require.NoError(t, err)

	require.NoError(t, os.Remove(filepath.Join(dir, publicFile)))
	require.NoError(t, MakeSigning(dir))
	again, err := os.ReadFile(filepath.Join(dir, SigningFile))
	require.NoError(t, err)
	require.Equal(t, first, again, "a key that is there stays")
	require.FileExists(t, filepath.Join(dir, publicFile))

	signer, err := OpenSigner(t.Context(), filepath.Join(dir, SigningFile))
	require.NoError(t, err)
	keys, err := SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	sum := sha256.Sum256([]byte("x"))
	signature, err := signer.Sign(nil, sum[:], crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(keys[0].Public, sum[:], signature))
}

func TestRotateSigning(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, MakeSigning(dir))
	before, err := SigningKeys(dir)
	require.NoError(t, err)
	until := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, RotateSigning(dir, until))
	after, err := SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, after, 2)
	require.False(t, after[0].Public.Equal(before[0].Public))
	require.True(t, after[0].NotAfter.IsZero())
	require.True(t, after[1].Public.Equal(before[0].Public))
	require.Equal(t, until, after[1].NotAfter)
	public, err := os.ReadFile(filepath.Join(dir, publicFile))
	require.NoError(t, err)
	want, err := formatPublic(after[0].Public)
	require.NoError(t, err)
	require.Equal(t, string(want), string(public))
	require.NoError(t, RotateSigning(dir, until))
	after, err = SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, after, 3)
}

// Cut off after the old key was noted as retired, it signs on and counts without an end.
func TestRotationCutOff(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, MakeSigning(dir))
	old, err := os.ReadFile(filepath.Join(dir, SigningFile))
	require.NoError(t, err)
	require.NoError(t, RotateSigning(dir, time.Now()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, SigningFile), old, 0o600))
	keys, err := SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.True(t, keys[0].NotAfter.IsZero())
	require.NoError(t, RotateSigning(dir, time.Now()))
	keys, err = SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, keys, 2, "and is noted once")
}

func TestMakeSigningAtOnce(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { _ = MakeSigning(dir) })
	}
	group.Wait()
	require.NoError(t, MakeSigning(dir))
	keys, err := SigningKeys(dir)
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

func TestNewSigningKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ci.pem")
	public, err := NewSigningKey(path)
	require.NoError(t, err)
	signer, err := OpenSigner(t.Context(), "file:"+path)
	require.NoError(t, err)
	require.True(t, public.Equal(signer.Public()))
	_, err = NewSigningKey(path)
	require.ErrorContains(t, err, "there already")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	t.Setenv("CI_KEY", string(text))
	signer, err = OpenSigner(t.Context(), "env:CI_KEY")
	require.NoError(t, err)
	require.True(t, public.Equal(signer.Public()))
}

func TestOpenSignerRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	good, err := newSigningKey()
	require.NoError(t, err)
	for name, test := range map[string]struct{ uri, reason string }{
		"no file":     {filepath.Join(dir, "none"), "no such file"},
		"readable":    {write("open.pem", good, 0o644), "can be read by others"},
		"no PEM":      {write("a", "secret words", 0o600), "waybill key new"},
		"a public":    {write("b", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0o600), "PUBLIC KEY"},
		"encrypted":   {write("c", "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n", 0o600), "passphrase"},
		"scheme":      {"awskms:///alias/x", "knows env, file"},
		"environment": {"env:WAYBILL_NO_SUCH_KEY", "is empty"},
	} {
		_, err := OpenSigner(t.Context(), test.uri)
		require.ErrorContains(t, err, test.reason, name)
		require.NotContains(t, err.Error(), "secret words")
	}
	RegisterSigner("testkms", func(_ context.Context, where *url.URL) (crypto.Signer, error) {
		return nil, errors.New("asked for " + where.Host + where.Path)
	})
	_, err = OpenSigner(t.Context(), "testkms://vault/key1")
	require.EqualError(t, err, "asked for vault/key1")
}
