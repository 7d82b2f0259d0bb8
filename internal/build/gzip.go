package build

import (
	"context"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// compressionLevel is part of what a digest depends on: changing it changes every layer's digest.
const compressionLevel = 6

// compress writes r to w as one gzip stream without name or time in its header, so that equal
// input gives equal bytes. The compressor is a module with a pinned version, not the toolchain's.
func compress(w io.Writer, r io.Reader) error {
	z, err := gzip.NewWriterLevel(w, compressionLevel)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}

// memberSize is how much of a root file system goes into one gzip member.
const memberSize = 8 << 20

// compressParallel writes r to w as a series of gzip members, each compressed on its own core at
// the fastest level: a base of 1.7 GB is packed once and read often. A series of members is a
// valid gzip stream (RFC 1952, section 2.2), and its bytes do not depend on the number of cores.
func compressParallel(ctx context.Context, w io.Writer, r io.Reader) error {
	type member struct {
		data []byte
		done chan []byte
	}
	workers := runtime.GOMAXPROCS(0)
	group, ctx := errgroup.WithContext(ctx)
	todo := make(chan member, workers)
	inOrder := make(chan member, 2*workers) // bounds the memory in flight

	group.Go(func() error {
		defer close(todo)
		defer close(inOrder)
		for {
			buf := make([]byte, memberSize)
			n, err := io.ReadFull(r, buf)
			if n > 0 {
				m := member{data: buf[:n], done: make(chan []byte, 1)}
				for _, ch := range []chan member{inOrder, todo} {
					select {
					case ch <- m:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			switch err {
			case nil:
			case io.EOF, io.ErrUnexpectedEOF:
				return nil
			default:
				return err
			}
		}
	})
	for range workers {
		group.Go(func() error {
			for m := range todo {
				var out sliceWriter
				z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
				if err != nil {
					return err
				}
				if _, err := z.Write(m.data); err != nil {
					return err
				}
				if err := z.Close(); err != nil {
					return err
				}
				m.done <- out
			}
			return nil
		})
	}
	group.Go(func() error {
		for m := range inOrder {
			select {
			case data := <-m.done:
				if _, err := w.Write(data); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return group.Wait()
}

type sliceWriter []byte

func (s *sliceWriter) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
