package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"
)

// ErrNoBucket is returned for a bucket that is not there.
var ErrNoBucket = errors.New("it does not exist")

// Bucket is a Store below a prefix of a bucket.
type Bucket struct {
	bucket *blob.Bucket
	prefix string
	url    string // of the bucket
}

var _ Store = Bucket{}

// InBucket is the store below the prefix, which ends with a slash or is empty.
func InBucket(bucket *blob.Bucket, prefix string) Bucket {
	return Bucket{bucket: bucket, prefix: prefix}
}

// Of says which bucket it is, by its URL, for String.
func (b Bucket) Of(bucketURL string) Bucket {
	b.url = bucketURL
	return b
}

// OpenBucket opens a bucket by its URL, gocloud.dev's: file:///folder, s3://bucket?region=…&prefix=… The folder of a file:// URL is made where it does
// not exist. A bucket that does not answer or does not exist is an error.
func OpenBucket(ctx context.Context, bucketURL string) (*blob.Bucket, error) {
	u, err := url.Parse(bucketURL)
	if err != nil {
		return nil, errors.New("the bucket's URL is not valid: expected file:///folder or s3://bucket?region=…")
	}
	if u.Scheme == "file" {
		q := u.Query()
		for name, value := range map[string]string{
			"create_dir": "1", "no_tmp_dir": "1", // temporary files beside their targets: /tmp may be another disk
			"metadata": "skip", "dir_file_mode": "0700",
		} {
			if !q.Has(name) {
				q.Set(name, value)
			}
		}
		u.RawQuery = q.Encode()
	}
	bucket, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", u.Redacted(), err)
	}
	ok, err := bucket.IsAccessible(ctx)
	if err == nil && !ok {
		err = ErrNoBucket
	}
	if err != nil {
		_ = bucket.Close()
		return nil, fmt.Errorf("open bucket %s: %w", u.Redacted(), err)
	}
	return bucket, nil
}

func (b Bucket) String() string {
	u, err := url.Parse(b.url)
	if err != nil || b.url == "" {
		return "the bucket, below " + b.prefix
	}
	q := u.Query()
	q.Set("prefix", q.Get("prefix")+b.prefix)
	u.RawQuery = q.Encode()
	return u.Redacted()
}

func (b Bucket) key(name string) (string, error) {
	if !Valid(name) {
		return "", invalid(name)
	}
	return b.prefix + name, nil
}

func (b Bucket) mark(name string) (string, error) {
	if !Valid(name) {
		return "", invalid(name)
	}
	return b.prefix + checklist + "/" + name, nil
}

// Open implements Store.
func (b Bucket) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	key, err := b.key(name)
	if err != nil {
		return nil, 0, err
	}
	r, err := b.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, 0, absent(name, err)
	}
	return r, r.Size(), nil
}

// Stat implements Store.
func (b Bucket) Stat(ctx context.Context, name string) (int64, error) {
	key, err := b.key(name)
	if err != nil {
		return 0, err
	}
	a, err := b.bucket.Attributes(ctx, key)
	if err != nil {
		return 0, absent(name, err)
	}
	return a.Size, nil
}

// absent makes of a bucket's "not found" what a folder says.
func absent(name string, err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return err
}

// Add implements Store. A bucket shows an object once its writer was closed, and never if its context was done before.
func (b Bucket) Add(ctx context.Context, name string, size int64, content func(io.Writer) error) (Added, error) {
	key, err := b.key(name)
	if err != nil {
		return 0, err
	}
	have, err := b.Stat(ctx, name)
	if err == nil {
		return kept(have, size), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	writing, drop := context.WithCancel(ctx)
	defer drop()
	options := blob.WriterOptions{ContentType: "application/octet-stream", MaxConcurrency: 1}
	if size > 4<<30 {
		options.BufferSize = 128 << 20 // S3 takes at most ten thousand parts of one object
	}
	w, err := b.bucket.NewWriter(writing, key, &options)
	if err != nil {
		return 0, err
	}
	named := &namedWriter{w: w, name: name}
	if err = content(named); err == nil {
		err = named.check(size)
	}
	if err != nil {
		drop()
		_ = w.Close() // says that it was dropped
		return 0, err
	}
	return New, w.Close()
}

// Delete implements Store.
func (b Bucket) Delete(ctx context.Context, name string) error {
	key, err := b.key(name)
	if err != nil {
		return err
	}
	return absentIsFine(absent(name, b.bucket.Delete(ctx, key)))
}

// list calls fn with each object below the prefix.
func (b Bucket) list(ctx context.Context, prefix string, fn func(*blob.ListObject) error) error {
	it := b.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(o); err != nil {
			return err
		}
	}
}

// Each implements Store.
func (b Bucket) Each(ctx context.Context, fn func(name string, size int64) error) error {
	return b.list(ctx, b.prefix, func(o *blob.ListObject) error {
		name := strings.TrimPrefix(o.Key, b.prefix)
		if !Valid(name) {
			return nil
		}
		return fn(name, o.Size)
	})
}

// Sizes implements Store.
func (b Bucket) Sizes(ctx context.Context, folder string) (map[string]int64, error) {
	all := map[string]int64{}
	err := b.list(ctx, b.prefix+folder, func(o *blob.ListObject) error {
		if name := strings.TrimPrefix(o.Key, b.prefix); Valid(name) {
			all[name] = o.Size
		}
		return nil
	})
	return all, err
}

// Exists implements Store.
func (b Bucket) Exists(ctx context.Context) (bool, error) {
	_, err := b.bucket.List(&blob.ListOptions{Prefix: b.prefix}).Next(ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// RemoveAll implements Store.
func (b Bucket) RemoveAll(ctx context.Context) error {
	if b.prefix == "" {
		return errors.New("a whole bucket is not removed: there is no prefix")
	}
	for {
		// What is listed while it is deleted may be an error, or be left out.
		var keys []string
		err := b.list(ctx, b.prefix, func(o *blob.ListObject) error {
			if keys = append(keys, o.Key); len(keys) == 1000 {
				return io.EOF
			}
			return nil
		})
		if err != nil && !errors.Is(err, io.EOF) || len(keys) == 0 {
			return err
		}
		several, within := parallel(ctx)
		for _, key := range keys {
			several.Go(func() error { return absentIsFine(absent(key, b.bucket.Delete(within, key))) })
		}
		if err := several.Wait(); err != nil {
			return err
		}
	}
}

// Mark implements Store.
func (b Bucket) Mark(ctx context.Context, name string) error {
	key, err := b.mark(name)
	if err != nil {
		return err
	}
	return b.bucket.WriteAll(ctx, key, nil, &blob.WriterOptions{ContentType: "application/octet-stream"})
}

// Unmark implements Store.
func (b Bucket) Unmark(ctx context.Context, name string) error {
	key, err := b.mark(name)
	if err != nil {
		return err
	}
	return absentIsFine(absent(name, b.bucket.Delete(ctx, key)))
}

// Marked implements Store.
func (b Bucket) Marked(ctx context.Context) ([]string, error) {
	var all []string
	prefix := b.prefix + checklist + "/"
	err := b.list(ctx, prefix, func(o *blob.ListObject) error {
		if name := strings.TrimPrefix(o.Key, prefix); Valid(name) {
			all = append(all, name)
		}
		return nil
	})
	return all, err
}
