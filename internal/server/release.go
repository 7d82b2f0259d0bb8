package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/sbom"
)

// releaseEvidence is what is attached to a release's image and what is known of it. Showing a release never fails because
// something of it cannot be had: the answer then says why.
func (s *server) releaseEvidence(ctx context.Context, r release.Release) (api.ReleaseEvidence, error) {
	found := api.ReleaseEvidence{Refusals: []api.ReleaseRefusal{}, Attestations: []api.ReleaseAttestation{}}
	declared, err := s.declared(ctx)
	if err != nil {
		return found, err
	}
	if len(declared.Environments) == 0 {
		found.Unknown = "the estate has no environment, so nothing says what is trusted"
		return found, nil
	}
	last := declared.Environments[len(declared.Environments)-1]
	trust := declared.TrustFor(last.Name)
	snapshot := promotion.Snapshot{Environment: last, Trust: &trust, Vulnerabilities: declared.Vulnerabilities, Root: declared.Root}
	if n := len(declared.Environments); n > 1 {
		snapshot.Before = declared.Environments[n-2].Name
	}
	found.Environment = last.Name
	_, report, err := s.attested(ctx, r, snapshot)
	if err != nil {
		found.Unknown = err.Error()
		return found, nil //nolint:nilerr // it is told
	}
	found.Trusted = report.OK
	for _, x := range report.Refusals {
		found.Refusals = append(found.Refusals, api.ReleaseRefusal{Reason: x.Reason, WayOut: x.WayOut})
	}
	for _, a := range report.Attestations {
		view := api.ReleaseAttestation{Type: attest.ShortName(a.Type), OK: a.OK, Key: a.KeyName, Builder: a.Builder, Source: a.Source, Commit: a.Commit}
		if view.Key == "" {
			view.Key = a.KeyID
		}
		if a.Refused != nil {
			view.Reason = a.Refused.Reason
		}
		found.Attestations = append(found.Attestations, view)
	}
	if a, ok := report.Find(attest.Checks); ok {
		if found.Checks, err = releaseChecks(a.Predicate()); err != nil {
			found.Unknown = "the signed results of the checks cannot be read: " + err.Error()
		}
	}
	known, err := s.evidence(ctx, r, snapshot)
	switch {
	case err != nil:
		found.KnownWhy = err.Error()
	case known.Vulnerabilities == nil:
		found.KnownWhy = known.Why["vulnerabilities"]
	default:
		v := known.Vulnerabilities
		found.Known = &api.ReleaseVulnerability{Critical: v.Critical, High: v.High, Medium: v.Medium, Low: v.Low}
	}
	return found, nil
}

func releaseChecks(predicate []byte) (*api.ReleaseChecks, error) {
	var report check.Report
	if err := json.Unmarshal(predicate, &report); err != nil {
		return nil, err
	}
	c := &api.ReleaseChecks{Skipped: report.Skipped, Ran: len(report.Checks), Modules: report.Modules, Errors: report.Counts.Errors, Warnings: report.Counts.Warnings,
		Notes: report.Counts.Notes, Accepted: report.Counts.Accepted, Findings: []api.ReleaseFinding{}}
	for _, f := range report.Findings[:min(len(report.Findings), 200)] {
		place := f.File
		if place == "" {
			place = f.Module
		}
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, f.Line)
		}
		c.Findings = append(c.Findings, api.ReleaseFinding{Check: f.Check, Severity: fmt.Sprint(f.Severity), Place: place, Message: f.Message, Fix: f.Fix, Accepted: f.Accepted})
	}
	return c, nil
}

// releaseSBOM is what a release is made of, as CycloneDX. The base image is read once, and remembered.
func (s *server) releaseSBOM(ctx context.Context, r release.Release) ([]byte, error) {
	inventory, err := sbom.Read(ctx, r.Repository+"@"+r.Digest, s.images(), s.cache())
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	err = inventory.Write(&content)
	return content.Bytes(), err
}
