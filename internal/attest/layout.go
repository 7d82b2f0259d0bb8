package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layoutImage is an image in an OCI layout: a folder with index.json and blobs.
type layoutImage struct {
	folder string
	index  v1.IndexManifest
	digest v1.Hash
}

// OpenLayout finds an image in an OCI layout. digest may be empty where the layout has one image only.
func OpenLayout(folder, digest string) (Image, error) {
	content, err := readFile(filepath.Join(folder, "index.json"), maxManifest)
	if err != nil {
		return nil, fmt.Errorf("the OCI layout %s: %w", folder, err)
	}
	l := &layoutImage{folder: folder}
	if err := json.Unmarshal(content, &l.index); err != nil {
		return nil, fmt.Errorf("the OCI layout %s: index.json does not parse: %w", folder, err)
	}
	var images []v1.Hash
	for _, d := range l.index.Manifests {
		if d.MediaType.IsImage() && (digest == "" || d.Digest.String() == digest) {
			m, err := l.attachment(d.Digest)
			if err != nil {
				return nil, err
			}
			if m.Subject == nil {
				images = append(images, d.Digest)
			}
		}
	}
	switch {
	case len(images) == 1:
		l.digest = images[0]
		return l, nil
	case digest != "":
		return nil, fmt.Errorf("the OCI layout %s has no image %s", folder, digest)
	case len(images) == 0:
		return nil, fmt.Errorf("the OCI layout %s has no image", folder)
	}
	return nil, fmt.Errorf("the OCI layout %s has %d images; name one: oci:%s@sha256:…", folder, len(images), folder)
}

func (l *layoutImage) Name() string   { return "oci:" + l.folder }
func (l *layoutImage) Digest() string { return l.digest.String() }

func (l *layoutImage) Whole(ctx context.Context, known func(string) bool) error {
	return whole(ctx, l, known)
}

// attachment reads as much of a manifest as is needed to see what it refers to.
func (l *layoutImage) attachment(digest v1.Hash) (attachment, error) {
	var m attachment
	content, err := l.manifest(context.Background(), digest)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("the manifest %s does not parse: %w", digest, err)
	}
	return m, nil
}

func (l *layoutImage) referrers(context.Context) ([]v1.Descriptor, error) {
	list := l.index.Manifests
	// Tools that copy from a registry without the referrers API bring its index along under its tag.
	for _, d := range l.index.Manifests {
		if d.MediaType != types.OCIImageIndex || d.Annotations["org.opencontainers.image.ref.name"] != indexTag(l.digest) {
			continue
		}
		content, err := l.manifest(context.Background(), d.Digest)
		if err != nil {
			return nil, err
		}
		var index v1.IndexManifest
		if err := json.Unmarshal(content, &index); err != nil {
			return nil, fmt.Errorf("the index of attestations does not parse: %w", err)
		}
		list = union(list, index.Manifests)
	}
	if len(list) > maxReferrers {
		return nil, fmt.Errorf("the OCI layout %s has %d manifests; at most %d are read", l.folder, len(list), maxReferrers)
	}
	var found []v1.Descriptor
	for _, d := range list {
		if !d.MediaType.IsImage() || d.Digest == l.digest {
			continue
		}
		content, err := l.manifest(context.Background(), d.Digest)
		if err != nil {
			return nil, lost("attestation", d.Digest, err)
		}
		var m attachment
		if json.Unmarshal(content, &m) != nil || m.Subject == nil || m.Subject.Digest != l.digest || m.ArtifactType != bundleType {
			continue
		}
		if d, err = describe(content, d.MediaType); err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	return found, nil
}

func (l *layoutImage) manifest(_ context.Context, digest v1.Hash) ([]byte, error) {
	content, err := readFile(l.path(digest), maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil, refuse(Altered, "copy the image again, with its attestations", "the manifest %s is missing in %s", digest, l.folder)
	}
	if err != nil {
		return nil, err
	}
	return content, matches("manifest", content, digest)
}

func (l *layoutImage) blob(_ context.Context, digest v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(l.path(digest))
	if errors.Is(err, os.ErrNotExist) {
		return nil, refuse(Altered, "copy the image again, with its attestations", "%s is missing in %s", digest, l.folder)
	}
	return f, err
}

// path is where a blob lies; a Hash has been checked for its form and leads nowhere else.
func (l *layoutImage) path(digest v1.Hash) string {
	return filepath.Join(l.folder, "blobs", filepath.Base(digest.Algorithm), filepath.Base(digest.Hex))
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b.Bytes(), err
}
