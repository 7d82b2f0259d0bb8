package checkpoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/postgres"
)

// trustFor is how long a file of the filestore that was read back needs no second reading, as long as its
// object keeps size and time. Hundreds of thousands of files would otherwise be read for each checkpoint.
const trustFor = 14 * 24 * time.Hour

// maxProblems bounds what a verification reports.
const maxProblems = 20

type verified struct {
	At    time.Time `json:"at"`
	Files int       `json:"files"` // read now, the others within trustFor
}

type trust struct {
	Modified int64 `json:"m"` // of the object, unix nanoseconds
	Size     int64 `json:"s"` // of the object
	At       int64 `json:"a"` // when it was read, unix seconds
}

// DamageError says what of a checkpoint cannot be read back. It is ErrDamaged.
type DamageError struct {
	Ref      Ref
	Problems []error // at most 20, each names its object
	More     int     // beyond them
}

// Error names every object.
func (e *DamageError) Error() string {
	text := fmt.Sprintf("checkpoint %s cannot be relied on: %v", e.Ref, errors.Join(e.Problems...))
	if e.More > 0 {
		text += fmt.Sprintf("\nand %d more", e.More)
	}
	return text + "\ntake a new checkpoint now, and look at the bucket's disk"
}

// Is makes it ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Verify reads a checkpoint back: every file of the dump is decrypted, decompressed and compared with its digest, the
// dump's table of contents is read by pg_restore, every file of the filestore is compared with its SHA-1 (one
// that was read within the last 14 days, and whose object has not changed, is only looked at). It records the
// time. Errors: *DamageError, ErrNotFound, ErrNoIdentity, or the bucket's.
func (s *Store) Verify(ctx context.Context, ref Ref, progress func(Progress)) (*Manifest, error) {
	return s.verify(ctx, ref, false, reporter(progress))
}

// VerifyFully is Verify that reads every file again.
func (s *Store) VerifyFully(ctx context.Context, ref Ref, progress func(Progress)) (*Manifest, error) {
	return s.verify(ctx, ref, true, reporter(progress))
}

func (s *Store) verify(ctx context.Context, ref Ref, fully bool, progress func(Progress)) (*Manifest, error) {
	m, err := s.Load(ctx, ref)
	if err != nil {
		return nil, err
	}
	work, release, err := s.workFolder("verify", ref)
	if err != nil {
		return nil, err
	}
	defer release()
	damage := &DamageError{Ref: ref}
	var mu sync.Mutex
	report := func(err error) error {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound) {
			return err // the bucket or the key, not the checkpoint
		}
		mu.Lock()
		defer mu.Unlock()
		if len(damage.Problems) < maxProblems {
			damage.Problems = append(damage.Problems, err)
		} else {
			damage.More++
		}
		return nil
	}
	if err := s.readDump(ctx, m, "", work, report, progress); err != nil {
		return nil, fmt.Errorf("verify checkpoint %s: %w", ref, err)
	}
	if len(damage.Problems) == 0 {
		if err := checkContents(ctx, work, m); err != nil {
			if !errors.Is(err, ErrDamaged) {
				return nil, fmt.Errorf("verify checkpoint %s: %w", ref, err)
			}
			_ = report(err)
		}
	}
	read, err := s.verifyFiles(ctx, m, fully, report, progress)
	if err != nil {
		return nil, fmt.Errorf("verify checkpoint %s: %w", ref, err)
	}
	if len(damage.Problems) > 0 {
		// What was verified once and is broken now must not be kept as the newest verified one.
		if err := s.remove(ctx, ref.verifiedKey()); err != nil {
			return nil, errors.Join(damage, err)
		}
		return nil, damage
	}
	m.Verified = time.Now().UTC().Truncate(time.Second)
	if err := s.putPlain(ctx, ref.verifiedKey(), verified{At: m.Verified, Files: read}); err != nil {
		return nil, err
	}
	return m, nil
}

// readDump reads every object of the dump and compares its digest. It keeps the plain files in a folder: all, or, where that
// is empty, only the table of contents in another one.
func (s *Store) readDump(ctx context.Context, m *Manifest, all, contents string, report func(error) error, progress func(Progress)) error {
	stage := "read"
	if all != "" {
		stage = "download"
	}
	var mu sync.Mutex
	finished := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.parallel())
	for _, o := range m.Dump {
		group.Go(func() error {
			dir := all
			if dir == "" && o.Name == "toc.dat" {
				dir = contents
			}
			if err := s.readObject(ctx, o, dir); err != nil {
				if err := report(err); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			finished++
			progress(Progress{Stage: stage, Done: finished, Total: int64(len(m.Dump))})
			return nil
		})
	}
	return group.Wait()
}

func (s *Store) readObject(ctx context.Context, o Object, dir string) (err error) {
	if o.Name != filepath.Base(o.Name) || o.Name == "" || o.Name[0] == '.' {
		return fmt.Errorf("object %s is %w: %q is no file name of a dump", o.Key, ErrDamaged, o.Name)
	}
	to := io.Discard
	if dir != "" {
		f, err := os.OpenFile(filepath.Join(dir, o.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return spaceError(dir, err)
		}
		defer func() { err = errors.Join(err, spaceError(dir, f.Close())) }()
		to = f
	}
	return s.get(ctx, o.Key, func(r io.Reader) error {
		hash := blake3.New()
		n, err := io.Copy(to, io.TeeReader(r, hash))
		if err != nil {
			return spaceError(dir, err)
		}
		if sum := hex.EncodeToString(hash.Sum(nil)); sum != o.BLAKE3 || n != o.Size {
			return fmt.Errorf("object %s is %w: its content has %d bytes and digest %.16s…, the manifest says %d and %.16s…", o.Key, ErrDamaged, n, sum, o.Size, o.BLAKE3)
		}
		return nil
	})
}

// checkContents lets pg_restore read the table of contents, and looks for the data of every table in it.
func checkContents(ctx context.Context, dir string, m *Manifest) error {
	tools, err := postgres.FindClient(ctx, majorOf(m.ServerVersion))
	if err != nil {
		return err
	}
	var out strings.Builder
	if err := runProgram(ctx, tools.Path("pg_restore"), nil, &out, "--list", "--format=directory", dir); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("the dump's table of contents is %w: %w", ErrDamaged, err)
	}
	if n := strings.Count(out.String(), " TABLE DATA "); n < len(m.Tables) {
		return fmt.Errorf("the dump is %w: its table of contents has the data of %d tables, the manifest counts %d", ErrDamaged, n, len(m.Tables))
	}
	return nil
}

var leadingNumber = regexp.MustCompile(`^[0-9]+`)

// majorOf reads "15.18 (Debian …)".
func majorOf(version string) int {
	n, _ := strconv.Atoi(leadingNumber.FindString(version))
	return n
}

// verifyFiles reads back the filestore's files, and returns how many it read.
func (s *Store) verifyFiles(ctx context.Context, m *Manifest, fully bool, report func(error) error, progress func(Progress)) (int, error) {
	ref := m.Info.Ref()
	key := trustedKey(ref.Environment, ref.Tenant)
	known := map[string]trust{}
	if err := s.getJSON(ctx, key, &known); err != nil {
		known = map[string]trust{} // none yet, or unreadable: then everything is read
	}
	sizes := make(map[string]int64, len(m.Files))
	names := make([]string, len(m.Files))
	for i, f := range m.Files {
		if !filestore.Valid(f.Name) {
			return 0, fmt.Errorf("manifest of %s is %w: %q is no file of a filestore", ref, ErrDamaged, f.Name)
		}
		names[i], sizes[f.Name] = f.Name, f.Size
	}
	now := time.Now()
	var mu sync.Mutex
	read, finished := 0, int64(0)
	fresh := make(map[string]trust, len(names))
	err := groups(names, func(folder string, names []string) error {
		objects, err := s.stored(ctx, ref.Environment, ref.Tenant, folder)
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(s.parallel())
		for _, name := range names {
			group.Go(func() error {
				obj := objects[name]
				t, ok := known[name]
				trusted := ok && obj != nil && !fully && t.Size == obj.Size && t.Modified == obj.ModTime.UnixNano() &&
					now.Sub(time.Unix(t.At, 0)) < trustFor
				if !trusted {
					if err := s.readFile(ctx, ref, name, sizes[name], obj); err != nil {
						return report(err)
					}
					t = trust{Modified: obj.ModTime.UnixNano(), Size: obj.Size, At: now.Unix()}
				}
				mu.Lock()
				defer mu.Unlock()
				fresh[name] = t
				if !trusted {
					read++
				}
				finished++
				progress(Progress{Stage: "files", Done: finished, Total: int64(len(sizes))})
				return nil
			})
		}
		return group.Wait()
	})
	// Without recipients (a store opened for reading) nothing is remembered; the next one reads again.
	if err == nil && read > 0 && len(s.Recipients) > 0 {
		_, err = s.putJSON(ctx, key, fresh)
	}
	return read, err
}

func (s *Store) readFile(ctx context.Context, ref Ref, name string, size int64, obj *blob.ListObject) error {
	key := ref.fileKey(name)
	if obj == nil {
		return fmt.Errorf("object %s %w", key, ErrNotFound)
	}
	return s.get(ctx, key, func(r io.Reader) error {
		n, err := io.Copy(io.Discard, &namedReader{r: r, name: name})
		if errors.Is(err, filestore.ErrNotItsName) {
			return fmt.Errorf("object %s is %w: %w", key, ErrDamaged, err)
		}
		if err == nil && n != size {
			return fmt.Errorf("object %s is %w: it has %d bytes, the manifest says %d", key, ErrDamaged, n, size)
		}
		return err
	})
}
