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
	"time"

	"github.com/gofrs/flock"

	"github.com/waybill-dev/waybill/internal/build"
)

// factsVersion is part of the cache's key; it changes when a reading would find something else.
const factsVersion = 1

// lockRetry is how often a lock that another process holds is asked for again.
const lockRetry = 200 * time.Millisecond

// Read reads what a release is made of from its image: "acme@sha256:…" or "acme:r2" in Waybill's
// registry, or a reference that names a host. The base's part is read once (about 20 s for 1.7 GB)
// and remembered by digest under cache, which "" sets to build.CacheDir.
func Read(ctx context.Context, ref string, registry build.Registry, cache string) (*Inventory, error) {
	opened, err := build.OpenRelease(ctx, ref, registry)
	if err != nil {
		return nil, err
	}
	inv, err := read(ctx, opened, cache)
	if err != nil {
		return nil, fmt.Errorf("reading what release %s is made of: %w", ref, err)
	}
	return inv, nil
}

func read(ctx context.Context, opened build.Opened, cache string) (*Inventory, error) {
	layers, err := opened.Image.Layers()
	if err != nil {
		return nil, err
	}
	above, err := readLayers(ctx, layers[opened.BaseLayers:])
	if err != nil {
		return nil, err
	}
	below, err := cached(ctx, opened.Release.Base.Digest, cache, func() (facts, error) {
		r, err := readLayers(ctx, layers[:opened.BaseLayers])
		return r.facts, err
	})
	if err != nil {
		return nil, err
	}
	return assemble(opened.Release, above.over(below)), nil
}

// cached gives the facts of a base, from the cache where they are there.
func cached(ctx context.Context, digest, cache string, read func() (facts, error)) (facts, error) {
	cache, err := build.CacheDir(cache)
	if err != nil {
		return facts{}, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", factsVersion, digest))
	file := filepath.Join(cache, "base-sbom", hex.EncodeToString(key[:12])+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return facts{}, err
	}
	if f, ok := load(file); ok {
		return f, nil
	}
	lock := flock.New(file + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return facts{}, fmt.Errorf("waiting for another run that reads the same base: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if f, ok := load(file); ok {
		return f, nil
	}
	f, err := read()
	if err != nil {
		return facts{}, err
	}
	content, err := json.Marshal(f)
	if err != nil {
		return facts{}, err
	}
	return f, replace(file, content)
}

// load takes an unreadable cache for none.
func load(file string) (f facts, ok bool) {
	content, err := os.ReadFile(file)
	return f, err == nil && json.Unmarshal(content, &f) == nil && f.Packages != nil
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
