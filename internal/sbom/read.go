package sbom

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/build"
)

// factsVersion is part of the cache's key; it changes when a reading would find something else.
const factsVersion = 2

// lockRetry is how often a lock that another process holds is asked for again.
const lockRetry = 200 * time.Millisecond

// Read reads what a release is made of from its image: "acme@sha256:…" or "acme:r2" in Waybill's
// registry, or a reference that names a host. The base's part is read once (about 20 s for 1.7 GB)
// and remembered by digest under cache, which "" sets to build.CacheDir; so is each layer above it.
func Read(ctx context.Context, ref string, registry build.Registry, cache string) (*Inventory, error) {
	opened, err := build.OpenRelease(ctx, ref, registry)
	if err != nil {
		return nil, err
	}
	return Of(ctx, opened, cache)
}

// Of is Read for a release that has been opened.
func Of(ctx context.Context, opened build.Opened, cache string) (*Inventory, error) {
	inv, err := read(ctx, opened, cache)
	if err != nil {
		return nil, fmt.Errorf("reading what release %s@%s is made of: %w", opened.Release.Repository, opened.Release.Digest, err)
	}
	return inv, nil
}

func read(ctx context.Context, opened build.Opened, cache string) (*Inventory, error) {
	layers, err := opened.Image.Layers()
	if err != nil {
		return nil, err
	}
	cache, err = build.CacheDir(cache)
	if err != nil {
		return nil, err
	}
	whole := newReading()
	for _, layer := range slices.Backward(layers[opened.BaseLayers:]) {
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		one, err := cached(ctx, digest.String(), filepath.Join(cache, "layer-sbom"), func() (*reading, error) {
			return readLayers(ctx, []v1.Layer{layer})
		})
		if err != nil {
			return nil, err
		}
		if err := whole.over(one); err != nil {
			return nil, err
		}
	}
	below, err := cached(ctx, opened.Release.Base.Digest, filepath.Join(cache, "base-sbom"), func() (*reading, error) {
		r, err := readLayers(ctx, layers[:opened.BaseLayers])
		if err == nil {
			r.Gone, r.Opaque, r.Seen = nil, nil, nil // there is nothing below
		}
		return r, err
	})
	if err != nil {
		return nil, err
	}
	if err := whole.over(below); err != nil {
		return nil, err
	}
	return assemble(opened.Release, whole.Facts), nil
}

// cached gives the reading of what has a digest, from the folder where it is there.
func cached(ctx context.Context, digest, folder string, read func() (*reading, error)) (*reading, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", factsVersion, digest))
	file := filepath.Join(folder, hex.EncodeToString(key[:12])+".json")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	if r, ok := load(file); ok {
		return r, nil
	}
	lock := flock.New(filepath.Join(folder, "lock")) // one for all: what takes long is the base, and that is one
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("waiting for another run that reads an image: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if r, ok := load(file); ok {
		return r, nil
	}
	r, err := read()
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return r, replace(file, content)
}

// load takes an unreadable cache for none.
func load(file string) (*reading, bool) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	r := newReading()
	return r, json.Unmarshal(content, r) == nil && r.Facts.Packages != nil
}

// replace writes a file so that nobody ever sees half of it.
func replace(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
