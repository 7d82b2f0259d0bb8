package build

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// PackRootfs makes an OCI layout in folder, which must not exist, out of the tar of a root file
// system (plain, gzip or zstd): one image with one gzip layer, the same bytes for the same tar.
// A run that is interrupted leaves nothing under the folder's name.
func PackRootfs(ctx context.Context, file, folder string) error {
	if _, err := os.Lstat(folder); err == nil {
		return fmt.Errorf("packing %s: %s exists already", file, folder)
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return fmt.Errorf("packing %s: %w", file, err)
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), ".packing-*")
	if err != nil {
		return fmt.Errorf("packing %s: %w", file, err)
	}
	defer os.RemoveAll(work)
	if err := packRootfs(ctx, file, work); err != nil {
		return fmt.Errorf("packing the root file system %s: %w", file, err)
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, folder)
}

func packRootfs(ctx context.Context, file, folder string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	raw, err := expand(ctx, in, newBudget())
	if err != nil {
		return err
	}
	defer raw.Close()

	blobs := filepath.Join(folder, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(folder, "layer"))
	if err != nil {
		return err
	}
	defer out.Close()

	// The tar is read on the side: to refuse what is none, and for the date of its newest file,
	// which dates the image without asking the clock.
	names, feed := io.Pipe()
	newest := make(chan tarSummary, 1)
	go func() { newest <- summarise(names, raw.budget) }()

	diffID, digest := sha256.New(), sha256.New()
	counted := &countingWriter{w: io.MultiWriter(out, digest)}
	source := io.TeeReader(raw, io.MultiWriter(diffID, feed))
	err = compressParallel(ctx, counted, bufio.NewReaderSize(source, 1<<20))
	feed.CloseWithError(err) // nil closes with EOF
	summary := <-newest
	if errors.Is(err, errNoTar) || err == nil && summary.err != nil {
		return fmt.Errorf("not a tar of a root file system (after %d entries: %w)", summary.entries, summary.err)
	}
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	layer := fileLayer{digest: sum(digest), diffID: sum(diffID), size: counted.n}
	layer.path = filepath.Join(blobs, layer.digest.Hex)
	// Put where the layout wants it, so that it is not copied.
	if err := os.Rename(filepath.Join(folder, "layer"), layer.path); err != nil {
		return err
	}

	created := v1.Time{Time: summary.newest.UTC()}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "waybill: root file system"}})
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = runtime.GOARCH, "linux", created
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(img)
}

type tarSummary struct {
	newest  time.Time
	entries int
	err     error
}

// summarise reads a tar's headers. Its error ends the writer's work too.
func summarise(r *io.PipeReader, left *budget) (s tarSummary) {
	t := tar.NewReader(r)
	for s.err == nil {
		header, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && s.entries > 0:
			// What follows the tar's end is read to its own end, or the writer would wait for ever.
			io.Copy(io.Discard, r)
			return s
		case errors.Is(err, io.EOF):
			s.err = errors.New("it is empty")
		case err != nil:
			s.err = err
		default:
			if s.err = left.entry(header); s.err == nil {
				s.entries++
				if header.ModTime.After(s.newest) {
					s.newest = header.ModTime
				}
			}
		}
	}
	r.CloseWithError(errNoTar)
	return s
}

// errNoTar ends the packing of what turned out to be no tar.
var errNoTar = errors.New("no tar")

// decompress looks at the first bytes, not at the file's name.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(b)
	case len(magic) == 4 && string(magic) == "\x28\xb5\x2f\xfd":
		d, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return io.NopCloser(b), nil
	}
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// fileLayer is a compressed layer in a file whose digests are known.
type fileLayer struct {
	path           string
	digest, diffID v1.Hash
	size           int64
}

func (l fileLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l fileLayer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l fileLayer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l fileLayer) Uncompressed() (io.ReadCloser, error) { return openGzip(l.path) }

func openGzip(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
