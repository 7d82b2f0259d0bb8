package sbom

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Limits of what is taken from an image. Past them a reading fails: half a list would pass for a whole one.
const (
	maxEntries  = 3_000_000
	maxUnpacked = 64 << 30 // bytes of all layers together
	maxStatus   = 32 << 20 // bytes of dpkg's list
	maxList     = 16 << 20 // bytes of one package's list of files
	maxHeader   = 1 << 20  // bytes of a manifest, of the head of a distribution's metadata
)

// reading is what some layers tell, and what they hide of the layers below them.
type reading struct {
	Facts facts `json:"facts"`

	Gone    map[string]bool `json:"gone"`   // taken away
	Opaque  map[string]bool `json:"opaque"` // folders of which nothing below shows
	Seen    map[string]bool `json:"seen"`   // replaced
	Entries int             `json:"entries"`
	Bytes   int64           `json:"bytes"` // unpacked
}

func newReading() *reading {
	return &reading{Facts: newFacts(), Gone: map[string]bool{}, Opaque: map[string]bool{}, Seen: map[string]bool{}}
}

// readLayers reads layers from the top down: what is above hides what is below.
func readLayers(ctx context.Context, layers []v1.Layer) (*reading, error) {
	r := newReading()
	for _, layer := range slices.Backward(layers) {
		if err := r.layer(ctx, layer); err != nil {
			digest, _ := layer.Digest()
			return r, fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	return r, nil
}

func (r *reading) layer(ctx context.Context, layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	bounded := &bounded{ctx: ctx, r: content, left: maxUnpacked - r.Bytes}
	if err := r.archive(tar.NewReader(bounded)); err != nil {
		return err
	}
	// The layer's digest is only checked at its very end, which an archive may not reach.
	if _, err := io.Copy(io.Discard, bounded); err != nil {
		return err
	}
	r.Bytes = maxUnpacked - bounded.left
	return nil
}

// bounded reads until ctx ends, and no more than is left.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the image unpacks to more than %d GB", maxUnpacked>>30)
	}
	return n, err
}

func (r *reading) archive(t *tar.Reader) error {
	// What a layer takes away, it takes from the layers below, not from itself.
	own := newReading()
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if r.Entries++; r.Entries > maxEntries {
			return fmt.Errorf("more than %d files", maxEntries)
		}
		name := path.Clean("/" + header.Name)[1:]
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if base == ".wh..wh..opq" {
			own.Opaque[dir] = true
			continue
		}
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			own.Gone[path.Join(dir, hidden)] = true
			continue
		}
		take := taker(name)
		if take == nil || header.Typeflag == tar.TypeDir || r.hides(name) {
			continue
		}
		own.Seen[name] = true
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := take(&r.Facts, name, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	maps.Copy(r.Gone, own.Gone)
	maps.Copy(r.Opaque, own.Opaque)
	maps.Copy(r.Seen, own.Seen)
	return nil
}

// hides says whether a file of the layers below does not show.
func (r *reading) hides(name string) bool {
	if r.Seen[name] || r.Gone[name] {
		return true
	}
	if len(r.Gone) == 0 && len(r.Opaque) == 0 {
		return false
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if dir == "." {
			return r.Opaque[""]
		}
		if r.Gone[dir] || r.Opaque[dir] {
			return true
		}
	}
}

// over adds what is below a reading to it, where that shows.
func (r *reading) over(below *reading) error {
	if r.Bytes += below.Bytes; r.Bytes > maxUnpacked {
		return fmt.Errorf("the image unpacks to more than %d GB", maxUnpacked>>30)
	}
	if r.Entries += below.Entries; r.Entries > maxEntries {
		return fmt.Errorf("more than %d files", maxEntries)
	}
	lay(r, r.Facts.Packages, below.Facts.Packages)
	lay(r, r.Facts.Owned, below.Facts.Owned)
	lay(r, r.Facts.Distributions, below.Facts.Distributions)
	lay(r, r.Facts.Licenses, below.Facts.Licenses)
	lay(r, r.Facts.Distros, below.Facts.Distros)
	maps.Copy(r.Gone, below.Gone)
	maps.Copy(r.Opaque, below.Opaque)
	maps.Copy(r.Seen, below.Seen)
	return nil
}

func lay[V any](r *reading, above, below map[string]V) {
	for name, value := range below {
		if !r.hides(name) {
			above[name] = value
		}
	}
}
