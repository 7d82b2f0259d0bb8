package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Forms of a base that are not a reference to a registry.
const (
	layoutPrefix = "oci:"
	rootfsPrefix = "rootfs:"
)

// openBase finds the image that a base names. Relative folders and files are relative to dir.
func openBase(ctx context.Context, base, dir, cache string, registry Registry) (v1.Image, error) {
	locate := func(file string) string {
		if filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(dir, file)
	}
	if folder, ok := strings.CutPrefix(base, layoutPrefix); ok {
		img, err := openLayout(locate(folder))
		if err != nil {
			return nil, fmt.Errorf("base %q: %w", base, err)
		}
		return img, nil
	}
	if file, ok := strings.CutPrefix(base, rootfsPrefix); ok {
		folder, err := packedRootfs(ctx, locate(file), cache)
		if err != nil {
			return nil, fmt.Errorf("base %q: %w", base, err)
		}
		return openLayout(folder)
	}
	ref, err := registry.reference(base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	options := append(registry.options(ctx, ref), remote.WithPlatform(platform()))
	img, err := remote.Image(ref, options...)
	switch {
	case notFound(err) && !hasHost(base):
		return nil, fmt.Errorf("base %q is not in Waybill's registry (%s); make it there with: waybill base import, or name another base: HOST/%s, oci:FOLDER or rootfs:FILE", base, registry.Host, base)
	case err != nil:
		return nil, fmt.Errorf("base %q: %w", base, explain(err))
	}
	if err := checkImage(img); err != nil {
		return nil, fmt.Errorf("base %q: %w", base, err)
	}
	return img, nil
}

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// openLayout returns the one image of an OCI layout for this machine's architecture.
func openLayout(folder string) (v1.Image, error) {
	if err := smallFile(filepath.Join(folder, "index.json")); err != nil {
		return nil, fmt.Errorf("%s is no OCI layout: %w", folder, err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("%s is no OCI layout: %w", folder, err)
	}
	for range 4 { // an index within an index is usual, more is not
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
		}
		var fits []v1.Descriptor
		for _, d := range manifest.Manifests {
			if d.Platform == nil || d.Platform.Satisfies(platform()) {
				fits = append(fits, d)
			}
		}
		if len(fits) != 1 {
			return nil, fmt.Errorf("OCI layout %s holds %d images for %s; exactly one is expected", folder, len(fits), platform().String())
		}
		// A manifest's file is read whole.
		if err := smallFile(filepath.Join(folder, "blobs", fits[0].Digest.Algorithm, fits[0].Digest.Hex)); err != nil {
			return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
		}
		if fits[0].MediaType.IsImage() {
			return openLayoutImage(index, folder, fits[0].Digest)
		}
		if index, err = index.ImageIndex(fits[0].Digest); err != nil {
			return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
		}
	}
	return nil, fmt.Errorf("OCI layout %s: indexes within indexes", folder)
}

// openLayoutImage looks at the image's documents before they are read whole.
func openLayoutImage(index v1.ImageIndex, folder string, digest v1.Hash) (v1.Image, error) {
	img, err := index.Image(digest)
	if err == nil {
		err = checkImage(img)
	}
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
	}
	if err := smallFile(filepath.Join(folder, "blobs", manifest.Config.Digest.Algorithm, manifest.Config.Digest.Hex)); err != nil {
		return nil, fmt.Errorf("OCI layout %s: the configuration: %w", folder, err)
	}
	for _, check := range []struct {
		named v1.Hash
		read  func() ([]byte, error)
	}{{digest, img.RawManifest}, {manifest.Config.Digest, img.RawConfigFile}} {
		content, err := check.read()
		if err != nil {
			return nil, fmt.Errorf("OCI layout %s: %w", folder, err)
		}
		if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != check.named.Hex {
			return nil, fmt.Errorf("OCI layout %s: blob %s has another content than its name says; make the layout again", folder, check.named)
		}
	}
	return img, nil
}

// smallFile refuses what is no document of an image.
func smallFile(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", file)
	case info.Size() > maxDocument:
		return fmt.Errorf("%s has %d MB; at most %d MB are read", file, info.Size()>>20, maxDocument>>20)
	}
	return nil
}

// packedRootfs packs a root file system once; a file that was changed since is packed again.
func packedRootfs(ctx context.Context, file, cache string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", file)
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", absolute, info.Size(), info.ModTime().UnixNano()))
	folder := filepath.Join(cache, "rootfs", hex.EncodeToString(key[:8]))
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", err
	}
	lock := flock.New(folder + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return "", fmt.Errorf("waiting for another run that packs %s: %w", file, err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(filepath.Join(folder, "index.json")); err == nil {
		return folder, nil
	}
	return folder, PackRootfs(ctx, file, folder)
}

// ImportBase pushes an image into a registry under name, for example "odoo:19.0", and returns its
// digest. The source is "oci:FOLDER", "rootfs:FILE" or a reference that names a host. What is there
// already is not sent again.
func ImportBase(ctx context.Context, source string, registry Registry, name string) (string, error) {
	repository, tag, ok := strings.Cut(name, ":")
	if !ok || !tagPattern.MatchString(tag) || hasHost(name) {
		return "", fmt.Errorf("importing a base: %q is no name; expected NAME:TAG, for example odoo:19.0", name)
	}
	cache, err := cacheDir("")
	if err != nil {
		return "", err
	}
	img, err := openBase(ctx, source, "", cache, registry)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	if err := registry.push(ctx, repository, tag, img, recall{}); err != nil {
		return "", err
	}
	return digest.String(), nil
}
