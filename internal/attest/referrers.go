package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// How an attestation is found again. Where the registry keeps track of what refers to an image (the
// referrers API of OCI 1.1), that is all. Elsewhere the specification has clients keep an index under
// a tag made of the image's digest, by reading, changing and writing it; two that do so at once lose
// one entry. So there, every attestation first gets a tag of its own, which nobody else writes, and
// the index is brought up to what these tags say, and read back, until it has them all.

// indexTag is the specification's tag for the index of an image's referrers.
func indexTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// ownTag is the tag of one attestation. It stays below the 128 characters that a tag may have.
func ownTag(subject, attestation v1.Hash) string {
	return indexTag(subject) + ownMark + attestation.Hex[:32]
}

const ownMark = ".waybill-"

// indexTries bounds the race for the index; each lost turn means that another writer had its own.
const indexTries = 200

// referrers are the attestations of the image.
func (r *Remote) referrers(ctx context.Context) ([]v1.Descriptor, error) {
	index, found, err := r.index(ctx, "referrers/"+url.PathEscape(r.Digest())+"?artifactType="+url.QueryEscape(bundleType))
	if err != nil {
		return nil, fmt.Errorf("list what is attached to %s: %w", r.Reference(), err)
	}
	list := index.Manifests
	if !found || len(list) == 0 {
		// Also where the API says "none": the attestations may be older than the registry's API.
		fallback, err := r.tagged(ctx)
		if err != nil {
			return nil, fmt.Errorf("list what is attached to %s: %w", r.Reference(), err)
		}
		list = fallback
	}
	list = slices.DeleteFunc(slices.Clone(list), func(d v1.Descriptor) bool {
		return d.ArtifactType != "" && d.ArtifactType != bundleType
	})
	if len(list) > maxReferrers {
		return nil, fmt.Errorf("%s has %d attestations; at most %d are read", r.Reference(), len(list), maxReferrers)
	}
	return list, nil
}

// index reads an index of manifests; found is false where there is none.
func (r *Remote) index(ctx context.Context, path string) (index v1.IndexManifest, found bool, err error) {
	answer, err := r.ask(ctx, http.MethodGet, path, http.Header{"Accept": {string(types.OCIImageIndex)}}, nil)
	if err != nil {
		return index, false, err
	}
	defer func() { _ = answer.Body.Close() }()
	kind := types.MediaType(strings.TrimSpace(strings.Split(answer.Header.Get("Content-Type"), ";")[0]))
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusMethodNotAllowed,
		answer.StatusCode == http.StatusOK && kind != types.OCIImageIndex: // a front end's page for paths it does not know
		return index, false, nil
	case answer.StatusCode == http.StatusBadRequest && strings.HasPrefix(path, "referrers/"): // some answer so for paths they don't know
		return index, false, nil
	}
	if err := transport.CheckError(answer, http.StatusOK); err != nil {
		return index, false, err
	}
	content, err := readAll(answer.Body, maxManifest)
	if err != nil {
		return index, false, err
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return index, false, fmt.Errorf("the index of attestations does not parse: %w", err)
	}
	return index, true, nil
}

// tagged is what is attached where the registry keeps no track: what the index has, and what has a tag of its own.
func (r *Remote) tagged(ctx context.Context) ([]v1.Descriptor, error) {
	index, _, err := r.index(ctx, "manifests/"+indexTag(r.subject.Digest))
	if err != nil {
		return nil, err
	}
	own, err := r.own(ctx, map[string]v1.Descriptor{})
	if err != nil {
		return nil, err
	}
	return union(index.Manifests, own), nil
}

// own are the attestations with tags of their own; seen remembers, by tag, those that were read before.
func (r *Remote) own(ctx context.Context, seen map[string]v1.Descriptor) ([]v1.Descriptor, error) {
	client, err := r.authorised(ctx, false)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(r.repository, remote.WithContext(ctx), remote.WithTransport(client.Transport))
	if err != nil && !gone(err) {
		return nil, fmt.Errorf("list the tags of %s: %w", r.repository, err)
	}
	var list []v1.Descriptor
	for _, tag := range tags {
		if !strings.HasPrefix(tag, indexTag(r.subject.Digest)+ownMark) {
			continue
		}
		if len(list) >= maxReferrers {
			return nil, fmt.Errorf("%s has more than %d attestations", r.Reference(), maxReferrers)
		}
		d, ok := seen[tag]
		if !ok {
			content, kind, err := r.getManifest(ctx, tag)
			if gone(err) {
				continue // it is being made: the tag is listed before it leads anywhere; its writer sees to the index
			}
			if err != nil {
				return nil, fmt.Errorf("read the attestation %s: %w", tag, err)
			}
			if d, err = describe(content, kind); err != nil {
				return nil, fmt.Errorf("read the attestation %s: %w", tag, err)
			}
			if !strings.HasSuffix(tag, d.Digest.Hex[:32]) {
				continue // altered in the storage; what the index names is then found to be so
			}
			seen[tag] = d
		}
		list = append(list, d)
	}
	return list, nil
}

// describe is the descriptor of an attestation's manifest, as an index of referrers has it.
func describe(content []byte, kind types.MediaType) (v1.Descriptor, error) {
	var m attachment
	if err := json.Unmarshal(content, &m); err != nil {
		return v1.Descriptor{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size, ArtifactType: m.ArtifactType, Annotations: m.Annotations}, err
}

// union appends to a what only b has.
func union(a, b []v1.Descriptor) []v1.Descriptor {
	all := slices.Clone(a)
	for _, d := range b {
		if !slices.ContainsFunc(all, func(e v1.Descriptor) bool { return e.Digest == d.Digest }) {
			all = append(all, d)
		}
	}
	return all
}

// bringIndexUp writes the index until it holds every attestation that has a tag of its own. Whoever
// writes it last reads it once more afterwards, and so finds what it wrote over.
func (r *Remote) bringIndexUp(ctx context.Context) error {
	seen := map[string]v1.Descriptor{}
	tag := indexTag(r.subject.Digest)
	for try := range indexTries {
		own, err := r.own(ctx, seen)
		if err != nil {
			return err
		}
		index, found, err := r.index(ctx, "manifests/"+tag)
		if err != nil {
			return err
		}
		all := union(index.Manifests, own)
		if found && len(all) == len(index.Manifests) {
			return nil
		}
		content, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: all})
		if err != nil {
			return err
		}
		if _, err := r.put(ctx, tag, types.OCIImageIndex, content); err != nil {
			return err
		}
		// Writers that collided don't come back in step.
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(rand.N(min(time.Duration(try)*10*time.Millisecond, 300*time.Millisecond))):
			}
		}
	}
	return fmt.Errorf("the index of attestations, tag %s, was written over %d times by others", tag, indexTries)
}

// repair completes what an attachment that was cut off has left: the tag was there, the index was not.
func (r *Remote) repair(ctx context.Context) error {
	if _, tracked, err := r.index(ctx, "referrers/"+url.PathEscape(r.Digest())); err != nil || tracked {
		return err
	}
	return r.bringIndexUp(ctx)
}

// put writes a manifest and says whether the registry itself keeps track of what it refers to.
func (r *Remote) put(ctx context.Context, identifier string, kind types.MediaType, content []byte) (tracked bool, err error) {
	answer, err := r.ask(ctx, http.MethodPut, "manifests/"+identifier, http.Header{"Content-Type": {string(kind)}}, content)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.Header.Get("OCI-Subject") != "", transport.CheckError(answer, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}
