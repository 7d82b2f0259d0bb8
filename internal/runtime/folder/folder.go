// Package folder writes what containers are given into folders of this machine, and reads what they
// wrote. Every runtime whose containers share a folder with Waybill uses it.
package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/waybill-dev/waybill/internal/runtime"
)

const tempPrefix = ".tmp-"

// Owner is the containers' user, whom folders and files are given to.
type Owner struct {
	UID, GID int

	mu sync.Mutex // one writer at a time
}

// Make makes a folder that belongs to the containers' user.
func (o *Owner) Make(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return o.own(dir, mode)
}

// own gives a folder to the containers' user, if it is not theirs yet.
func (o *Owner) own(dir string, mode fs.FileMode) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("give %s to user %d: %w", dir, o.UID, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("give %s to user %d: it is not a folder; move it away", dir, o.UID)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != o.UID || int(st.Gid) != o.GID) {
		if err := os.Chown(dir, o.UID, o.GID); err != nil {
			return fmt.Errorf("give folder to user %d: %w", o.UID, err)
		}
	}
	if info.Mode().Perm() != mode {
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("set mode of folder: %w", err)
		}
	}
	return nil
}

// Write puts files into dir, each atomically, readable by the containers' user only. A file
// whose content is already there is not touched, so that its reader sees no change. With exact,
// other files go away.
func (o *Owner) Write(dir string, files runtime.Files, exact bool) error {
	if err := files.Check(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.Make(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := o.writeFile(filepath.Join(dir, name), content); err != nil {
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

func (o *Owner) writeFile(path string, content []byte) (err error) {
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
		err = f.Chown(o.UID, o.GID)
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

// ReadOut reads the files that a container wrote into dir. The container is not trusted: links
// and anything but regular files are passed over, what is too large is cut.
func ReadOut(dir string) (runtime.Files, error) {
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
	entries, err := folder.ReadDir(4 * runtime.MaxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read a job's output: %w", err)
	}
	out := runtime.Files{}
	for _, e := range entries {
		if !e.Type().IsRegular() || len(out) == runtime.MaxFiles {
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
	return io.ReadAll(io.LimitReader(f, runtime.MaxOutBytes))
}
