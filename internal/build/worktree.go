package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// workTree lists the files under folders as they are in the work tree, without those that Git
// ignores. It serves builds of uncommitted changes only.
func (r *repository) workTree(ctx context.Context, root *os.Root, folder string) ([]entry, error) {
	spec := ":(top)"
	if folder != "" {
		spec = ":(top,literal)" + folder
	}
	out, err := r.git(ctx, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--full-name", "--", spec)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if path == "" {
			continue
		}
		info, err := root.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return nil, fmt.Errorf("reading the work tree: %w", err)
		}
		e := entry{path: path, size: info.Size()}
		switch {
		case info.Mode().IsRegular() && info.Mode()&0o100 != 0:
			e.mode = "100755"
		case info.Mode().IsRegular():
			e.mode = "100644"
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := root.Readlink(path)
			if err != nil {
				return nil, fmt.Errorf("reading the work tree: %w", err)
			}
			e.mode, e.size = "120000", int64(len(target))
			e.open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(target)), nil }
		case info.IsDir():
			e.mode = "160000" // Git lists a folder only where it is a repository of its own
		default:
			return nil, fmt.Errorf("%s is neither a file nor a link", path)
		}
		if e.open == nil {
			e.open = func() (io.ReadCloser, error) { return root.Open(path) }
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// newest is the time of the last change among files of the work tree.
func newest(root *os.Root, entries []entry) time.Time {
	var last time.Time
	for _, e := range entries {
		if info, err := root.Lstat(e.path); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last.UTC().Truncate(time.Second)
}
