package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// sealed is the ending of objects that are compressed, then encrypted.
const sealed = ".zst.age"

// maxJSON bounds manifests and lists of files: about ten million files.
const maxJSON = 1 << 30

// Encoders are kept: a dump has a thousand small files, and each new encoder would take megabytes.
var encoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		panic(err) // constant options
	}
	return z
}}

var decoders = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		panic(err)
	}
	return z
}}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// put seals what src gives into an object, which appears whole or not at all. It returns the sizes before and after.
// size is what src is expected to give.
func (s *Store) put(ctx context.Context, key string, src io.Reader, size int64) (plain, stored int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := blob.WriterOptions{ContentType: "application/octet-stream", MaxConcurrency: 1}
	if size > 4<<30 {
		opts.BufferSize = 128 << 20 // S3 takes at most ten thousand parts of one object
	}
	w, err := s.Bucket.NewWriter(ctx, key, &opts)
	if err != nil {
		return 0, 0, writeError(key, err)
	}
	count := &counter{Writer: w}
	plain, err = func() (int64, error) {
		sealer, err := age.Encrypt(count, s.Recipients...)
		if err != nil {
			return 0, err
		}
		z := encoders.Get().(*zstd.Encoder)
		defer encoders.Put(z)
		z.Reset(sealer)
		n, err := io.Copy(z, src)
		if err != nil {
			z.Reset(nil)
			return n, err
		}
		return n, errors.Join(z.Close(), sealer.Close())
	}()
	if err != nil {
		cancel() // makes Close throw the object away
		_ = w.Close()
		return plain, count.n, writeError(key, err)
	}
	if err := w.Close(); err != nil {
		return plain, count.n, writeError(key, err)
	}
	return plain, count.n, nil
}

func writeError(key string, err error) error {
	if noSpace(err) {
		return fmt.Errorf("write %s: %w in the bucket: free some, or delete old checkpoints (%w)", key, ErrNoSpace, err)
	}
	return fmt.Errorf("write %s: %w", key, err)
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), "no space left on device") || strings.Contains(err.Error(), "No space left on device")
}

// source remembers an error of the transport, so that a broken network is not taken for a broken object.
type source struct {
	io.ReadCloser
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// get gives the plain content of an object to use. Errors: ErrNotFound, ErrNoIdentity, ErrDamaged (with
// the key in each), the transport's, or use's own.
func (s *Store) get(ctx context.Context, key string, use func(io.Reader) error) error {
	r, err := s.Bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("object %s %w", key, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	raw := &source{ReadCloser: r}
	defer raw.Close()
	broken := func(err error) error {
		if raw.failed != nil {
			return fmt.Errorf("read %s: %w", key, raw.failed)
		}
		return fmt.Errorf("object %s is %w: %w", key, ErrDamaged, err)
	}
	open, err := age.Decrypt(raw, s.Identities...)
	var mismatch *age.NoIdentityMatchError
	if errors.As(err, &mismatch) || len(s.Identities) == 0 {
		return fmt.Errorf("object %s: %w (%d tried): give the identity of the machine that wrote it, or the offline one", key, ErrNoIdentity, len(s.Identities))
	}
	if err != nil {
		return broken(err)
	}
	z := decoders.Get().(*zstd.Decoder)
	defer func() {
		_ = z.Reset(nil) // let go of the stream
		decoders.Put(z)
	}()
	if err := z.Reset(open); err != nil {
		return broken(err)
	}
	content := &source{ReadCloser: io.NopCloser(z)}
	if err := use(content); err != nil {
		if content.failed != nil {
			return broken(content.failed)
		}
		return err
	}
	// Whatever use left unread must be sound as well: age authenticates chunk by chunk.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return broken(err)
	}
	return nil
}

func (s *Store) putJSON(ctx context.Context, key string, v any) (int64, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	_, n, err := s.put(ctx, key, bytes.NewReader(raw), int64(len(raw)))
	return n, err
}

func (s *Store) getJSON(ctx context.Context, key string, v any) error {
	return s.get(ctx, key, func(r io.Reader) error {
		if err := json.NewDecoder(io.LimitReader(r, maxJSON)).Decode(v); err != nil {
			return fmt.Errorf("object %s is %w: %w", key, ErrDamaged, err)
		}
		return nil
	})
}

// putPlain writes a small public object.
func (s *Store) putPlain(ctx context.Context, key string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := s.Bucket.WriteAll(ctx, key, raw, &blob.WriterOptions{ContentType: "application/json"}); err != nil {
		return writeError(key, err)
	}
	return nil
}

// getPlain reads one, of at most a megabyte.
func (s *Store) getPlain(ctx context.Context, key string, v any) error {
	r, err := s.Bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("object %s %w", key, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("object %s is %w: %w", key, ErrDamaged, err)
	}
	return nil
}

// remove deletes an object; one that is gone is removed already.
func (s *Store) remove(ctx context.Context, key string) error {
	err := s.Bucket.Delete(ctx, key)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
