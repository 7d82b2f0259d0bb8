package build

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// SourceTree is what a build takes its modules from, for those who look at it before anything is
// made of it.
type SourceTree struct {
	Commit  string
	Dirty   bool
	Folders []string // of the addons, from the repository's root; "" is the root itself

	// Ahead says which files will be opened next, in this order, so that they are read ahead. It is worth it, and not needed.
	Ahead func(files []SourceFile) error
	// Files lists the files under one of the folders, sorted by path. It asks Git once for each.
	Files func(folder string) ([]SourceFile, error)
}

// SourceFile is one file of a SourceTree.
type SourceFile struct {
	Path string // from the repository's root, as Git has it
	Mode string // 100644, 100755, 120000 (link) or 160000 (submodule)
	Size int64  // bytes
	// Open returns the content, or a link's target. Only one file of a tree may be open at a time.
	Open func() (io.ReadCloser, error)

	object string // names the content, where Git keeps it
}

// tree lets others see what this package reads, once for each folder.
func (s *source) tree(folders []string, list func(string) ([]entry, error), ahead func(objects []string) error) (SourceTree, func(string) ([]entry, error)) {
	listed := map[string][]entry{}
	once := func(folder string) ([]entry, error) {
		if known, ok := listed[folder]; ok {
			return known, nil
		}
		entries, err := list(folder)
		if err == nil {
			listed[folder] = entries
		}
		return entries, err
	}
	return SourceTree{
		Commit: s.commit, Dirty: s.dirty, Folders: folders,
		Ahead: func(files []SourceFile) error {
			objects := make([]string, len(files))
			for i, f := range files {
				objects[i] = f.object
			}
			return ahead(objects)
		},
		Files: func(folder string) ([]SourceFile, error) {
			entries, err := once(folder)
			if err != nil {
				return nil, err
			}
			files := make([]SourceFile, len(entries))
			for i, e := range entries {
				files[i] = SourceFile{Path: e.path, Mode: e.mode, Size: e.size, Open: e.open, object: e.object}
			}
			return files, nil
		},
	}, once
}

// OpenBase finds the image that a base names: a reference, oci:FOLDER or rootfs:FILE, as Options
// has it. Relative folders and files are relative to dir; cache "" is the user's cache folder.
// Layers are fetched when they are read, within ctx.
func OpenBase(ctx context.Context, base, dir, cache string, registry Registry) (v1.Image, error) {
	cache, err := cacheDir(cache)
	if err != nil {
		return nil, err
	}
	return openBase(ctx, base, dir, cache, registry)
}

// CacheDir is the folder for what is remembered between runs: the one given, else $WAYBILL_CACHE,
// else waybill/ in the user's cache folder.
func CacheDir(given string) (string, error) { return cacheDir(given) }
