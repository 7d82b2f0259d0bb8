package attest

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Document is a statement that was opened: one that travels as a file of its own, attached to nothing.
type Document struct {
	Type      string // of the predicate
	Name      string // of the subject
	Digest    string // of the subject, "sha256:…"
	Predicate json.RawMessage
	Key       Key // that has signed it
}

// SignDocument makes a signed Sigstore bundle of a claim about an image, to be kept as a file.
func SignDocument(ctx context.Context, claim Claim, name, digest string, with crypto.Signer) ([]byte, error) {
	payload, err := claim.encode(name, digest)
	if err != nil {
		return nil, err
	}
	bundle, err := seal(ctx, payload, with)
	if err == nil && len(bundle) > maxBundle {
		err = fmt.Errorf("the document has %d bytes; at most %d are possible", len(bundle), maxBundle)
	}
	return bundle, err
}

// OpenDocument checks the signature of a bundle against the keys, and opens it. What was not signed by
// one of them, or with one that no longer counts now, is a *Refused.
func OpenDocument(bundle []byte, predicateType string, keys []Key, now time.Time) (Document, error) {
	var d Document
	if len(bundle) > maxBundle {
		return d, fmt.Errorf("it has %d bytes; at most %d are read", len(bundle), maxBundle)
	}
	held, err := openBundle(bundle)
	if err != nil {
		return d, err
	}
	a := Attestation{Type: predicateType, KeyID: held.keyID}
	if refused := (Policy{Keys: keys, Now: now}).signature(&a, held); refused != nil {
		return d, refused
	}
	s, err := parseStatement(held.payload)
	if err != nil {
		return d, err
	}
	if s.PredicateType != predicateType {
		return d, fmt.Errorf("it is a statement of type %s; expected %s", s.PredicateType, predicateType)
	}
	if len(s.Subject) != 1 || s.Subject[0].Digest["sha256"] == "" {
		return d, errors.New("it is not about one image with a SHA-256 digest")
	}
	d = Document{Type: s.PredicateType, Name: s.Subject[0].Name, Digest: "sha256:" + s.Subject[0].Digest["sha256"], Predicate: s.Predicate}
	for _, key := range keys {
		if key.ID() == a.KeyID {
			d.Key = key
		}
	}
	return d, nil
}
