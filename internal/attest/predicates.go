package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// BillOfMaterials is a CycloneDX document, as JSON, as a claim.
func BillOfMaterials(document []byte) Claim {
	return Claim{Type: SBOM, Predicate: json.RawMessage(document), Passing: []string{"serialNumber", "metadata.timestamp"}}
}

// Scan is the result of a search for known vulnerabilities, in the form of cosign's predicate
// (https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md).
type Scan struct {
	Scanner         string // URI
	Version         string
	Database        string // URI or name of the database
	DatabaseVersion string // or its date
	Started         time.Time
	Finished        time.Time
	Result          any // what was found, in the scanner's own form
}

// Claim is the scan as a claim. A later scan that found the same in the same database says nothing new.
func (s Scan) Claim() Claim {
	type object = map[string]any
	return Claim{Type: Vulnerabilities, Passing: []string{"metadata"}, Predicate: object{
		"invocation": object{"parameters": nil, "uri": "", "event_id": "", "builder.id": ""},
		"scanner": object{"uri": s.Scanner, "version": s.Version, "result": s.Result,
			"db": object{"uri": s.Database, "version": s.DatabaseVersion}},
		"metadata": object{"scanStartedOn": s.Started.UTC(), "scanFinishedOn": s.Finished.UTC()},
	}}
}

// checksPassed reads whether the checks of a release let it pass.
func checksPassed(predicate []byte) error {
	var r struct {
		Passed *bool          `json:"passed"`
		Counts map[string]int `json:"counts"`
	}
	if err := json.Unmarshal(predicate, &r); err != nil {
		return fmt.Errorf("the results of the checks do not parse: %w", err)
	}
	if r.Passed == nil {
		return errors.New("the results of the checks do not say whether the release passed")
	}
	if !*r.Passed {
		return fmt.Errorf("the release did not pass its checks: %d errors", r.Counts["errors"])
	}
	return nil
}
