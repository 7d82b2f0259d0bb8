package promotion

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// copyFiles adds to a filestore what another one has. Files are told by their content's hash: one that is there is the same. It
// copies rather than links, so that no tenant can change what another one reads. A filestore that is not there has no files.
func copyFiles(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	owner, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := makeOwned(filepath.Dir(to), owner); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // collected by Odoo meanwhile
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
			return makeOwned(target, owner)
		case !entry.Type().IsRegular():
			return nil
		}
		return copyFile(path, target, owner)
	})
}

func makeOwned(dir string, like fs.FileInfo) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return chown(dir, like)
}

func chown(path string, like fs.FileInfo) error {
	if st, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	}
	return nil
}

func copyFile(from, to string, like fs.FileInfo) (err error) {
	if is, err := os.Stat(to); err == nil {
		if was, err := os.Stat(from); err == nil && was.Size() == is.Size() {
			return nil
		}
	}
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.CreateTemp(filepath.Dir(to), ".waybill-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o644), chown(out.Name(), like), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
