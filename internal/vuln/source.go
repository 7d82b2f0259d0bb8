package vuln

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits of what is read of databases. All of OSV's Debian is about 60,000 advisories in 1 GB, the
// largest of them 2 MB.
const (
	maxAdvisory   = 32 << 20 // bytes
	maxUnpacked   = 32 << 30 // bytes of all advisories
	maxAdvisories = 3_000_000
	maxFiles      = 3_000_000
)

// ErrDatabase is what every error about the databases themselves is: they are missing, damaged or too
// large.
var ErrDatabase = errors.New("vulnerability database")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w %w", ErrDatabase, fmt.Errorf(format, args...))
}

// source is one file of a database.
type source struct {
	path string
	info fs.FileInfo
}

// sources lists the files of databases: each path is an advisory (.json), a zip file of them, or a
// folder of both. Hidden files are left out: they are half copied ones.
func sources(ctx context.Context, paths []string) ([]source, error) {
	if len(paths) == 0 {
		return nil, damaged("is not named; name a folder or a zip file with OSV advisories")
	}
	var all []source
	for _, path := range paths {
		root, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, damaged("%s: %w; put a folder or a zip file with OSV advisories there, or name another in the estate (kind: Vulnerabilities)", path, reason(err))
		}
		before := len(all)
		err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if name != root && strings.HasPrefix(entry.Name(), ".") {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			ext := strings.ToLower(filepath.Ext(name))
			if !entry.Type().IsRegular() || ext != ".json" && ext != ".zip" {
				return nil
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // taken away since the folder was read
			}
			if err != nil {
				return err
			}
			if all = append(all, source{name, info}); len(all) > maxFiles {
				return fmt.Errorf("more than %d files", maxFiles)
			}
			return nil
		})
		if err != nil {
			return nil, damaged("%s: %w", path, err)
		}
		if len(all) == before {
			return nil, damaged("%s holds no advisory: no .json and no .zip file is there", path)
		}
	}
	return all, nil
}

func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Fingerprint names the state of databases: names, sizes and times of their files. It changes when one
// is renewed, and reads none of them.
func Fingerprint(ctx context.Context, databases []string) (string, error) {
	list, err := sources(ctx, databases)
	if err != nil {
		return "", err
	}
	return fingerprint(list), nil
}

func fingerprint(list []source) string {
	h := sha256.New()
	for _, s := range list {
		_, _ = fmt.Fprintf(h, "%s\x00%d\x00%d\n", s.path, s.info.Size(), s.info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// reader hands out advisories one by one, within limits.
type reader struct {
	ctx   context.Context
	count int
	bytes int64
	each  func(name string, content []byte) error
}

func (r *reader) read(s source) error {
	if strings.EqualFold(filepath.Ext(s.path), ".zip") {
		return r.zip(s.path)
	}
	return r.one(s.path, func() (io.ReadCloser, error) { return os.Open(s.path) })
}

func (r *reader) zip(path string) error {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return damaged("%s cannot be read as a zip file: %w; fetch it again", path, err)
	}
	defer func() { _ = archive.Close() }()
	before := r.count
	for _, f := range archive.File {
		if f.FileInfo().IsDir() || !strings.EqualFold(filepath.Ext(f.Name), ".json") {
			continue
		}
		if err := r.one(fmt.Sprintf("%s: %q", path, f.Name), f.Open); err != nil {
			return err
		}
	}
	if r.count == before {
		return damaged("%s holds no advisory: no .json file is in it", path)
	}
	return nil
}

// one reads an advisory. What a zip file says of sizes is not believed.
func (r *reader) one(name string, open func() (io.ReadCloser, error)) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.count++; r.count > maxAdvisories {
		return damaged("%s: there are more than %d advisories", name, maxAdvisories)
	}
	f, err := open()
	if err != nil {
		return damaged("%s: %w", name, err)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxAdvisory+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return damaged("%s cannot be read: %w; fetch it again", name, err)
	}
	if len(content) > maxAdvisory {
		return damaged("%s unpacks to more than %d MB; no advisory is that large", name, maxAdvisory>>20)
	}
	if r.bytes += int64(len(content)); r.bytes > maxUnpacked {
		return damaged("%s: the advisories unpack to more than %d GB", name, maxUnpacked>>30)
	}
	return r.each(name, content)
}
