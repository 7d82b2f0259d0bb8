package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// parallel is how many files are on their way at a time.
func parallel(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	return g, ctx
}

// Size is what a store's files take, in bytes.
func Size(ctx context.Context, s Store) (total int64, err error) {
	err = s.Each(ctx, func(_ string, size int64) error {
		total += size
		return nil
	})
	return total, err
}

// Copy adds to a store what another one has, and what is marked there. It copies rather than links, so that no tenant can change what
// another one reads. What is collected from the first one meanwhile is left out.
func Copy(ctx context.Context, from, to Store) error {
	if a, ok := from.(Folder); ok {
		if b, ok := to.(Folder); ok {
			return copyFolder(ctx, a.path, b.path)
		}
	}
	several, within := parallel(ctx)
	err := from.Each(within, func(name string, _ int64) error {
		several.Go(func() error {
			if err := copyOne(within, from, to, name); err != nil {
				return fmt.Errorf("copy %s from %s to %s: %w", name, from, to, err)
			}
			return nil
		})
		return nil
	})
	if err := errors.Join(several.Wait(), err); err != nil {
		return err
	}
	marks, err := from.Marked(ctx)
	if err != nil {
		return err
	}
	for _, name := range marks {
		if err := to.Mark(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func copyOne(ctx context.Context, from, to Store, name string) error {
	if a, ok := from.(Bucket); ok {
		if b, ok := to.(Bucket); ok && a.bucket == b.bucket {
			return copyInside(ctx, a, b, name)
		}
	}
	content, size, err := from.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotItsName) {
		return nil
	}
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = to.Add(ctx, name, size, func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
	return err
}

// copyInside lets the object storage copy.
func copyInside(ctx context.Context, from, to Bucket, name string) error {
	if _, err := to.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		return err // one that is there is never replaced
	}
	return absentIsFine(absent(name, from.bucket.Copy(ctx, to.prefix+name, from.prefix+name, nil)))
}

// copyFolder copies every regular file, as it is: what Odoo has not named, and what a fault of the disk has made something else of, is the tenant's too.
func copyFolder(ctx context.Context, from, to string) error {
	own, err := ownerOf(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // all of it, or collected by Odoo meanwhile
			return nil
		case err != nil:
			return err
		}
		within, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, within)
		switch {
		case entry.IsDir():
			return own.mkdir(target)
		case !entry.Type().IsRegular():
			return nil
		}
		return spaceError(to, copyFile(path, target, own))
	})
}

// copyFile copies one that is not there, or is there with another size.
func copyFile(from, to string, own owner) error {
	in, err := os.Open(from)
	if err != nil {
		return absentIsFine(err)
	}
	defer in.Close()
	was, err := in.Stat()
	if err != nil {
		return err
	}
	if is, err := os.Stat(to); err == nil && is.Size() == was.Size() {
		return nil
	}
	out, err := os.CreateTemp(filepath.Dir(to), ".waybill-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o644), own.chown(out.Name()), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// At is the store at a place as a person names it: a folder, or the URL of a bucket, whose prefix counts (?prefix=production/shared/acme/). close
// lets go of it.
func At(ctx context.Context, place string) (s Store, closing func() error, err error) {
	if isFolder(place) {
		return Dir(place), func() error { return nil }, nil
	}
	bucket, err := OpenBucket(ctx, place)
	if err != nil {
		return nil, nil, err
	}
	return InBucket(bucket, ""), bucket.Close, nil
}
