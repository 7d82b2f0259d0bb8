// Package attest says in writing what is known of an image, signs it, and checks what others have
// said: in-toto statements in DSSE envelopes, attached to the image as Sigstore bundles, so that
// cosign reads them too. It works from the registry alone, or from an OCI layout, and without a
// transparency log: who is trusted is a matter of keys that the verifier was given.
//
// It decides nothing about promotions: it is given a Policy and answers which statements hold.
package attest

// The predicate types that Waybill writes and reads.
const (
	Provenance      = "https://slsa.dev/provenance/v1"
	SBOM            = "https://cyclonedx.org/bom"
	Checks          = "https://github.com/waybill-dev/waybill/blob/main/docs/trust.md#checks-v1"
	Vulnerabilities = "https://cosign.sigstore.dev/attestation/vuln/v1"
)

// names are what people call the predicate types, in the estate and on the terminal.
var names = []struct{ short, predicate string }{
	{"provenance", Provenance}, {"checks", Checks}, {"sbom", SBOM}, {"vulnerabilities", Vulnerabilities},
}

// ShortName is what people call a predicate type; one that Waybill does not know keeps its URI.
func ShortName(predicateType string) string {
	for _, n := range names {
		if n.predicate == predicateType {
			return n.short
		}
	}
	return predicateType
}

// PredicateType is the predicate type of a short name, and empty for an unknown one.
func PredicateType(short string) string {
	for _, n := range names {
		if n.short == short {
			return n.predicate
		}
	}
	return ""
}

// Limits on what is read from a registry, which anybody may have written.
const (
	maxBundle    = 64 << 20 // bytes; the bill of materials of a large image has a few million
	maxManifest  = 4 << 20  // bytes; what registries accept
	maxReferrers = 500      // attestations of one image
)
