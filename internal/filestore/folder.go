package filestore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrNoSpace is returned where the disk is full.
var ErrNoSpace = errors.New("no space left")

const checklist = "checklist"

// Folder is a Store that Odoo itself works in. New files and folders belong to whom the folder belongs to, or the nearest one above that exists,
// so that Odoo can read them.
type Folder struct{ path string }

var _ Store = Folder{}

// Dir is the store in a folder, which need not exist.
func Dir(path string) Folder { return Folder{path} }

// Path is the folder.
func (f Folder) Path() string { return f.path }

func (f Folder) String() string { return f.path }

func (f Folder) file(name string) (string, error) {
	if !Valid(name) {
		return "", invalid(name)
	}
	return filepath.Join(f.path, name), nil
}

// Open implements Store. A link may point at anything of this machine, and is no file.
func (f Folder) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	path, err := f.file(name)
	if err != nil {
		return nil, 0, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, 0, ErrNotItsName
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotItsName
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// Stat implements Store.
func (f Folder) Stat(_ context.Context, name string) (int64, error) {
	path, err := f.file(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, ErrNotItsName
	}
	return info.Size(), nil
}

// Add implements Store.
func (f Folder) Add(ctx context.Context, name string, size int64, content func(io.Writer) error) (Added, error) {
	path, err := f.file(name)
	if err != nil {
		return 0, err
	}
	if info, err := os.Lstat(path); err == nil {
		return kept(info.Size(), size), nil
	}
	own, err := ownerOf(f.path)
	if err != nil {
		return 0, err
	}
	dir := filepath.Dir(path)
	if err := own.mkdir(dir); err != nil {
		return 0, spaceError(dir, err)
	}
	tmp, err := os.CreateTemp(dir, ".waybill-*")
	if err != nil {
		return 0, spaceError(dir, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	defer func() { _ = tmp.Close() }()
	named := &namedWriter{w: tmp, name: name}
	if err := content(named); err != nil {
		return 0, spaceError(dir, err)
	}
	// Some file systems say only when a file is closed that there was no room for it.
	if err := errors.Join(ctx.Err(), named.check(size), tmp.Chmod(0o644), own.chown(tmp.Name()), tmp.Close()); err != nil {
		return 0, spaceError(dir, err)
	}
	err = os.Link(tmp.Name(), path) // unlike a rename it never replaces
	if errors.Is(err, fs.ErrExist) {
		return Kept, nil // Odoo wrote the same content meanwhile
	}
	return New, spaceError(dir, err)
}

func kept(have, want int64) Added {
	if have != want {
		return Conflict
	}
	return Kept
}

// Delete implements Store.
func (f Folder) Delete(_ context.Context, name string) error {
	path, err := f.file(name)
	if err != nil {
		return err
	}
	return absentIsFine(os.Remove(path))
}

// Each implements Store.
func (f Folder) Each(ctx context.Context, fn func(name string, size int64) error) error {
	return f.walk(ctx, f.path, fn)
}

// Sizes implements Store.
func (f Folder) Sizes(ctx context.Context, folder string) (map[string]int64, error) {
	all := map[string]int64{}
	entries, err := os.ReadDir(filepath.Join(f.path, folder))
	if err != nil {
		return all, absentIsFine(err)
	}
	for _, entry := range entries {
		name := folder + entry.Name()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && Valid(name) {
			all[name] = info.Size()
		}
	}
	return all, nil
}

// walk calls fn with the files below a folder that are named as Odoo names them.
func (f Folder) walk(ctx context.Context, root string, fn func(name string, size int64) error) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // all of it, or collected by Odoo meanwhile
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil || !Valid(name) || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return absentIsFine(err)
		}
		return fn(name, info.Size())
	})
}

// Exists implements Store.
func (f Folder) Exists(context.Context) (bool, error) {
	_, err := os.Lstat(f.path)
	return err == nil, absentIsFine(err)
}

// RemoveAll implements Store.
func (f Folder) RemoveAll(context.Context) error { return os.RemoveAll(f.path) }

// Mark implements Store, as Odoo does it.
func (f Folder) Mark(_ context.Context, name string) error {
	if !Valid(name) {
		return invalid(name)
	}
	own, err := ownerOf(f.path)
	if err != nil {
		return err
	}
	path := filepath.Join(f.path, checklist, name)
	if err := own.mkdir(filepath.Dir(path)); err != nil {
		return spaceError(f.path, err)
	}
	mark, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return spaceError(f.path, err)
	}
	return errors.Join(own.chown(path), mark.Close())
}

// Unmark implements Store.
func (f Folder) Unmark(_ context.Context, name string) error {
	if !Valid(name) {
		return invalid(name)
	}
	return absentIsFine(os.Remove(filepath.Join(f.path, checklist, name)))
}

// Marked implements Store.
func (f Folder) Marked(ctx context.Context) ([]string, error) {
	var all []string
	err := f.walk(ctx, filepath.Join(f.path, checklist), func(name string, _ int64) error {
		all = append(all, name)
		return nil
	})
	return all, err
}

func invalid(name string) error {
	return fmt.Errorf("%.80q is no name of a file: expected two digits of a SHA-1, a slash, and all of it", name)
}

func absentIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// namedWriter counts and hashes what goes through it.
type namedWriter struct {
	w    io.Writer
	name string
	sum  hash.Hash
	n    int64
}

func (n *namedWriter) Write(p []byte) (int, error) {
	if n.sum == nil {
		n.sum = sha1.New()
	}
	got, err := n.w.Write(p)
	n.sum.Write(p[:got])
	n.n += int64(got)
	return got, err
}

// check errs where what went through is not what it was said to be.
func (n *namedWriter) check(size int64) error {
	sum := n.sum
	if sum == nil {
		sum = sha1.New()
	}
	if n.n != size || hex.EncodeToString(sum.Sum(nil)) != n.name[3:] {
		return ErrNotItsName
	}
	return nil
}

func spaceError(dir string, err error) error {
	if err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return fmt.Errorf("%w on %s: free some: %w", ErrNoSpace, dir, err)
	}
	return err
}

// owner is whom new files of a folder shall belong to.
type owner struct{ uid, gid int }

// ownerOf looks at the folder, or at the nearest one above that exists.
func ownerOf(folder string) (owner, error) {
	for dir := folder; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			return owner{}, err
		}
		if !info.IsDir() {
			return owner{}, fmt.Errorf("%s is no folder", dir)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return owner{os.Geteuid(), os.Getegid()}, nil
		}
		return owner{int(st.Uid), int(st.Gid)}, nil
	}
}

func (o owner) chown(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}

func (o owner) mkdir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := o.mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.chown(dir)
}

// isFolder says whether a place, as a person names it, is a folder and not a bucket's URL.
func isFolder(place string) bool { return !strings.Contains(place, "://") }
