package estate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func publicKey(t *testing.T) (*ecdsa.PublicKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return &key.PublicKey, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestTrustFor(t *testing.T) {
	e := Estate{}
	require.Equal(t, Trust{OwnKey: true, Require: []string{"provenance"}}, e.TrustFor("production"), "without a word in the estate, the own key and provenance")
	e.Trusts = []Trust{{Environments: []string{"production"}, Require: []string{"provenance", "checks"}}, {Require: []string{"provenance", "sbom"}}}
	require.Equal(t, e.Trusts[0], e.TrustFor("production"))
	require.Equal(t, e.Trusts[1], e.TrustFor("test"))
}

func TestTrustKeyFiles(t *testing.T) {
	public, text := publicKey(t)
	files := map[string]string{"trust.yaml": "kind: Trust\nkeys:\n  - name: ci\n    file: keys/ci.pub\n", "keys/ci.pub": text}
	maps.Copy(files, Skeleton("acme"))
	e, err := Load(t.Context(), write(t, files))
	require.NoError(t, err)
	got, err := e.TrustFor("test").Keys[0].Public()
	require.NoError(t, err)
	require.True(t, public.Equal(got))

	for name, test := range map[string]struct{ content, message string }{
		"absent":      {"", `trust.yaml:4:11: keys[0].file: "keys/ci.pub" cannot be read`},
		"private key": {"-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", "a private key never belongs into an estate"},
		"two keys":    {text + text, "there are several"},
	} {
		files["keys/ci.pub"] = test.content
		if test.content == "" {
			delete(files, "keys/ci.pub")
		}
		_, err := Load(t.Context(), write(t, files))
		require.ErrorContains(t, err, test.message, name)
		require.NotEmpty(t, Problems(err))
		require.NotContains(t, err.Error(), "aGVsbG8")
	}
}

func TestTrustKeyWindow(t *testing.T) {
	from, until := TrustKey{}.Window()
	require.True(t, from.IsZero() && until.IsZero())
	from, until = TrustKey{NotBefore: "2026-11-01", NotAfter: "2026-11-30"}.Window()
	require.Equal(t, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), from)
	require.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), until, "the last day counts as a whole")
}
