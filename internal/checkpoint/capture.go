package checkpoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// Capture takes a checkpoint: the database in one snapshot, then the files that it refers to (the caller
// holds off whatever deletes files), then the manifest. Until that is written there is no checkpoint, and
// on error all that was written for it is removed.
//
// With Subject.ID a capture that was killed is done again under the same name; one that was completed is
// returned as it is. progress may be nil; it is called by one goroutine at a time.
//
// Errors: ErrNoSpace (temporary folder or bucket), ErrBusy (the same checkpoint is being captured),
// postgres.ErrNotInstalled, or what PostgreSQL or the bucket said.
func (s *Store) Capture(ctx context.Context, sub Subject, progress func(Progress)) (*Manifest, error) {
	if sub.ID == "" {
		sub.ID = NewID(time.Now())
	}
	ref := Ref{sub.Environment, sub.Tenant, sub.ID}
	m, err := s.capture(ctx, ref, sub, reporter(progress))
	if err != nil {
		return nil, fmt.Errorf("capture checkpoint %s of database %q: %w", ref, sub.Database, err)
	}
	return m, nil
}

// reporter makes progress safe to call from anywhere.
func reporter(progress func(Progress)) func(Progress) {
	if progress == nil {
		return func(Progress) {}
	}
	var mu sync.Mutex
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		progress(p)
	}
}

func (s *Store) capture(ctx context.Context, ref Ref, sub Subject, progress func(Progress)) (_ *Manifest, err error) {
	begun := time.Now()
	if err := ref.check(); err != nil {
		return nil, err
	}
	if len(s.Recipients) < 2 {
		return nil, fmt.Errorf("checkpoints are encrypted to at least two recipients, one kept off the machine, and %d are given: add one to recipients.txt", len(s.Recipients))
	}
	done, err := s.Bucket.Exists(ctx, ref.manifestKey())
	if err != nil {
		return nil, fmt.Errorf("look into the bucket: %w", err)
	}
	if done {
		return s.Load(ctx, ref)
	}
	work, release, err := s.workFolder("capture", ref)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := s.begin(ctx, ref); err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err == nil {
			if e := s.remove(ctx, ref.startedKey()); e != nil {
				s.log().WarnContext(ctx, "a finished checkpoint still looks unfinished", "checkpoint", ref.String(), "error", e)
			}
			return
		}
		// On a full disk the files copied so far are in everybody's way; else a next try can use them.
		full := errors.Is(err, ErrNoSpace)
		if e := s.clear(ctx, ref.prefix()); e != nil {
			err = errors.Join(err, fmt.Errorf("remove what was written so far: %w", e))
		}
		if full {
			if e := s.collect(ctx, ref.Environment, ref.Tenant); e != nil {
				s.log().WarnContext(ctx, "unused files stay in the bucket", "tenant", ref.Tenant, "error", e)
			}
		}
	}()
	if err := s.clear(ctx, ref.prefix(), ref.startedKey()); err != nil { // an earlier try
		return nil, err
	}

	snap, err := takeSnapshot(ctx, sub.AdminURL, sub.Database)
	if err != nil {
		return nil, err
	}
	defer func() { snap.release(ctx) }()
	m := &Manifest{
		Info: Info{ID: ref.ID, Environment: ref.Environment, Tenant: ref.Tenant, Database: sub.Database,
			Release: sub.Config.Release, RecoveryPoint: snap.at},
		Config: sub.Config, ServerVersion: snap.version, LSN: snap.lsn,
	}
	if err := snap.describe(ctx, m); err != nil {
		return nil, fmt.Errorf("describe the database: %w", err)
	}
	names, err := snap.attachments(ctx)
	if err != nil {
		return nil, err
	}
	dump := filepath.Join(work, "dump")
	if err := s.dump(ctx, snap, dump, m, progress); err != nil {
		return nil, err
	}
	snap.release(ctx) // uploading may take long, and an open snapshot keeps VACUUM from its work
	if err := s.upload(ctx, ref, dump, m, progress); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dump); err != nil {
		return nil, err
	}
	if err := s.copyFiles(ctx, ref, sub.Filestore, names, m, progress); err != nil {
		return nil, err
	}
	m.FileCount = len(m.Files)
	m.Seconds = time.Since(begun).Seconds()
	progress(Progress{Stage: "manifest", Total: 1})
	if err := s.finish(ctx, ref, m); err != nil {
		return nil, err
	}
	progress(Progress{Stage: "manifest", Done: 1, Total: 1})
	return m, nil
}

// finish writes what makes it a checkpoint, the manifest last, on a disk that has all before it.
func (s *Store) finish(ctx context.Context, ref Ref, m *Manifest) error {
	if err := s.putPlain(ctx, ref.infoKey(), m.Info); err != nil {
		return err
	}
	for range 2 {
		if s.folder != "" {
			if err := syncFolder(s.folder); err != nil {
				return fmt.Errorf("write the bucket's folder to disk: %w", err)
			}
		}
		done, err := s.Bucket.Exists(ctx, ref.manifestKey())
		if err != nil || done {
			return err // the second time round: the manifest itself is on disk as well
		}
		if _, err := s.putJSON(ctx, ref.manifestKey(), m); err != nil {
			return err
		}
	}
	return nil
}

// dump runs pg_dump and counts rows beside it, both on the snapshot.
func (s *Store) dump(ctx context.Context, snap *snapshot, dir string, m *Manifest, progress func(Progress)) error {
	tools, err := postgres.FindClient(ctx, snap.major)
	if err != nil {
		return err
	}
	if err := needSpace(filepath.Dir(dir), snap.bytes+snap.bytes/4+(1<<20), fmt.Sprintf("the dump of database %q", snap.db)); err != nil {
		return err
	}
	env, err := connectionEnv(snap.adminURL, snap.db)
	if err != nil {
		return err
	}
	total := int64(len(snap.tables))
	progress(Progress{Stage: "dump", Total: total})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := runProgram(ctx, tools.Path("pg_dump"), env, nil,
			"--format=directory", fmt.Sprintf("--jobs=%d", s.parallel()), "--compress=0", "--no-password",
			"--snapshot="+snap.id, "--lock-wait-timeout=60000", "--file="+dir)
		if errors.Is(err, ErrNoSpace) {
			return fmt.Errorf("%w in the folder for temporary files %s: free some, or set another one", err, s.tempDir())
		}
		return err
	})
	group.Go(func() (err error) {
		n := int64(0)
		m.Tables, err = snap.count(ctx, func() { n++; progress(Progress{Stage: "dump", Done: n, Total: total}) })
		return err
	})
	return group.Wait()
}

// upload stores the files of the dump.
func (s *Store) upload(ctx context.Context, ref Ref, dir string, m *Manifest, progress func(Progress)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	m.Dump = make([]Object, len(entries))
	var mu sync.Mutex
	finished := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.parallel())
	for i, e := range entries {
		group.Go(func() error {
			f, err := os.Open(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			key := ref.dumpKey(e.Name())
			hash := blake3.New()
			plain, stored, err := s.put(ctx, key, io.TeeReader(f, hash), info.Size())
			if err != nil {
				return err
			}
			m.Dump[i] = Object{Name: e.Name(), Key: key, Size: plain, BLAKE3: hex.EncodeToString(hash.Sum(nil))}
			mu.Lock()
			defer mu.Unlock()
			m.Bytes += stored
			finished++
			progress(Progress{Stage: "upload", Done: finished, Total: int64(len(entries))})
			return nil
		})
	}
	return group.Wait()
}

// workFolder makes a private folder for one piece of work and removes what killed ones left behind: plain dumps must
// not lie about. A lock that dies with its process tells the living from the dead.
func (s *Store) workFolder(verb string, ref Ref) (dir string, release func(), err error) {
	base := s.tempDir()
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", nil, err
	}
	if base, err = filepath.Abs(base); err != nil {
		return "", nil, err
	}
	name := "waybill-" + verb + "-" + ref.Environment + "-" + ref.Tenant + "-" + ref.ID
	others, _ := filepath.Glob(filepath.Join(base, "waybill-*.lock"))
	for _, path := range others {
		if path == filepath.Join(base, name+".lock") {
			continue
		}
		lock := flock.New(path)
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = os.RemoveAll(path[:len(path)-len(".lock")])
			_ = os.Remove(path)
			_ = lock.Unlock()
		}
	}
	lock := flock.New(filepath.Join(base, name+".lock"), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return "", nil, fmt.Errorf("lock the folder for temporary files: %w", err)
	}
	if !ok {
		return "", nil, fmt.Errorf("%s of %s is %w in another process", verb, ref, ErrBusy)
	}
	dir = filepath.Join(base, name)
	release = func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove(lock.Path())
		_ = lock.Unlock()
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		release()
		return "", nil, err
	}
	return dir, release, nil
}
