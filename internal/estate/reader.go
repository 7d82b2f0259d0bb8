package estate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// settled is how long nothing in a folder must have changed before what was read of it is kept. A file that changes twice within one tick
// of its file system's clock looks the same after both; ticks are a second or two in the coarsest.
const settled = 2 * time.Second

// Reader is Load for a server, which is asked who may do what with each request: a folder where nothing has changed is not read again. The
// zero Reader is ready.
type Reader struct {
	mu   sync.Mutex
	mark [sha256.Size]byte // of the folder when it was read
	kept *Estate
}

// Load is Load. What it returns is the caller's; nobody may change what hangs from it.
func (r *Reader) Load(ctx context.Context, dir string) (*Estate, error) {
	e, err := r.read(ctx, dir)
	if err != nil {
		return nil, err
	}
	e.Commit, e.Dirty, err = gitState(ctx, e.Root)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Access says who may do what; Git is not asked.
func (r *Reader) Access(ctx context.Context, dir string) (*Access, error) {
	e, err := r.read(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &e.Access, nil
}

func (r *Reader) read(ctx context.Context, dir string) (*Estate, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("estate: find folder %s: %w", dir, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	mark, newest, known := markOf(ctx, absolute)
	if !known || r.kept == nil || mark != r.mark || r.kept.Root != absolute {
		r.kept = nil
		files, err := gather(ctx, absolute)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, errNoFiles(dir)
		}
		e, err := parseIn(absolute, files)
		if err != nil {
			return nil, err
		}
		if !known || now.Sub(newest) < settled {
			return e, nil
		}
		r.mark, r.kept = mark, e
	}
	mine := *r.kept
	return &mine, nil
}

// markOf tells a folder from the same after a change: names, sizes, inodes and times of all that is in it and of what links lead to, but not of Git's
// own folder. newest is when something has changed last. It is not known where something cannot be looked at; then the reading says what.
func markOf(ctx context.Context, dir string) (mark [sha256.Size]byte, newest time.Time, known bool) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return mark, newest, false
	}
	defer func() { _ = root.Close() }()
	sum := sha256.New()
	note := func(name string, info fs.FileInfo) error {
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("not known on this system")
		}
		changed := time.Unix(stat.Ctim.Unix())
		if changed.After(newest) {
			newest = changed
		}
		fmt.Fprintf(sum, "%q %d %d %d %d %d %o\n", name, stat.Dev, stat.Ino, info.Size(), info.ModTime().UnixNano(), changed.UnixNano(), info.Mode())
		return nil
	}
	entries := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if entries++; entries > maxEntries {
			return errors.New("too many")
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if err := note(name, info); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return err
		}
		if info, err = root.Stat(name); err != nil {
			return err
		}
		return note(name, info)
	})
	return [sha256.Size]byte(sum.Sum(nil)), newest, err == nil
}
