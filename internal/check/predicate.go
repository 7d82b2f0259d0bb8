package check

import "encoding/json"

// predicate is a report as others read it in an attestation: those who admit releases look at
// passed and counts, people at the rest.
type predicate struct {
	Checker string `json:"checker"` // URI of what checked
	Version string `json:"version"` // of Waybill
	Passed  bool   `json:"passed"`  // nothing refuses the release, and the checks were run
	Report
}

// checker names what makes the reports.
const checker = "urn:waybill:check"

// Predicate returns the report as the predicate of an attestation about the image that was built.
// It depends on the report and on Waybill's version, on no clock. Checks that were skipped did not
// pass.
func (r Report) Predicate(version string) (json.RawMessage, error) {
	return json.Marshal(predicate{Checker: checker, Version: version, Passed: r.Skipped == "" && !r.Failed(), Report: r})
}
