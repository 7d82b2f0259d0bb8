package impact

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
)

// PredicateType says that a statement is an assessment.
const PredicateType = "https://waybill.dev/impact/v1"

// ErrUntrue is in every error that says that a file is not what was signed.
var ErrUntrue = errors.New("the assessment does not hold")

// Seal signs an assessment: a Sigstore bundle with an in-toto statement about the release's image.
func Seal(ctx context.Context, a *Assessment, with crypto.Signer) ([]byte, error) {
	bundle, err := attest.SignDocument(ctx, attest.Claim{Type: PredicateType, Predicate: a}, a.Repository, a.Release, with)
	if err != nil {
		return nil, fmt.Errorf("sign the assessment of %s in %s: %w", a.ReleaseName, a.Environment, err)
	}
	return bundle, nil
}

// Opened is an assessment whose signature was verified.
type Opened struct {
	Assessment Assessment
	Key        attest.Key // that has signed it
}

// Open verifies a signed assessment with one of the keys, and that it speaks of the release that it is about. An error with ErrUntrue says
// that it is not what was signed.
func Open(bundle []byte, keys []attest.Key, now time.Time) (Opened, error) {
	var o Opened
	signed, err := attest.OpenDocument(bytes.TrimSpace(bundle), PredicateType, keys, now)
	var refused *attest.Refused
	if errors.As(err, &refused) {
		return o, fmt.Errorf("%w: %s", ErrUntrue, refused.Reason)
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrUntrue, err)
	}
	if err := json.Unmarshal(signed.Predicate, &o.Assessment); err != nil {
		return o, fmt.Errorf("%w: its content does not parse: %w", ErrUntrue, err)
	}
	if o.Assessment.Release != signed.Digest {
		return o, fmt.Errorf("%w: it speaks of release %s, and its subject is %s", ErrUntrue, o.Assessment.Release, signed.Digest)
	}
	o.Key = signed.Key
	return o, nil
}
