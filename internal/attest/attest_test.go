package attest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// stand is a real registry in process, with one image in it.
type stand struct {
	t      *testing.T
	dir    string // where the registry keeps its files
	host   string
	auth   authn.Authenticator
	digest string
}

// registries are Waybill's own, which keeps track of referrers, and a stock one, which does not.
var registries = map[string]func(t *testing.T, dir string) http.Handler{
	"own": func(t *testing.T, dir string) http.Handler {
		h, err := registry.Handler(dir, func(user, password string) bool { return user == "u" && password == "p" })
		require.NoError(t, err)
		return h
	},
	"stock": func(t *testing.T, dir string) http.Handler {
		config := &configuration.Configuration{
			Version: configuration.CurrentVersion, Log: configuration.Log{Level: "panic", AccessLog: configuration.AccessLog{Disabled: true}},
			Storage: configuration.Storage{"filesystem": {"rootdirectory": dir}, "redirect": {"disable": true},
				"maintenance": {"uploadpurging": map[any]any{"enabled": false}}},
		}
		config.HTTP.Secret = "test"
		return handlers.NewApp(context.Background(), config)
	},
}

// onBoth runs a test on both kinds of registry.
func onBoth(t *testing.T, test func(t *testing.T, s *stand)) {
	for kind, handler := range registries {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newStand(t, handler))
		})
	}
}

func newStand(t *testing.T, handler func(*testing.T, string) http.Handler) *stand {
	t.Helper()
	s := &stand{t: t, dir: t.TempDir(), auth: &authn.Basic{Username: "u", Password: "p"}}
	mux := http.NewServeMux()
	mux.Handle("/v2/", handler(t, s.dir))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.host = server.Listener.Addr().String()
	s.digest = s.push("r1")
	return s
}

// push writes an image and returns its digest.
func (s *stand) push(tag string) string {
	s.t.Helper()
	img, err := random.Image(2048, 3)
	require.NoError(s.t, err)
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	require.NoError(s.t, remote.Write(s.ref("acme:"+tag), img, remote.WithAuth(s.auth)))
	digest, err := img.Digest()
	require.NoError(s.t, err)
	return digest.String()
}

func (s *stand) ref(ref string) name.Reference {
	s.t.Helper()
	parsed, err := name.ParseReference(s.host + "/" + ref)
	require.NoError(s.t, err)
	return parsed
}

func (s *stand) open() *Remote { return s.openDigest(s.digest) }

func (s *stand) openDigest(digest string) *Remote {
	s.t.Helper()
	image, err := Open(s.t.Context(), s.ref("acme@"+digest), s.auth, nil)
	require.NoError(s.t, err)
	return image
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// built is the provenance of an ordinary build.
func built(change ...func(*Build)) Claim {
	b := Build{
		Release: release.Release{Repository: "acme", Name: "r1", Series: "19.0", Source: "https://git.example.com/acme/erp.git",
			Commit: "0123456789012345678901234567890123456789",
			Base:   release.Base{Reference: "odoo:19.0", Digest: "sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"}},
		Addons: []string{"addons"}, Builder: "https://ci.example.com/runner", Version: "test", Started: now, Finished: now.Add(time.Minute),
	}
	for _, f := range change {
		f(&b)
	}
	return b.Claim()
}

// checked is what came of the checks, as far as a policy looks at it.
func checked(passed bool, errors int) Claim {
	return Claim{Type: Checks, Predicate: map[string]any{"passed": passed, "counts": map[string]int{"errors": errors}}}
}

// trusting is a policy that the ordinary build satisfies.
func trusting(key *ecdsa.PrivateKey) Policy {
	return Policy{Keys: []Key{{Name: "ci", Public: &key.PublicKey}}, Builders: []string{"https://ci.example.com/runner"},
		Sources: []string{"https://git.example.com/acme/*"}, Require: []string{Provenance}, Now: now}
}

func (s *stand) attest(claim Claim, key *ecdsa.PrivateKey) Attached {
	s.t.Helper()
	attached, err := s.open().Attest(s.t.Context(), claim, key)
	require.NoError(s.t, err)
	return attached
}

func (s *stand) verify(p Policy) Report {
	s.t.Helper()
	report, err := Verify(s.t.Context(), s.open(), p)
	require.NoError(s.t, err)
	return report
}

func TestAttestAndVerify(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stand) {
		key := newKey(t)
		first := s.attest(built(), key)
		require.False(t, first.Before)
		bom := []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:1","metadata":{"timestamp":"a"},"big":12345678901234567890}`)
		s.attest(BillOfMaterials(bom), key)
		s.attest(checked(true, 0), key)
		s.attest(Scan{Scanner: "urn:waybill:scan", Database: "osv", DatabaseVersion: "2026-11-01", Started: now, Result: []string{}}.Claim(), key)

		p := trusting(key)
		p.Require = []string{Provenance, Checks, SBOM, Vulnerabilities}
		report := s.verify(p)
		require.NoError(t, report.Err())
		require.Len(t, report.Attestations, 4)
		for _, a := range report.Attestations {
			require.True(t, a.OK)
			require.Equal(t, s.digest, a.Subject)
			require.Equal(t, Key{Public: &key.PublicKey}.ID(), a.KeyID)
			require.Equal(t, "ci", a.KeyName)
		}
		found, ok := report.Find(Provenance)
		require.True(t, ok)
		require.Equal(t, "https://ci.example.com/runner", found.Builder)
		require.Equal(t, "https://git.example.com/acme/erp.git", found.Source)
		found, _ = report.Find(SBOM)
		require.Contains(t, string(found.Predicate()), "12345678901234567890", "numbers stay as they were written")
		require.NoError(t, s.open().Whole(t.Context(), nil))
	})
}

// The same build run again, at another time and on another connection, adds nothing; anything else does.
func TestAttestTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stand) {
		key := newKey(t)
		first := s.attest(built(), key)
		again := s.attest(built(func(b *Build) { b.Started = now.Add(time.Hour) }), key)
		require.True(t, again.Before)
		require.Equal(t, first.Digest, again.Digest)
		require.Len(t, s.verify(trusting(key)).Attestations, 1)
		require.False(t, s.attest(built(func(b *Build) { b.Builder = "urn:other" }), key).Before)
		require.False(t, s.attest(built(), newKey(t)).Before, "another key's word is another word")
		require.Len(t, s.verify(trusting(key)).Attestations, 3)
	})
}

// An index that was never written, because the build was killed, is made up for by the next run.
func TestAttestGoesOnAfterAKill(t *testing.T) {
	s := newStand(t, registries["stock"])
	key := newKey(t)
	first := s.attest(built(), key)
	image := s.open()
	_, err := image.put(t.Context(), indexTag(image.subject.Digest), types.OCIImageIndex, []byte(`{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[]}`))
	require.NoError(t, err)
	require.NoError(t, s.verify(trusting(key)).Err(), "Waybill itself finds it by its own tag")
	index, _, err := image.index(t.Context(), "manifests/"+indexTag(image.subject.Digest))
	require.NoError(t, err)
	require.Empty(t, index.Manifests)

	require.True(t, s.attest(built(), key).Before)
	index, _, err = image.index(t.Context(), "manifests/"+indexTag(image.subject.Digest))
	require.NoError(t, err)
	require.Len(t, index.Manifests, 1, "and others find it in the index")
	require.Equal(t, first.Digest, index.Manifests[0].Digest.String())
}

// What is refused by the registry is an error that names the image.
func TestAttestRefused(t *testing.T) {
	s := newStand(t, registries["own"])
	s.auth = authn.Anonymous
	_, err := s.open().Attest(t.Context(), built(), newKey(t))
	require.ErrorContains(t, err, "attach the provenance of "+s.host+"/acme@sha256:")
	require.ErrorContains(t, err, "UNAUTHORIZED")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, err = s.open().Attest(t.Context(), built(), p384)
	require.ErrorContains(t, err, "P-256")
}

// Statement, envelope and bundle are byte for byte the same for the same claim and key.
func TestDeterministic(t *testing.T) {
	key := newKey(t)
	payload, err := built().encode("acme", "sha256:00")
	require.NoError(t, err)
	a, err := seal(t.Context(), payload, key)
	require.NoError(t, err)
	b, err := seal(t.Context(), payload, key)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b))
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, a))
	require.Equal(t, compact.String(), string(a))
}

func TestEssence(t *testing.T) {
	for name, test := range map[string]struct {
		a, b string
		same bool
	}{
		"order of keys":    {`{"x":1,"y":2}`, `{"y":2,"x":1}`, true},
		"passing":          {`{"x":1,"m":{"t":1,"k":2}}`, `{"x":1,"m":{"t":2,"k":2}}`, true},
		"beside passing":   {`{"x":1,"m":{"t":1,"k":2}}`, `{"x":1,"m":{"t":1,"k":3}}`, false},
		"numbers as given": {`{"x":1.0}`, `{"x":1}`, false},
		"not an object":    {`{"m":[1]}`, `{"m":[1]}`, true},
	} {
		a, err := essence([]byte(test.a), []string{"m.t"})
		require.NoError(t, err)
		b, err := essence([]byte(test.b), []string{"m.t"})
		require.NoError(t, err)
		require.Equal(t, test.same, bytes.Equal(a, b), name)
	}
}
