package attest

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Report is what is said of an image, and whether that is enough.
type Report struct {
	Image        string        `json:"image"`
	Digest       string        `json:"digest"`
	Attestations []Attestation `json:"attestations"`
	OK           bool          `json:"ok"`
	Refusals     []*Refused    `json:"refusals,omitempty"` // one for each thing that is required and does not hold
}

// Err is nil where the image is trusted, and otherwise the first refusal.
func (r Report) Err() error {
	if r.OK {
		return nil
	}
	return r.Refusals[0]
}

// Find is an attestation of the type that holds.
func (r Report) Find(predicateType string) (Attestation, bool) {
	for _, a := range r.Attestations {
		if a.OK && a.Type == predicateType {
			return a, true
		}
	}
	return Attestation{}, false
}

// Verify reads everything that is attached to an image and holds it against the policy. One
// attestation that holds is enough for its type: whoever may write to the registry could otherwise
// block a release by attaching rubbish. The error is about reading only; what is refused is in the
// report.
func Verify(ctx context.Context, image Image, p Policy) (Report, error) {
	report := Report{Image: image.Name(), Digest: image.Digest()}
	list, err := image.referrers(ctx)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		return report, err
	}
	for _, d := range list {
		a := Attestation{Digest: d.Digest.String(), Type: typeOf(d)}
		bundle, err := readBundle(ctx, image, d)
		switch {
		case err == nil:
			p.judge(&a, bundle, image.Digest())
		case errors.As(err, &a.Refused):
		case ctx.Err() != nil:
			return report, ctx.Err()
		default:
			a.Refused = refuse(Unreadable, buildAgain, "attestation %.19s: %v", a.Digest, err)
		}
		report.Attestations = append(report.Attestations, a)
	}
	slices.SortStableFunc(report.Attestations, func(a, b Attestation) int {
		if c := strings.Compare(rank(a.Type), rank(b.Type)); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	for _, required := range p.Require {
		if _, ok := report.Find(required); !ok {
			report.Refusals = append(report.Refusals, report.why(required))
		}
	}
	report.OK = len(report.Refusals) == 0
	return report, nil
}

// rank puts the types in the order in which they are explained.
func rank(predicateType string) string {
	for i, n := range names {
		if n.predicate == predicateType {
			return string(rune('a' + i))
		}
	}
	return "z" + predicateType
}

// nearest lists the reasons from the one that comes closest to an attestation that holds.
var nearest = []Code{ChecksFailed, Dirty, UnknownSource, UnknownBuilder, OtherDigest, KeyExpired, KeyNotYet, Altered, UnknownKey, Unreadable}

// why says why nothing of a required type holds.
func (r Report) why(required string) *Refused {
	var best *Refused
	for _, a := range r.Attestations {
		if a.Type != required && a.Type != "" || a.Refused == nil {
			continue
		}
		if best == nil || slices.Index(nearest, a.Refused.Code) < slices.Index(nearest, best.Code) {
			best = a.Refused
		}
	}
	if best == nil {
		return refuse(NoAttestation, buildAgain, "it has no attestation of type %s", ShortName(required))
	}
	return best
}
