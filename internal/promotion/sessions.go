package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Odoo keeps a session as a JSON document in sessions/AB/SID under its data folder, of which field db says whose it is. A group's
// tenants have them in one folder.

// sessionLimit is more than a session takes; what is larger is none.
const sessionLimit = 1 << 20

// eachSession calls f with those sessions of a database that were written since. One that ends meanwhile is left out.
func eachSession(ctx context.Context, dataDir, database string, since time.Time, f func(path string, info fs.FileInfo) error) error {
	root := filepath.Join(dataDir, "sessions")
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		var info fs.FileInfo
		if err == nil && entry.Type().IsRegular() {
			info, err = entry.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info == nil || info.Size() > sessionLimit || info.ModTime().Before(since):
			return nil
		}
		whose, err := sessionOf(path)
		if err != nil || whose != database {
			return err
		}
		return f(path, info)
	})
}

// sessionOf says which database a session is of; empty: it is none, or has ended.
func sessionOf(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, sessionLimit))
	if err != nil {
		return "", fmt.Errorf("read a session: %w", err)
	}
	var session struct {
		DB string `json:"db"`
	}
	if json.Unmarshal(text, &session) != nil { // Odoo takes such a one for an empty session
		return "", nil
	}
	return session.DB, nil
}

// copySessions gives another data folder those sessions of a database that were written since. Of two the newer stays.
func copySessions(ctx context.Context, from, to, database string, since time.Time) error {
	return eachSession(ctx, from, database, since, func(path string, info fs.FileInfo) error {
		within, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, within)
		if is, err := os.Stat(target); err == nil && !is.ModTime().Before(info.ModTime()) {
			return nil
		}
		dir, err := os.Stat(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		for _, d := range []string{filepath.Dir(filepath.Dir(target)), filepath.Dir(target)} {
			if err := makeOwned(d, dir); err != nil {
				return err
			}
		}
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := copyFile(path, target, info); err != nil {
			return err
		}
		err = os.Chtimes(target, time.Time{}, info.ModTime()) // Odoo ends a session by the age of its file
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// removeSessions ends those of a database in a data folder.
func removeSessions(ctx context.Context, dataDir, database string) error {
	return eachSession(ctx, dataDir, database, time.Time{}, func(path string, _ fs.FileInfo) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
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
