package impact

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
)

func TestSeal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := []attest.Key{{Name: "own", Public: &key.PublicKey}}
	a := New(Assessment{Repository: "acme", Release: "sha256:" + strings.Repeat("ab", 32), ReleaseName: "r3", Environment: "production", At: at, By: "ann", Between: []Between{},
		Tenants: []Tenant{takes("acme", "canary", 100)}}, rings)
	bundle, err := Seal(t.Context(), a, key)
	require.NoError(t, err)
	opened, err := Open(append(bundle, '\n'), keys, at)
	require.NoError(t, err)
	require.Equal(t, *a, opened.Assessment)
	require.Equal(t, "own", opened.Key.Name)
	var text bytes.Buffer
	WriteText(&text, &opened.Assessment)
	require.Contains(t, text.String(), "as of 2026-11-22 10:00:00 UTC, signed for ann")

	_, err = Open(bundle, []attest.Key{{Name: "other", Public: &other.PublicKey}}, at)
	require.ErrorIs(t, err, ErrUntrue, "another key")
	payload := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	require.Contains(t, string(bundle), `"payload"`)
	_, start, _ := strings.Cut(string(bundle), `"payload":"`)
	old, _, _ := strings.Cut(start, `"`)
	said, err := base64.StdEncoding.DecodeString(old)
	require.NoError(t, err)
	altered := strings.Replace(string(bundle), old, payload(strings.Replace(string(said), `"name":"acme","ring"`, `"name":"bolt","ring"`, 1)), 1)
	require.NotEqual(t, string(bundle), altered)
	_, err = Open([]byte(altered), keys, at)
	require.ErrorIs(t, err, ErrUntrue, "altered")
	_, err = Open([]byte("{}"), keys, time.Now())
	require.ErrorIs(t, err, ErrUntrue)

	elsewhere, err := attest.SignDocument(t.Context(), attest.Claim{Type: PredicateType, Predicate: a}, "acme", "sha256:"+strings.Repeat("cd", 32), key)
	require.NoError(t, err)
	_, err = Open(elsewhere, keys, at)
	require.ErrorContains(t, err, "and its subject is", "about another release than it speaks of")
}
