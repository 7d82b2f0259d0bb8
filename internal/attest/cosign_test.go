//go:build cosign

package attest

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// cosign runs the pinned tool on an image, offline but for the registry.
func (s *stand) cosign(keyFile, predicateType string) (payload string, said string, err error) {
	s.t.Helper()
	tool := os.Getenv("WAYBILL_TEST_COSIGN")
	if tool == "" {
		s.t.Fatal("WAYBILL_TEST_COSIGN names no cosign; run: make test-cosign")
	}
	cmd := exec.CommandContext(s.t.Context(), tool, "verify-attestation", "--key", keyFile, "--type", predicateType,
		"--insecure-ignore-tlog", "--allow-http-registry", s.open().Reference())
	cmd.Env = append(os.Environ(), "HOME="+s.t.TempDir())
	var stdout, stderr writer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if err != nil {
		return "", string(stderr), err
	}
	var envelope struct{ Payload string }
	require.NoError(s.t, json.Unmarshal(stdout, &envelope))
	decoded, decodeErr := base64.StdEncoding.DecodeString(envelope.Payload)
	require.NoError(s.t, decodeErr)
	return string(decoded), string(stderr), nil
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// Somebody else's tool accepts what is signed here, in both kinds of registry, and refuses another key,
// another type, and what was altered.
func TestCosignVerifies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stand) {
		key, other := newKey(t), newKey(t)
		file := func(name string, public any) string {
			text, err := FormatPublicKey(public)
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(path, text, 0o644))
			return path
		}
		right, wrong := file("right.pub", key.Public()), file("wrong.pub", other.Public())
		s.attest(built(), key)
		s.attest(BillOfMaterials([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}`)), key)
		s.attest(Scan{Scanner: "urn:waybill:scan", Database: "osv", Started: now, Finished: now, Result: []string{}}.Claim(), key)
		s.attest(checked(true, 0), key)
		for short, long := range map[string]string{"slsaprovenance1": Provenance, "cyclonedx": SBOM, "vuln": Vulnerabilities, Checks: Checks} {
			payload, said, err := s.cosign(right, short)
			require.NoError(t, err, said)
			require.Contains(t, payload, `"predicateType":"`+long+`"`)
			require.Contains(t, payload, s.digest[len("sha256:"):])
			_, said, err = s.cosign(wrong, short)
			require.Error(t, err, said)
		}
		_, said, err := s.cosign(right, "spdxjson")
		require.Error(t, err, said)
	})
}

func TestCosignRefusesWhatWasAltered(t *testing.T) {
	s := newStand(t, registries["own"])
	key := newKey(t)
	text, err := FormatPublicKey(key.Public())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key.pub")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	payload, err := built().encode("acme", s.digest)
	require.NoError(t, err)
	bundle, err := seal(t.Context(), payload, key)
	require.NoError(t, err)
	_, err = s.open().attach(t.Context(), change(t, bundle, func(s string) string { return s[:len(s)-1] + " }" }), Provenance)
	require.NoError(t, err)
	_, said, err := s.cosign(path, "slsaprovenance1")
	require.Error(t, err)
	require.Contains(t, said, "signature")
}
