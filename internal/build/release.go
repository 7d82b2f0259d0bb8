package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// ReadRelease reads what a release is from its image: "acme@sha256:…" or "acme:r2" in Waybill's
// registry, or a reference that names a host. The result's Digest is the image's.
func ReadRelease(ctx context.Context, ref string, registry Registry) (release.Release, error) {
	rel, _, err := readRelease(ctx, ref, registry)
	if err != nil {
		return release.Release{}, fmt.Errorf("reading release %s: %w", ref, err)
	}
	if rel.BridgeProtocol != bridge.Protocol {
		return release.Release{}, fmt.Errorf("reading release %s: its bridge speaks protocol %d and this Waybill %d; build it again", ref, rel.BridgeProtocol, bridge.Protocol)
	}
	return rel, nil
}

func readRelease(ctx context.Context, ref string, registry Registry) (release.Release, v1.Image, error) {
	parsed, err := registry.reference(ref)
	if err != nil {
		return release.Release{}, nil, err
	}
	descriptor, err := remote.Get(parsed, append(registry.options(ctx, parsed), remote.WithPlatform(platform()))...)
	if err != nil {
		return release.Release{}, nil, explain(err)
	}
	if !descriptor.MediaType.IsImage() {
		return release.Release{}, nil, fmt.Errorf("it is a %s, not one image", descriptor.MediaType)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(descriptor.Manifest))
	if err != nil {
		return release.Release{}, nil, err
	}
	encoded, ok := manifest.Annotations[release.Annotation]
	if !ok {
		return release.Release{}, nil, fmt.Errorf("the image was not made by waybill build: its manifest has no annotation %s", release.Annotation)
	}
	var rel release.Release
	if err := json.Unmarshal([]byte(encoded), &rel); err != nil {
		return release.Release{}, nil, fmt.Errorf("annotation %s: %w", release.Annotation, err)
	}
	switch {
	case rel.Series == "" || rel.Commit == "" || rel.Repository == "" || len(rel.Modules) == 0 || len(rel.Base.Modules) == 0:
		return release.Release{}, nil, fmt.Errorf("annotation %s is incomplete", release.Annotation)
	case rel.Digest != "":
		return release.Release{}, nil, fmt.Errorf("annotation %s holds a digest, which it cannot know", release.Annotation)
	}
	rel.Digest = descriptor.Digest.String()
	img, err := descriptor.Image()
	if err == nil {
		err = checkImage(img)
	}
	return rel, img, err
}

// Checksums computes the checksums of all of a release's modules by another rule than Waybill's
// own, from the image: click-odoo-update counts translations into a database's languages only. The
// base's part is remembered under cache ("": the user's cache folder); the first time it takes as
// long as ScanBase.
func Checksums(ctx context.Context, ref string, rule odoo.ChecksumRule, registry Registry, cache string) (map[string]string, error) {
	sums, err := checksums(ctx, ref, rule, registry, cache)
	if err != nil {
		return nil, fmt.Errorf("checksums of release %s: %w", ref, err)
	}
	return sums, nil
}

func checksums(ctx context.Context, ref string, rule odoo.ChecksumRule, registry Registry, cache string) (map[string]string, error) {
	opened, err := openRelease(ctx, ref, registry)
	if err != nil {
		return nil, err
	}
	rel, below := opened.Release, opened.BaseLayers
	layers, err := opened.Image.Layers()
	if err != nil {
		return nil, err
	}
	scan, err := cachedScan(ctx, rel.Base.Digest, layers[:below], rule, cache)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, m := range scan.Base.Modules {
		sums[m.Name] = m.Checksum
	}
	s, err := newScanner(rule, "", nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for _, layer := range layers[below:] {
		if err := s.layer(ctx, layer); err != nil {
			return nil, err
		}
	}
	for _, m := range rel.Modules {
		folder := path.Join(strings.TrimPrefix(bridge.AddonsPath, "/"), m.Name)
		if sums[m.Name], err = odoo.Checksum(s.filesOf(folder), rule); err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Name, err)
		}
	}
	return sums, nil
}
