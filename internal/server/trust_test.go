package server

import (
	"context"
	"crypto"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// customs is a server with a registry, in which lies one release.
type customs struct {
	t      *testing.T
	server *server
	images string // folder of the registry
	rel    release.Release
	layers []string
}

func newCustoms(t *testing.T) *customs {
	t.Helper()
	c := &customs{t: t, images: t.TempDir()}
	handler, err := registry.Handler(c.images, func(string, string) bool { return true })
	require.NoError(t, err)
	elsewhere := httptest.NewServer(handler)
	t.Cleanup(elsewhere.Close)
	c.server = &server{config: Config{Data: t.TempDir(), Registry: strings.TrimPrefix(elsewhere.URL, "http://")}}
	require.NoError(t, os.Mkdir(c.keys(), 0o700))
	require.NoError(t, keys.MakeSigning(c.keys()))

	img, err := random.Image(1024, 2)
	require.NoError(t, err)
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	ref, err := name.ParseReference(c.server.config.Registry + "/acme:r1")
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "u", Password: "p"})))
	digest, err := img.Digest()
	require.NoError(t, err)
	m, err := img.Manifest()
	require.NoError(t, err)
	for _, l := range m.Layers {
		c.layers = append(c.layers, l.Digest.Hex)
	}
	c.rel = release.Release{Digest: digest.String(), Repository: "acme", Name: "r1", Source: "https://git.example.com/acme/erp", Commit: strings.Repeat("a", 40)}
	return c
}

func (c *customs) keys() string { return filepath.Join(c.server.config.Data, "keys") }

// sign attaches the provenance, with the installation's own key where none is given.
func (c *customs) sign(with crypto.Signer, change func(*attest.Build)) {
	c.t.Helper()
	if with == nil {
		var err error
		with, err = keys.OpenSigner(c.t.Context(), filepath.Join(c.keys(), keys.SigningFile))
		require.NoError(c.t, err)
	}
	b := attest.Build{Release: c.rel, Addons: []string{"addons"}, Version: "test", Started: time.Now()}
	if change != nil {
		change(&b)
	}
	ref, auth, err := build.Registry{Host: c.server.config.Registry, User: "u", Password: "p"}.Locate("acme@" + c.rel.Digest)
	require.NoError(c.t, err)
	image, err := attest.Open(c.t.Context(), ref, auth, nil)
	require.NoError(c.t, err)
	_, err = image.Attest(c.t.Context(), b.Claim(), with)
	require.NoError(c.t, err)
}

func (c *customs) editLayer(i int) {
	path := filepath.Join(c.images, "docker/registry/v2/blobs/sha256", c.layers[i][:2], c.layers[i], "data")
	content, err := os.ReadFile(path)
	require.NoError(c.t, err)
	content[10] ^= 1
	require.NoError(c.t, os.WriteFile(path, content, 0o644))
}

func TestTrust(t *testing.T) {
	long.Test(t)
	second := promotion.Snapshot{Environment: estate.Environment{Name: "production"}, Before: "test"}
	under := func(trust estate.Trust) promotion.Snapshot {
		s := second
		s.Trust = &trust
		return s
	}
	own := estate.Trust{OwnKey: true, Require: []string{"provenance"}}
	dirty := func(b *attest.Build) { b.Release.Dirty = true }
	for name, test := range map[string]struct {
		prepare  func(c *customs)
		snapshot promotion.Snapshot
		code     attest.Code // empty: it may enter
	}{
		"signed here":      {func(c *customs) { c.sign(nil, nil) }, under(own), ""},
		"without a Trust":  {func(c *customs) { c.sign(nil, nil) }, second, ""},
		"not signed":       {func(*customs) {}, second, attest.NoAttestation},
		"require nothing":  {func(*customs) {}, under(estate.Trust{OwnKey: true}), attest.NoAttestation},
		"signed elsewhere": {func(c *customs) { c.sign(newSigner(c.t), nil) }, second, attest.UnknownKey},
		"own key not trusted": {func(c *customs) { c.sign(nil, nil) }, under(estate.Trust{
			Keys: []estate.TrustKey{{Name: "ci", PublicKey: publicKey(t, newSigner(t))}}}), attest.UnknownKey},
		"rotated, still counts": {func(c *customs) {
			c.sign(nil, nil)
			require.NoError(c.t, keys.RotateSigning(c.keys(), time.Now().Add(time.Hour)))
		}, second, ""},
		"rotated, counts no more": {func(c *customs) {
			c.sign(nil, nil)
			require.NoError(c.t, keys.RotateSigning(c.keys(), time.Now().Add(-time.Hour)))
		}, second, attest.KeyExpired},
		"rotated, signed anew": {func(c *customs) {
			c.sign(nil, nil)
			require.NoError(c.t, keys.RotateSigning(c.keys(), time.Now().Add(-time.Hour)))
			c.sign(nil, nil)
		}, second, ""},
		"dirty in the first":      {func(c *customs) { c.sign(nil, dirty) }, promotion.Snapshot{Environment: estate.Environment{Name: "test"}}, ""},
		"dirty in the second":     {func(c *customs) { c.sign(nil, dirty) }, second, attest.Dirty},
		"dirty allowed":           {func(c *customs) { c.sign(nil, dirty) }, under(estate.Trust{OwnKey: true, AllowDirty: true}), ""},
		"builder":                 {func(c *customs) { c.sign(nil, nil) }, under(estate.Trust{OwnKey: true, Builders: []string{"https://ci"}}), attest.UnknownBuilder},
		"source":                  {func(c *customs) { c.sign(nil, nil) }, under(estate.Trust{OwnKey: true, Sources: []string{"https://git.example.com/other/*"}}), attest.UnknownSource},
		"source allowed":          {func(c *customs) { c.sign(nil, nil) }, under(estate.Trust{OwnKey: true, Sources: []string{"https://git.example.com/acme/*"}}), ""},
		"more required":           {func(c *customs) { c.sign(nil, nil) }, under(estate.Trust{OwnKey: true, Require: []string{"provenance", "sbom"}}), attest.NoAttestation},
		"layer edited":            {func(c *customs) { c.sign(nil, nil); c.editLayer(1) }, second, attest.Altered},
		"layer edited, not asked": {func(c *customs) { c.editLayer(1) }, second, attest.NoAttestation},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCustoms(t)
			test.prepare(c)
			err := c.server.trust(newIntact())(t.Context(), c.rel, test.snapshot)
			if test.code == "" {
				require.NoError(t, err)
				return
			}
			var refused *attest.Refused
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.code, refused.Code, refused.Reason)
		})
	}
}

// What cannot be found out is no refusal: it is tried again.
func TestTrustUnknown(t *testing.T) {
	c := newCustoms(t)
	c.sign(nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.server.trust(newIntact())(ctx, c.rel, promotion.Snapshot{})
	require.ErrorIs(t, err, context.Canceled)
	var refused *attest.Refused
	require.NotErrorAs(t, err, &refused)

	require.NoError(t, os.Remove(filepath.Join(c.keys(), keys.SigningFile)))
	err = c.server.trust(newIntact())(t.Context(), c.rel, promotion.Snapshot{})
	require.ErrorContains(t, err, keys.SigningFile)
	require.NotErrorAs(t, err, &refused)
}

// Layers are read once by a server, however many tenants a release enters for.
func TestLayersAreReadOnce(t *testing.T) {
	c := newCustoms(t)
	c.sign(nil, nil)
	trusted := c.server.trust(newIntact())
	require.NoError(t, trusted(t.Context(), c.rel, promotion.Snapshot{}))
	c.editLayer(0)
	require.NoError(t, trusted(t.Context(), c.rel, promotion.Snapshot{}), "known already; whoever pulls it compares the digest again")
	require.Error(t, c.server.trust(newIntact())(t.Context(), c.rel, promotion.Snapshot{}), "another server has not read it")
}

func newSigner(t *testing.T) crypto.Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k.pem")
	_, err := keys.NewSigningKey(path)
	require.NoError(t, err)
	signer, err := keys.OpenSigner(t.Context(), path)
	require.NoError(t, err)
	return signer
}

func publicKey(t *testing.T, of crypto.Signer) string {
	t.Helper()
	text, err := attest.FormatPublicKey(of.Public())
	require.NoError(t, err)
	return string(text)
}
