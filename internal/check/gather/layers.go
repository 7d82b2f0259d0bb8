package gather

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Limits of an image that is indexed. build.ScanBase, which comes first, has stricter ones.
const (
	maxEntries  = 3_000_000
	maxExpanded = 48 << 30 // bytes
)

// layers reads an image's files once, as they lie in the whole image: from the top layer down,
// without what a layer above hides.
type layers struct {
	gone, opaque, seen map[string]bool
	wanted             func(name string) bool
	take               func(name string, h *tar.Header, r io.Reader) error
	entries            int
	left               int64
}

func (l *layers) read(ctx context.Context, img v1.Image) error {
	l.gone, l.opaque, l.seen, l.left = map[string]bool{}, map[string]bool{}, map[string]bool{}, maxExpanded
	list, err := img.Layers()
	if err != nil {
		return fmt.Errorf("reading the base: %w", err)
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := l.layer(ctx, list[i]); err != nil {
			digest, _ := list[i].Digest()
			return fmt.Errorf("reading the base: layer %s: %w", digest, err)
		}
	}
	return nil
}

func (l *layers) layer(ctx context.Context, layer v1.Layer) error {
	raw, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer raw.Close()
	// What a layer takes away, it takes from the layers below, not from itself.
	var gone, opaque, seen []string
	t := tar.NewReader(&bounded{ctx: ctx, r: raw, left: &l.left})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if l.entries++; l.entries > maxEntries {
			return fmt.Errorf("more than %d files", maxEntries)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if base == ".wh..wh..opq" {
			opaque = append(opaque, dir)
			continue
		}
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			gone = append(gone, path.Join(dir, hidden))
			continue
		}
		if !l.wanted(name) || l.hidden(name) {
			continue
		}
		seen = append(seen, name)
		if err := l.take(name, h, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, p := range gone {
		l.gone[p] = true
	}
	for _, p := range opaque {
		l.opaque[p] = true
	}
	for _, p := range seen {
		l.seen[p] = true
	}
	return nil
}

func (l *layers) hidden(name string) bool {
	if l.seen[name] || l.gone[name] {
		return true
	}
	if len(l.gone) == 0 && len(l.opaque) == 0 {
		return false
	}
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if l.gone[dir] || l.opaque[dir] {
			return true
		}
	}
	return false
}

// bounded is a reader that ends with its context, and at a limit that several share.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left *int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return n, fmt.Errorf("it unpacks to more than %d GB", int64(maxExpanded)>>30)
	}
	return n, err
}
