package attest

import (
	"crypto/ecdsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
)

func writeIndex(t *testing.T, image *Remote, list ...v1.Descriptor) {
	t.Helper()
	content, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
	require.NoError(t, err)
	_, err = image.put(t.Context(), indexTag(image.subject.Digest), types.OCIImageIndex, content)
	require.NoError(t, err)
}

// change rewrites the payload of a bundle and keeps its signature.
func change(t *testing.T, bundle []byte, f func(payload string) string) []byte {
	t.Helper()
	var b map[string]any
	require.NoError(t, json.Unmarshal(bundle, &b))
	envelope := b["dsseEnvelope"].(map[string]any)
	held, err := openBundle(bundle)
	require.NoError(t, err)
	changed := f(string(held.payload))
	require.NotEqual(t, string(held.payload), changed)
	envelope["payload"] = []byte(changed)
	out, err := json.Marshal(b)
	require.NoError(t, err)
	return out
}

// Every way in which a release is not what it claims to be is refused, with its reason.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		attach func(c *refusal)
		code   Code
		reason string
	}{
		"nothing attached": {func(*refusal) {}, NoAttestation, "no attestation of type provenance"},
		"another type only": {func(c *refusal) {
			c.attest(BillOfMaterials([]byte(`{}`)), c.key)
		}, NoAttestation, "no attestation of type provenance"},
		"another digest": {func(c *refusal) {
			payload, err := built().encode("acme", c.push("r2"))
			require.NoError(c.t, err)
			c.sign(payload)
		}, OtherDigest, "about another image"},
		"wrong key": {func(c *refusal) {
			c.attest(built(), newKey(c.t))
		}, UnknownKey, `not trusted here; trusted: "ci"`},
		"no key trusted": {func(c *refusal) {
			c.attest(built(), c.key)
			c.policy.Keys = nil
		}, UnknownKey, "trusted: none"},
		"expired key": {func(c *refusal) {
			c.attest(built(), c.key)
			c.policy.Keys[0].NotAfter = now
		}, KeyExpired, "was valid until 2026-11-20T12:00:00Z"},
		"key of tomorrow": {func(c *refusal) {
			c.attest(built(), c.key)
			c.policy.Keys[0].NotBefore = now.Add(time.Second)
		}, KeyNotYet, "valid from 2026-11-20T12:00:01Z"},
		"unknown builder": {func(c *refusal) {
			c.attest(built(func(b *Build) { b.Builder = "https://laptop.example.com" }), c.key)
		}, UnknownBuilder, "builder https://laptop.example.com is not trusted"},
		"source not allowed": {func(c *refusal) {
			c.attest(built(func(b *Build) { b.Release.Source = "https://git.example.com/mallory/erp.git" }), c.key)
		}, UnknownSource, "mallory/erp.git is not allowed"},
		"dirty": {func(c *refusal) {
			c.attest(built(func(b *Build) { b.Release.Dirty = true }), c.key)
		}, Dirty, "uncommitted changes on commit 012345678901"},
		"payload altered": {func(c *refusal) {
			payload, err := built(func(b *Build) { b.Release.Source = "https://git.example.com/mallory/erp.git" }).encode("acme", c.digest)
			require.NoError(c.t, err)
			bundle, err := seal(c.t.Context(), payload, c.key)
			require.NoError(c.t, err)
			_, err = c.open().attach(c.t.Context(), change(c.t, bundle, func(s string) string { return strings.Replace(s, "mallory", "acme", 1) }), Provenance)
			require.NoError(c.t, err)
		}, Altered, "payload or signature was altered"},
		"unsigned": {func(c *refusal) {
			_, err := c.open().attach(c.t.Context(), []byte(`{"mediaType":"`+bundleType+`","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}}`), Provenance)
			require.NoError(c.t, err)
		}, Unreadable, "0 signatures"},
		"rubbish": {func(c *refusal) {
			_, err := c.open().attach(c.t.Context(), []byte("rubbish"), Provenance)
			require.NoError(c.t, err)
		}, Unreadable, "no Sigstore bundle"},
		"signed rubbish": {func(c *refusal) {
			c.sign([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[]}`))
		}, Unreadable, "Statement/v0.1"},
		"another build type": {func(c *refusal) {
			c.attest(Claim{Type: Provenance, Predicate: map[string]any{"buildDefinition": map[string]any{"buildType": "https://example.com/make"}}}, c.key)
		}, Unreadable, "https://example.com/make"},
		"bundle edited in the registry": {func(c *refusal) {
			attached := c.attest(built(), c.key)
			hash, err := v1.NewHash(attached.Digest)
			require.NoError(c.t, err)
			content, err := c.open().manifest(c.t.Context(), hash)
			require.NoError(c.t, err)
			var m attachment
			require.NoError(c.t, json.Unmarshal(content, &m))
			c.edit(m.Layers[0].Digest.String())
		}, Altered, "the attestation's bundle was altered"},
		"attestation edited in the registry": {func(c *refusal) {
			c.edit(c.attest(built(), c.key).Digest)
		}, Altered, "altered"},
		"checks failed": {func(c *refusal) {
			c.attest(checked(false, 3), c.key)
			c.policy.Require = []string{Checks}
		}, ChecksFailed, "3 errors"},
		"checks say nothing": {func(c *refusal) {
			c.attest(Claim{Type: Checks, Predicate: map[string]any{}}, c.key)
			c.policy.Require = []string{Checks}
		}, ChecksFailed, "do not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, s *stand) {
				c := &refusal{stand: s, key: newKey(t)}
				c.policy = trusting(c.key)
				test.attach(c)
				report := s.verify(c.policy)
				var refused *Refused
				require.ErrorAs(t, report.Err(), &refused)
				require.Equal(t, test.code, refused.Code, refused.Reason)
				require.Contains(t, refused.Reason, test.reason)
				require.NotEmpty(t, refused.WayOut)
				if c.policy.Require = []string{Provenance}; c.edited {
					return // the same claim has the same name, and stays as it was edited
				}
				// One that is right beside it is enough: rubbish blocks nobody.
				s.attest(built(), c.key)
				require.NoError(t, s.verify(trusting(c.key)).Err())
			})
		})
	}
}

// refusal is a release that has something wrong. The policy trusts the key for ordinary builds; a case may bend it.
type refusal struct {
	*stand
	key    *ecdsa.PrivateKey
	policy Policy
	edited bool // in the registry's storage
}

// sign attaches a payload as it stands.
func (c *refusal) sign(payload []byte) {
	c.t.Helper()
	bundle, err := seal(c.t.Context(), payload, c.key)
	require.NoError(c.t, err)
	_, err = c.open().attach(c.t.Context(), bundle, Provenance)
	require.NoError(c.t, err)
}

// edit changes one byte of a blob in the registry's storage.
func (c *refusal) edit(digest string) {
	c.t.Helper()
	c.edited = true
	c.stand.edit(digest)
}

func (s *stand) edit(digest string) {
	s.t.Helper()
	hex := strings.TrimPrefix(digest, "sha256:")
	path := filepath.Join(s.dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
	content, err := os.ReadFile(path)
	require.NoError(s.t, err)
	content[len(content)/2] ^= 1
	require.NoError(s.t, os.WriteFile(path, content, 0o644))
}

// An image whose bytes in the registry are not what its digest says is refused, whatever is signed.
func TestWhole(t *testing.T) {
	parts := func(s *stand) v1.Manifest {
		image := s.open()
		content, err := image.manifest(t.Context(), image.subject.Digest)
		require.NoError(t, err)
		var m v1.Manifest
		require.NoError(t, json.Unmarshal(content, &m))
		return m
	}
	for name, test := range map[string]struct {
		spoil  func(s *stand)
		reason string
	}{
		"layer edited":         {func(s *stand) { s.edit(parts(s).Layers[1].Digest.String()) }, "layer 2 of 3 was altered"},
		"configuration edited": {func(s *stand) { s.edit(parts(s).Config.Digest.String()) }, "configuration was altered"},
		"layer cut short": {func(s *stand) {
			hex := parts(s).Layers[2].Digest.Hex
			require.NoError(s.t, os.Truncate(filepath.Join(s.dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data"), 100))
		}, "layer 3 of 3 was altered"},
		"layer gone": {func(s *stand) {
			hex := parts(s).Layers[0].Digest.Hex
			require.NoError(s.t, os.RemoveAll(filepath.Join(s.dir, "docker/registry/v2/blobs/sha256", hex[:2], hex)))
		}, "layer 1 of 3"},
		"manifest edited": {func(s *stand) { s.edit(s.digest) }, "image's manifest was altered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, s *stand) {
				require.NoError(t, s.open().Whole(t.Context(), nil))
				test.spoil(s)
				image, err := Open(t.Context(), s.ref("acme@"+s.digest), s.auth, nil)
				if err == nil {
					err = image.Whole(t.Context(), func(layer string) bool { return false })
				}
				var refused *Refused
				require.ErrorAs(t, err, &refused)
				require.Equal(t, Altered, refused.Code)
				require.Contains(t, refused.Reason, test.reason)
			})
		})
	}
}

func TestWholeSkipsWhatIsKnown(t *testing.T) {
	s := newStand(t, registries["own"])
	var asked []string
	require.NoError(t, s.open().Whole(t.Context(), func(layer string) bool { asked = append(asked, layer); return true }))
	require.Len(t, asked, 4, "configuration and three layers")
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, source string
		want            bool
	}{
		{"https://git.example.com/acme/erp.git", "https://git.example.com/acme/erp.git", true},
		{"https://git.example.com/acme/*", "https://git.example.com/acme/erp.git", true},
		{"https://git.example.com/acme/*", "https://git.example.com/acme/", true},
		{"https://git.example.com/acme/*", "https://git.example.com/acme/x/erp.git", false},
		{"https://git.example.com/acme/*", "https://git.example.com.evil.org/acme/erp.git", false},
		{"https://git.example.com/acme/**", "https://git.example.com/acme/x/erp.git", true},
		{"https://git.example.com/acme/**", "https://git.example.com/acme/../mallory/erp.git", false},
		{"https://git.example.com/acme/**", "https://git.example.com/acme", false},
		{"https://*.example.com/**", "https://a.example.com/b/c", true},
		{"https://*.example.com/**", "https://evil.org/.example.com/c", false},
		{"git@example.com:acme/*", "git@example.com:acme/erp", true},
		{"[", "[", false},
		{"acme", "acme", true},
		{"acme", "acme2", false},
	} {
		require.Equal(t, test.want, Matches(test.pattern, test.source), "%s %s", test.pattern, test.source)
	}
}
