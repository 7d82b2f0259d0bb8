//go:build tools

// Package cosign pins the cosign that a test verifies attestations with. It is a module of its own:
// it is heavy, and nothing else shall be built anew, or at another version, because of it.
package cosign

import _ "github.com/sigstore/cosign/v3/cmd/cosign"
