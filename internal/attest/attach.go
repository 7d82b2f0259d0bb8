package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// attachment is the manifest of an attestation, as cosign writes it. It holds no time, so that the
// same bundle attached twice is one attachment.
type attachment struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

const (
	emptyType             = "application/vnd.oci.empty.v1+json"
	contentAnnotation     = "dev.sigstore.bundle.content"
	predicateAnnotation   = "dev.sigstore.bundle.predicateType"
	contentAnnotationDSSE = "dsse-envelope"
)

// Attached is the outcome of an Attest.
type Attached struct {
	Type   string `json:"type"`
	Digest string `json:"digest"` // of the attestation's manifest
	KeyID  string `json:"key_id"`
	Before bool   `json:"before,omitempty"` // it was there already; nothing was added
}

// Attest signs a claim about the image and attaches it. The same claim by the same key is attached
// once, however often it is asked for and by however many at a time. On an error nothing may be
// taken as attached; asking again completes it.
func (r *Remote) Attest(ctx context.Context, claim Claim, with crypto.Signer) (Attached, error) {
	attached, err := r.attest(ctx, claim, with)
	if err != nil {
		return attached, fmt.Errorf("attach the %s of %s: %w", ShortName(claim.Type), r.Reference(), err)
	}
	return attached, nil
}

func (r *Remote) attest(ctx context.Context, claim Claim, with crypto.Signer) (Attached, error) {
	id, err := KeyID(with.Public())
	if err != nil {
		return Attached{}, err
	}
	attached := Attached{Type: claim.Type, KeyID: id}
	payload, err := claim.encode(r.Name(), r.Digest())
	if err != nil {
		return attached, err
	}
	if attached.Digest, err = r.said(ctx, claim, payload, with.Public().(*ecdsa.PublicKey)); err != nil {
		return attached, err
	}
	if attached.Digest != "" {
		attached.Before = true
		return attached, r.repair(ctx)
	}
	bundle, err := seal(ctx, payload, with)
	if err != nil {
		return attached, err
	}
	if len(bundle) > maxBundle {
		return attached, fmt.Errorf("it has %d bytes; at most %d are attached", len(bundle), maxBundle)
	}
	attached.Digest, err = r.attach(ctx, bundle, claim.Type)
	return attached, err
}

// said finds an attestation by the key that says the same already, and returns its digest.
func (r *Remote) said(ctx context.Context, claim Claim, payload []byte, by *ecdsa.PublicKey) (string, error) {
	list, err := r.referrers(ctx)
	list = slices.DeleteFunc(list, func(d v1.Descriptor) bool {
		kind, known := d.Annotations[predicateAnnotation]
		return known && kind != claim.Type
	})
	if err != nil || len(list) == 0 {
		return "", err
	}
	wanted, err := parseStatement(payload)
	if err != nil {
		return "", err
	}
	want, err := essence(wanted.Predicate, claim.Passing)
	if err != nil {
		return "", fmt.Errorf("the predicate is no JSON: %w", err)
	}
	for _, d := range list {
		content, err := readBundle(ctx, r, d)
		if err != nil {
			continue // somebody else's affair, and no reason not to say ours
		}
		held, err := openBundle(content)
		if err != nil || !held.signedBy(by) {
			continue
		}
		s, err := parseStatement(held.payload)
		if err != nil || s.PredicateType != claim.Type || !s.about(r.Digest()) {
			continue
		}
		if got, err := essence(s.Predicate, claim.Passing); err == nil && bytes.Equal(got, want) {
			return d.Digest.String(), nil
		}
	}
	return "", ctx.Err()
}

// attach uploads a bundle and makes it known as referring to the image.
func (r *Remote) attach(ctx context.Context, bundle []byte, predicateType string) (string, error) {
	client, err := r.authorised(ctx, true)
	if err != nil {
		return "", err
	}
	m := attachment{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: bundleType, Subject: &r.subject,
		Annotations: map[string]string{contentAnnotation: contentAnnotationDSSE, predicateAnnotation: predicateType},
	}
	var parts []v1.Descriptor
	for _, layer := range []v1.Layer{static.NewLayer([]byte("{}"), emptyType), static.NewLayer(bundle, bundleType)} {
		if err := remote.WriteLayer(r.repository, layer, remote.WithContext(ctx), remote.WithTransport(client.Transport)); err != nil {
			return "", err
		}
		digest, err := layer.Digest()
		if err != nil {
			return "", err
		}
		kind, err := layer.MediaType()
		if err != nil {
			return "", err
		}
		size, err := layer.Size()
		if err != nil {
			return "", err
		}
		parts = append(parts, v1.Descriptor{MediaType: kind, Digest: digest, Size: size})
	}
	m.Config, m.Layers = parts[0], parts[1:]
	content, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return "", err
	}
	tracked, err := r.put(ctx, digest.String(), m.MediaType, content)
	if err != nil || tracked {
		return digest.String(), err
	}
	if _, err := r.put(ctx, ownTag(r.subject.Digest, digest), m.MediaType, content); err != nil {
		return "", err
	}
	return digest.String(), r.bringIndexUp(ctx)
}

// readBundle reads the bundle of an attestation.
func readBundle(ctx context.Context, image Image, d v1.Descriptor) ([]byte, error) {
	content, err := image.manifest(ctx, d.Digest)
	if err != nil {
		return nil, lost("attestation", d.Digest, err)
	}
	var m attachment
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, fmt.Errorf("the attestation's manifest does not parse: %w", err)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != bundleType {
		return nil, fmt.Errorf("the attestation is no Sigstore bundle of version 0.3")
	}
	r, err := image.blob(ctx, m.Layers[0].Digest)
	if err != nil {
		return nil, lost("attestation's bundle", m.Layers[0].Digest, err)
	}
	defer func() { _ = r.Close() }()
	bundle, err := readAll(r, maxBundle)
	if err != nil {
		return nil, fmt.Errorf("read the attestation's bundle: %w", err)
	}
	return bundle, matches("attestation's bundle", bundle, m.Layers[0].Digest)
}
