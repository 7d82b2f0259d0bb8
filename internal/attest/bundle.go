package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssepb "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

// bundleType is the media type of a Sigstore bundle, and the artifact type of what is attached.
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// signer makes a crypto.Signer one of DSSE's.
type signer struct {
	crypto.Signer
	id string
}

// Sign signs without a source of randomness where the key allows it (RFC 6979), so that one claim
// signed twice gives the same bytes.
func (s signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return s.Signer.Sign(nil, sum[:], crypto.SHA256)
}

func (s signer) KeyID() (string, error) { return s.id, nil }

// seal signs a payload and puts it into a bundle.
func seal(ctx context.Context, payload []byte, with crypto.Signer) ([]byte, error) {
	id, err := KeyID(with.Public())
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	envelopes, err := dsse.NewEnvelopeSigner(signer{with, id})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	envelope, err := envelopes.SignPayload(ctx, payloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	encoded, err := protojson.Marshal(&bundlepb.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &bundlepb.VerificationMaterial{
			Content: &bundlepb.VerificationMaterial_PublicKey{PublicKey: &commonpb.PublicKeyIdentifier{Hint: id}},
		},
		Content: &bundlepb.Bundle_DsseEnvelope{DsseEnvelope: &dssepb.Envelope{
			Payload: payload, PayloadType: payloadType,
			Signatures: []*dssepb.Signature{{Sig: signature, Keyid: id}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the bundle: %w", err)
	}
	var compact bytes.Buffer // protojson changes its white space from build to build, on purpose
	if err := json.Compact(&compact, encoded); err != nil {
		return nil, fmt.Errorf("encode the bundle: %w", err)
	}
	return compact.Bytes(), nil
}

// envelope is what a bundle holds.
type envelope struct {
	payload     []byte
	payloadType string
	signatures  [][]byte
	keyID       string // as the bundle claims; nothing but a hint
}

func openBundle(content []byte) (*envelope, error) {
	var b bundlepb.Bundle
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(content, &b); err != nil {
		return nil, fmt.Errorf("it is no Sigstore bundle: %w", err)
	}
	held := b.GetDsseEnvelope()
	if held == nil {
		return nil, errors.New("the bundle holds no DSSE envelope")
	}
	e := &envelope{payload: held.GetPayload(), payloadType: held.GetPayloadType(), keyID: b.GetVerificationMaterial().GetPublicKey().GetHint()}
	for _, s := range held.GetSignatures() {
		e.signatures = append(e.signatures, s.GetSig())
		if e.keyID == "" {
			e.keyID = s.GetKeyid()
		}
	}
	if len(e.signatures) == 0 || len(e.signatures) > 16 {
		return nil, fmt.Errorf("the envelope has %d signatures; expected one", len(e.signatures))
	}
	if e.payloadType != payloadType {
		return nil, fmt.Errorf("the payload is of type %q; expected %s", e.payloadType, payloadType)
	}
	return e, nil
}

// signedBy says whether one of the signatures is by the key.
func (e *envelope) signedBy(public *ecdsa.PublicKey) bool {
	sum := sha256.Sum256(dsse.PAE(e.payloadType, e.payload))
	for _, s := range e.signatures {
		if ecdsa.VerifyASN1(public, sum[:], s) {
			return true
		}
	}
	return false
}
