// Package checkpoint keeps recovery points of tenants: database, filestore and configuration,
// compressed, encrypted, in an object store. Everything works from the bucket and an age identity alone;
// Waybill's own database is never asked.
//
// Layout of a bucket:
//
//	checkpoints/<environment>/<tenant>/<id>/started            while a capture is under way
//	                                       /dump/<file>.zst.age pg_dump's directory format
//	                                       /info.json           Info, plain
//	                                       /manifest.json.zst.age  written last: now the checkpoint exists
//	                                       /verified.json       once it was read back
//	files/<environment>/<tenant>/ab/abcdef….zst.age            filestore, shared by all checkpoints of the tenant
//	state/<environment>/<tenant>/collecting                    while unused files are being deleted
//	                            /verified.zst.age              which files were read back, and when
package checkpoint

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file:///folder
	_ "gocloud.dev/blob/memblob"  // mem://, for tests
	_ "gocloud.dev/blob/s3blob"   // s3://bucket?region=…

	"github.com/waybill-dev/waybill/internal/filestore"
)

// What goes wrong with checkpoints; errors.Is tells them apart.
var (
	ErrNotFound   = errors.New("does not exist")
	ErrNoIdentity = errors.New("no key at hand opens it")
	ErrDamaged    = errors.New("damaged")
	ErrNoSpace    = filestore.ErrNoSpace
	ErrBusy       = errors.New("under way already")
)

// Store is a bucket of checkpoints with the keys to write and read them. It is safe for concurrent use.
type Store struct {
	Bucket     *blob.Bucket
	Recipients []age.Recipient // at least two to capture, one of them kept off the machine
	Identities []age.Identity  // to read; one that fits is enough
	TempDir    string          // for dumps on their way, plain, 0700; needs room for one whole dump. Default os.TempDir()
	Parallel   int             // objects at a time, and pg_dump's jobs; default 2
	Log        *slog.Logger    // default slog.Default()

	folder string // of a file:// bucket, to be synced before a manifest is written
}

// OpenStore opens a store for reading (and verifying, restoring, retaining) from the bucket's URL and an age
// identity file: all that another machine needs. URLs are gocloud.dev's: file:///folder,
// s3://bucket?region=…&prefix=…
func OpenStore(ctx context.Context, bucketURL, identityFile string) (*Store, error) {
	f, err := os.Open(identityFile)
	if err != nil {
		return nil, fmt.Errorf("read the key for checkpoints: %w", err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s is no age identity file (AGE-SECRET-KEY-1…): %w", identityFile, err)
	}
	return Open(ctx, bucketURL, nil, ids)
}

// Open opens a store with keys at hand. The folder of a file:// URL is made where it does not exist.
func Open(ctx context.Context, bucketURL string, recipients []age.Recipient, identities []age.Identity) (*Store, error) {
	s := &Store{Recipients: recipients, Identities: identities}
	var err error
	if s.Bucket, err = filestore.OpenBucket(ctx, bucketURL); err != nil {
		return nil, err
	}
	if u, err := url.Parse(bucketURL); err == nil && u.Scheme == "file" {
		s.folder = u.Path
	}
	return s, nil
}

// Close closes the bucket.
func (s *Store) Close() error { return s.Bucket.Close() }

// NewID makes an identifier for a checkpoint at that time; identifiers sort by time (to a second).
func NewID(at time.Time) string {
	var b [4]byte
	rand.Read(b[:])
	return at.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

func (s *Store) parallel() int {
	if s.Parallel < 1 {
		return 2
	}
	return s.Parallel
}

func (s *Store) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (s *Store) tempDir() string {
	if s.TempDir == "" {
		return os.TempDir()
	}
	return s.TempDir
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

func (r Ref) check() error {
	for _, part := range []string{r.Environment, r.Tenant, r.ID} {
		if !namePattern.MatchString(part) {
			return fmt.Errorf("checkpoint %q: %q is no name: letters, digits, _ . - are allowed", r, part)
		}
	}
	return nil
}

func tenantPrefix(env, tenant string) string { return "checkpoints/" + env + "/" + tenant + "/" }

func (r Ref) prefix() string      { return tenantPrefix(r.Environment, r.Tenant) + r.ID + "/" }
func (r Ref) startedKey() string  { return r.prefix() + "started" }
func (r Ref) infoKey() string     { return r.prefix() + "info.json" }
func (r Ref) manifestKey() string { return r.prefix() + "manifest.json" + sealed }
func (r Ref) verifiedKey() string { return r.prefix() + "verified.json" }
func (r Ref) dumpKey(name string) string {
	return r.prefix() + "dump/" + name + sealed
}

func filesPrefix(env, tenant string) string { return "files/" + env + "/" + tenant + "/" }
func (r Ref) fileKey(name string) string {
	return filesPrefix(r.Environment, r.Tenant) + name + sealed
}
func collectingKey(env, tenant string) string { return "state/" + env + "/" + tenant + "/collecting" }
func trustedKey(env, tenant string) string {
	return "state/" + env + "/" + tenant + "/verified" + sealed
}

// each lists every object under a prefix.
func (s *Store) each(ctx context.Context, prefix string, fn func(*blob.ListObject) error) error {
	it := s.Bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		obj, err := it.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(obj); err != nil {
			return err
		}
	}
}

// names lists the folders right under a prefix.
func (s *Store) names(ctx context.Context, prefix string) ([]string, error) {
	it := s.Bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	var out []string
	for {
		obj, err := it.Next(ctx)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		if obj.IsDir {
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(obj.Key, prefix), "/"))
		}
	}
}

// clear deletes every object under a prefix but the named ones.
func (s *Store) clear(ctx context.Context, prefix string, keep ...string) error {
	var keys []string
	err := s.each(ctx, prefix, func(o *blob.ListObject) error {
		for _, k := range keep {
			if o.Key == k {
				return nil
			}
		}
		keys = append(keys, o.Key)
		return nil
	})
	for _, key := range keys {
		if err == nil {
			err = s.remove(ctx, key)
		}
	}
	return err
}
