package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// Limits on what is written into and read out of containers.
const (
	maxFiles     = 64
	maxFileBytes = 4 << 20
	maxOutBytes  = 1 << 20
	tempPrefix   = ".tmp-"
)

// makeDir makes a folder that belongs to the containers' user.
func (r *Runtime) makeDir(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return r.own(dir, mode)
}

// own gives a folder to the containers' user, if it is not theirs yet.
func (r *Runtime) own(dir string, mode fs.FileMode) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("give %s to user %d: %w", dir, r.opt.UID, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("give %s to user %d: it is not a folder; move it away", dir, r.opt.UID)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != r.opt.UID || int(st.Gid) != r.opt.GID) {
		if err := os.Chown(dir, r.opt.UID, r.opt.GID); err != nil {
			return fmt.Errorf("give folder to user %d: %w", r.opt.UID, err)
		}
	}
	if info.Mode().Perm() != mode {
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("set mode of folder: %w", err)
		}
	}
	return nil
}

func checkFiles(files runtime.Files) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%d files for a container: expected at most %d", len(files), maxFiles)
	}
	for name, content := range files {
		if name == "" || len(name) > 200 || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
			return fmt.Errorf("file %q for a container: expected a plain file name, without folder and not beginning with a dot", name)
		}
		if len(content) > maxFileBytes {
			return fmt.Errorf("file %q for a container has %d bytes: expected at most %d", name, len(content), maxFileBytes)
		}
	}
	return nil
}

// writeFiles puts files into dir, each atomically, readable by the containers' user only. A file
// whose content is already there is not touched, so that its reader sees no change. With exact,
// other files go away.
func (r *Runtime) writeFiles(dir string, files runtime.Files, exact bool) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	r.files.Lock()
	defer r.files.Unlock()
	if err := r.makeDir(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := r.writeFile(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read folder: %w", err)
	}
	for _, e := range entries {
		_, wanted := files[e.Name()]
		// A temporary file is left by a process that was killed.
		if strings.HasPrefix(e.Name(), tempPrefix) || exact && !wanted {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove old file: %w", err)
			}
		}
	}
	return nil
}

func (r *Runtime) writeFile(path string, content []byte) (err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(r.opt.UID, r.opt.GID)
	}
	if err == nil {
		err = f.Sync() // else a crash may leave the new name with no content
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// readOut reads the files that a container wrote into dir. The container is not trusted: links
// and anything but regular files are passed over, what is too large is cut.
func readOut(dir string) (runtime.Files, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a job's output: %w", err)
	}
	defer root.Close()
	folder, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("read a job's output: %w", err)
	}
	defer folder.Close()
	entries, err := folder.ReadDir(4 * maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read a job's output: %w", err)
	}
	out := runtime.Files{}
	for _, e := range entries {
		if !e.Type().IsRegular() || len(out) == maxFiles {
			continue
		}
		content, err := readOutFile(root, e.Name())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read a job's output %s: %w", filepath.Join(dir, e.Name()), err)
		}
		out[e.Name()] = content
	}
	return out, nil
}

func readOutFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxOutBytes))
}
