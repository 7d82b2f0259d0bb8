package attest

import (
	"testing"

	provenancepb "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// What is written is what the official types read, without an unknown field.
func TestOfficialTypes(t *testing.T) {
	payload, err := built().encode("acme", "sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c")
	require.NoError(t, err)
	var s intoto.Statement
	require.NoError(t, protojson.Unmarshal(payload, &s))
	require.NoError(t, s.Validate())
	require.Equal(t, intoto.StatementTypeUri, s.Type)

	own, err := parseStatement(payload)
	require.NoError(t, err)
	var p provenancepb.Provenance
	require.NoError(t, protojson.Unmarshal(own.Predicate, &p))
	require.NoError(t, p.Validate())
	require.Equal(t, "0123456789012345678901234567890123456789", p.BuildDefinition.ResolvedDependencies[0].Digest["gitCommit"])
	require.Equal(t, now, p.RunDetails.Metadata.StartedOn.AsTime())
}

// FuzzBundle reads what anybody may have attached.
func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"mediaType":"` + bundleType + `","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA==","keyid":"x"}]}}`))
	f.Add([]byte(`{"messageSignature":{}}`))
	f.Add([]byte(`{"dsseEnvelope":{"payload":"eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbeyJkaWdlc3QiOnt9fV0sInByZWRpY2F0ZVR5cGUiOiJ4In0=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		var a Attestation
		Policy{Require: []string{Provenance}}.judge(&a, content, "sha256:00")
		if a.OK {
			t.Fatal("nothing is trusted without a key")
		}
	})
}
