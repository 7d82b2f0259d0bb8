package build

import (
	"context"
	"fmt"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/release"
)

// Opened is a release together with its image.
type Opened struct {
	Release    release.Release
	Image      v1.Image
	BaseLayers int // so many of the image's layers, from the bottom, are the base's
}

// OpenRelease finds a release as ReadRelease does, and its image with it. Layers are fetched when
// they are read, within ctx.
func OpenRelease(ctx context.Context, ref string, registry Registry) (Opened, error) {
	opened, err := openRelease(ctx, ref, registry)
	if err != nil {
		return Opened{}, fmt.Errorf("reading release %s: %w", ref, err)
	}
	return opened, nil
}

func openRelease(ctx context.Context, ref string, registry Registry) (Opened, error) {
	rel, img, err := readRelease(ctx, ref, registry)
	if err != nil {
		return Opened{}, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return Opened{}, err
	}
	below, err := strconv.Atoi(manifest.Annotations[baseLayersAnnotation])
	if err != nil || below < 1 || below > len(manifest.Layers) {
		return Opened{}, fmt.Errorf("annotation %s does not say which layers are the base's", baseLayersAnnotation)
	}
	return Opened{Release: rel, Image: img, BaseLayers: below}, nil
}
