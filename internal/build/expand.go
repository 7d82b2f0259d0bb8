package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Limits of what is unpacked of an image that others made. They stop bombs, not real images: Odoo's
// largest have about 3 GB in 150,000 files and shrink to a third.
const (
	maxExpanded   = 48 << 30  // bytes of all layers together
	maxRatio      = 100       // unpacked to packed, where more than ratioFrom was unpacked
	ratioFrom     = 1 << 30   // bytes
	maxEntries    = 3_000_000 // files of an image
	maxNameBytes  = 512 << 20 // bytes of all names together
	maxNameLength = 4096      // bytes; Linux's own limit for a path
)

// budget is what is left of the limits while the layers of one image are read.
type budget struct {
	expanded, files, names int64
	entries                int
}

func newBudget() *budget {
	return &budget{expanded: maxExpanded, files: maxExpanded, names: maxNameBytes, entries: maxEntries}
}

// entry takes one tar header from the budget.
func (b *budget) entry(h *tar.Header) error {
	if b.entries--; b.entries < 0 {
		return fmt.Errorf("it has more than %d files", maxEntries)
	}
	if len(h.Name) > maxNameLength || len(h.Linkname) > maxNameLength {
		return fmt.Errorf("%s: a name of more than %d bytes; Linux opens none so long", printable(h.Name[:min(len(h.Name), 60)]+"…"), maxNameLength)
	}
	// A sparse file of a few bytes may say that it has any size, and reading it gives that many zeros.
	if b.files -= h.Size; b.files < 0 {
		return fmt.Errorf("%s: with it, the files have more than %d GB", printable(h.Name), maxExpanded>>30)
	}
	if b.names -= int64(len(h.Name) + len(h.Linkname)); b.names < 0 {
		return fmt.Errorf("its files' names alone have more than %d MB", maxNameBytes>>20)
	}
	return nil
}

// expansion is the unpacked content of something packed, read within a budget.
type expansion struct {
	*budget
	ctx  context.Context
	raw  io.ReadCloser // unpacked
	in   *meter        // packed
	read int64
}

// meter counts and hashes what is read through it.
type meter struct {
	r      io.Reader
	n      int64
	sum    hash.Hash
	failed error // other than the end
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		m.failed = err
	}
	return n, err
}

func expand(ctx context.Context, packed io.Reader, b *budget) (*expansion, error) {
	in := &meter{r: &contextReader{ctx, packed}, sum: sha256.New()}
	raw, err := decompress(in)
	if err != nil {
		return nil, err
	}
	return &expansion{budget: b, ctx: ctx, raw: raw, in: in}, nil
}

func (e *expansion) Read(p []byte) (int, error) {
	n, err := e.raw.Read(p)
	e.read += int64(n)
	if e.expanded -= int64(n); e.expanded < 0 {
		return n, fmt.Errorf("it unpacks to more than %d GB", maxExpanded>>30)
	}
	if e.read > ratioFrom && e.read/maxRatio > e.in.n {
		return n, fmt.Errorf("it unpacks to more than %d times its size: %d MB of %d kB so far, which no real image does", maxRatio, e.read>>20, e.in.n>>10)
	}
	return n, err
}

func (e *expansion) Close() error { return e.raw.Close() }

// openedLayer is a layer's tar, unpacked within a budget. Its blob is checked against the digest that
// names it, since an OCI layout is a folder that anybody may have written into.
type openedLayer struct {
	*expansion
	digest v1.Hash
	size   int64
	blob   io.ReadCloser
}

func openLayer(ctx context.Context, layer v1.Layer, b *budget) (*openedLayer, error) {
	digest, err := layer.Digest()
	if err != nil {
		return nil, err
	}
	size, err := layer.Size()
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", digest, err)
	}
	blob, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", digest, explain(err))
	}
	e, err := expand(ctx, io.LimitReader(blob, size+1), b)
	if err != nil {
		blob.Close()
		return nil, fmt.Errorf("layer %s: %w", digest, err)
	}
	return &openedLayer{e, digest, size, blob}, nil
}

// finish reads what is left of the layer and checks the blob's digest.
func (l *openedLayer) finish() error {
	if _, err := io.Copy(io.Discard, l.expansion); err != nil {
		return l.explain(err)
	}
	return l.check()
}

// check compares the blob's digest. What a decompressor leaves behind its last member belongs to the
// blob too.
func (l *openedLayer) check() error {
	if _, err := io.Copy(io.Discard, l.in); err != nil {
		return fmt.Errorf("layer %s: %w", l.digest, err)
	}
	if got := sum(l.in.sum); got != l.digest || l.in.n != l.size {
		return fmt.Errorf("layer %s: its content is another: %s, at least %d bytes; %d were announced. Fetch or make the image again", l.digest, got, l.in.n, l.size)
	}
	return nil
}

// explain says why the layer could not be read: where its content is another than its digest says,
// that is the reason.
func (l *openedLayer) explain(err error) error {
	if l.in.failed == nil && l.ctx.Err() == nil {
		if other := l.check(); other != nil {
			return other
		}
	}
	return fmt.Errorf("layer %s: %w", l.digest, err)
}

func (l *openedLayer) Close() error {
	return errors.Join(l.expansion.Close(), l.blob.Close())
}

// maxDocument bounds an image's manifest, index and configuration each. Registries take 4 MB.
const maxDocument = 8 << 20 // bytes

// checkImage looks at what an image's manifest announces before anything of that size is read.
func checkImage(img v1.Image) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	if len(raw) > maxDocument {
		return fmt.Errorf("its manifest has more than %d MB", maxDocument>>20)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if manifest.Config.Size < 0 || manifest.Config.Size > maxDocument {
		return fmt.Errorf("its configuration is announced with %d bytes; at most %d MB are read", manifest.Config.Size, maxDocument>>20)
	}
	if len(manifest.Layers) > maxLayers {
		return fmt.Errorf("it has %d layers; Docker's limit is %d", len(manifest.Layers), maxLayers)
	}
	return nil
}

// printable is a name from outside as a terminal may be given it.
func printable(name string) string {
	quoted := fmt.Sprintf("%q", name)
	if quoted == `"`+name+`"` && !strings.ContainsRune(name, ' ') {
		return name
	}
	return quoted
}
