package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// maxOwnLayers is how many layers the addons take at most: with more modules, several share one.
// Docker's overlay2 stops at 127 layers in all.
const (
	maxOwnLayers = 80
	maxLayers    = 127
	sharedLayers = 64
)

// folderTime is the time of the folders that all layers share. Were it the module's, each layer
// would set another one.
var folderTime = time.Unix(1577836800, 0).UTC()

// layerFile is one file of a layer.
type layerFile struct {
	path string // absolute in the image, without the leading slash
	mode int64
	link string // target, where it is a link
	size int64
	time time.Time
	open func() (io.ReadCloser, error)
	// object names the content, where Git keeps it.
	object string
}

// writeLayer writes files and the folders above them into a new layer in the folder dir. The bytes
// depend on the files alone: sorted, owned by root, modes normalised.
func writeLayer(ctx context.Context, dir string, files []layerFile) (fileLayer, error) {
	slices.SortFunc(files, func(a, b layerFile) int { return strings.Compare(a.path, b.path) })
	out, err := os.CreateTemp(dir, "layer-*")
	if err != nil {
		return fileLayer{}, err
	}
	defer out.Close()
	digest, diffID := sha256.New(), sha256.New()
	counted := &countingWriter{w: io.MultiWriter(out, digest)}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(ctx, io.MultiWriter(w, diffID), files)) }()
	err = compress(counted, r)
	r.CloseWithError(err)
	if err != nil {
		return fileLayer{}, err
	}
	return fileLayer{path: out.Name(), digest: sum(digest), diffID: sum(diffID), size: counted.n}, out.Close()
}

func writeTar(ctx context.Context, w io.Writer, files []layerFile) error {
	t := tar.NewWriter(w)
	written := map[string]bool{}
	var folder func(name string, at time.Time) error
	folder = func(name string, at time.Time) error {
		if name == "." || written[name] {
			return nil
		}
		written[name] = true
		above := at
		if shared(name) {
			at, above = folderTime, folderTime
		}
		if err := folder(path.Dir(name), above); err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: at})
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := folder(path.Dir(f.path), f.time); err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: f.size, ModTime: f.time}
		if f.link != "" {
			header.Typeflag, header.Linkname, header.Size, header.Mode = tar.TypeSymlink, f.link, 0, 0o777
		}
		if err := t.WriteHeader(header); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if f.link == "" {
			if err := copyInto(t, f); err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
		}
	}
	return t.Close()
}

// shared says whether a folder is above every module.
func shared(name string) bool {
	for _, leaf := range []string{bridge.AddonsPath, bridge.BridgePath} {
		if within(name, strings.TrimPrefix(leaf, "/")) {
			return true
		}
	}
	return false
}

func copyInto(w io.Writer, f layerFile) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, f.size))
	if err == nil && n != f.size {
		err = fmt.Errorf("it has %d bytes, %d were announced; was it changed meanwhile?", n, f.size)
	}
	return err
}

// layerFiles are the files of a module as the image holds them.
func (m sourceModule) layerFiles() ([]layerFile, error) {
	files := make([]layerFile, 0, len(m.entries))
	for _, e := range m.entries {
		f := layerFile{
			path: strings.TrimPrefix(bridge.AddonsPath, "/") + "/" + m.name + strings.TrimPrefix(e.path, m.folder),
			mode: 0o644, size: e.size, time: m.changed, open: e.open, object: e.object,
		}
		switch e.mode {
		case "100644":
		case "100755":
			f.mode = 0o755
		case "120000":
			var err error
			if f.link, err = linkTarget(e); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s has Git mode %s, which is not known", e.path, e.mode)
		}
		files = append(files, f)
	}
	return files, nil
}

// checksum is computed over what Odoo's host would see: a link to a file counts as that file, one
// to a folder does not count.
func (m sourceModule) checksum(rule odoo.ChecksumRule) (string, error) {
	byPath := map[string]entry{}
	for _, e := range m.entries {
		byPath[e.path] = e
	}
	var files []odoo.File
	for _, e := range m.entries {
		content, hops := e, 0
		for content.mode == "120000" {
			target, err := linkTarget(content)
			if err != nil {
				return "", err
			}
			next, ok := byPath[path.Join(path.Dir(content.path), target)]
			if hops++; !ok || hops > 40 {
				content.open = nil
				break
			}
			content = next
		}
		if content.open != nil {
			files = append(files, odoo.File{Path: strings.TrimPrefix(e.path, m.folder+"/"), Open: content.open})
		}
	}
	return odoo.Checksum(files, rule)
}

// lfsPointer is how a file begins that Git LFS keeps elsewhere.
const lfsPointer = "version https://git-lfs.github.com/spec/"

// checkContents refuses files whose content is not in the repository.
func (m sourceModule) checkContents() error {
	for _, e := range m.entries {
		if e.size < 100 || e.size > 300 || e.mode == "120000" {
			continue // a pointer has about 130 bytes
		}
		content, err := readEntry(e, 300)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(content), lfsPointer) {
			return fmt.Errorf("%s is kept in Git LFS, so its content is not in the repository; commit the file itself", e.path)
		}
	}
	return nil
}

// bridgeFiles are the files of the bridge that belong into an image.
func bridgeFiles(files fs.FS) ([]layerFile, error) {
	var list []layerFile
	err := fs.WalkDir(files, odoo.BridgeModule, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if base == "__pycache__" || base == "tests" || strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(base, ".") || filepath.Ext(base) == ".pyc" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		list = append(list, layerFile{
			path: strings.TrimPrefix(bridge.BridgePath, "/") + "/" + name,
			mode: 0o644, size: info.Size(), time: folderTime,
			open: func() (io.ReadCloser, error) { return files.Open(name) },
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the bridge: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("reading the bridge: %s is empty", odoo.BridgeModule)
	}
	return list, nil
}
