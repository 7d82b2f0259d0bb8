package estate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxEntries bounds the walk through an estate's folder.
const maxEntries = 100_000

// casesFile says whether a file holds cases for waybill policy test and is no part of the declared state.
func casesFile(name string) bool {
	return strings.HasSuffix(name, "_test.yaml") || strings.HasSuffix(name, "_test.yml")
}

// CasesFiles lists the files under dir that hold cases for waybill policy test, sorted.
func CasesFiles(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir() && casesFile(path):
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// Load reads all *.yaml and *.yml files under dir, but hidden ones and those that end in _test.yaml, which hold
// cases for waybill policy test. Links are followed as long
// as they stay inside the folder. Where dir is in a Git repository, Commit and Dirty are filled
// in. The error joins every Problem found.
func Load(ctx context.Context, dir string) (*Estate, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("estate: find folder %s: %w", dir, err)
	}
	files, err := gather(ctx, absolute)
	if err != nil {
		return nil, err
	}
	return load(ctx, dir, absolute, files)
}

// load is Load of files that were read.
func load(ctx context.Context, dir, absolute string, files map[string][]byte) (*Estate, error) {
	if len(files) == 0 {
		return nil, errNoFiles(dir)
	}
	e, err := parseIn(absolute, files)
	if err != nil {
		return nil, err
	}
	e.Commit, e.Dirty, err = gitState(ctx, absolute)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func errNoFiles(dir string) error {
	return fmt.Errorf("estate: folder %s has no *.yaml file; write a first estate with: waybill init %s", dir, dir)
}

// parseIn is Parse, with the files in the folder that the documents name.
func parseIn(absolute string, files map[string][]byte) (*Estate, error) {
	e, err := Parse(files)
	if err != nil {
		return nil, err
	}
	if err := e.readTrustKeys(absolute); err != nil {
		return nil, err
	}
	if err := e.readCalendarFiles(absolute); err != nil {
		return nil, err
	}
	e.Root = absolute
	return e, nil
}

// gather reads the files. os.Root keeps every opened path inside the folder, links included.
func gather(ctx context.Context, dir string) (map[string][]byte, error) {
	root, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("estate: folder %s does not exist; write a first estate with: waybill init %s", dir, dir)
	case err != nil:
		return nil, fmt.Errorf("estate: open folder %s: %w", dir, err)
	}
	defer func() { _ = root.Close() }()

	files := map[string][]byte{}
	var rep report
	entries, size := 0, 0
	walk := func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			rep.add(&Problem{File: name, Message: "cannot be read: " + reason(err)})
			return nil
		}
		if entries++; entries > maxEntries {
			return fmt.Errorf("estate: folder %s has more than %d entries; give the estate a folder of its own", dir, maxEntries)
		}
		if name != "." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if suffix := filepath.Ext(name); entry.IsDir() || suffix != ".yaml" && suffix != ".yml" || casesFile(name) {
			return nil
		}
		if len(files) >= maxFiles {
			return fmt.Errorf("estate: folder %s has more than %d YAML files; give the estate a folder of its own", dir, maxFiles)
		}
		content, problem := readFile(root, name)
		switch {
		case problem != nil:
			rep.add(problem)
		case content != nil && !isRendered(name, content):
			if size += len(content); size > maxSize {
				return fmt.Errorf("estate: folder %s has more than %d bytes of YAML; give the estate a folder of its own", dir, maxSize)
			}
			files[name] = content
		}
		return nil
	}
	if err := fs.WalkDir(root.FS(), ".", walk); err != nil {
		return nil, err
	}
	return files, rep.err()
}

// readFile reads one file within the limits; nil for what is no file (a link to a folder).
func readFile(root *os.Root, name string) ([]byte, *Problem) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, &Problem{File: name, Message: "cannot be read: " + reason(err), Hint: "a link must stay inside the estate's folder"}
	case info.IsDir():
		return nil, nil
	case !info.Mode().IsRegular():
		return nil, &Problem{File: name, Message: "is no regular file"}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, &Problem{File: name, Message: "cannot be read: " + reason(err)}
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1)) // one byte more, so that Parse sees the excess
	if err != nil {
		return nil, &Problem{File: name, Message: "cannot be read: " + reason(err)}
	}
	return content, nil
}

// reason is an error without the path that fs puts before it.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
