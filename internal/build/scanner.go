package build

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// Limits of what a scan takes from an image.
const (
	maxSpill      = 8 << 30   // bytes of all modules
	maxRemembered = 1 << 20   // bytes of a manifest or release.py
	maxManifests  = 128 << 20 // bytes of all manifests
	maxStatus     = 32 << 20  // bytes of dpkg's list
)

// scanner reads layers from the top down. A module's files come in no useful order, and from
// several layers, so what counts for checksums is put aside in one temporary file: memory holds
// names only.
type scanner struct {
	rule    odoo.ChecksumRule
	outside []string // folders of modules that moduleOf could not guess

	spill  *os.File
	buffer *bufio.Writer
	end    int64

	spilled   map[string]span
	byModule  map[string][]string // folder → paths
	manifests map[string][]byte
	releases  map[string][]byte
	pythons   map[string]bool
	dpkg      []byte

	gone   map[string]bool // taken away by a layer above
	opaque map[string]bool // folders of which a layer above hides what is below
	seen   map[string]bool // remembered from a layer above

	left       *budget
	remembered int64 // bytes of manifests and releases
}

// span is where a file's content is, or what it links to.
type span struct {
	offset, size int64
	link         string
}

func newScanner(rule odoo.ChecksumRule, dir string, outside []string) (*scanner, error) {
	spill, err := os.CreateTemp(dir, ".scan-*")
	if err != nil {
		return nil, err
	}
	// Nameless from here on: it goes away however this process ends.
	if err := os.Remove(spill.Name()); err != nil {
		spill.Close()
		return nil, err
	}
	return &scanner{
		rule: rule, outside: outside, spill: spill, buffer: bufio.NewWriterSize(spill, 1<<20),
		spilled: map[string]span{}, byModule: map[string][]string{},
		manifests: map[string][]byte{}, releases: map[string][]byte{}, pythons: map[string]bool{},
		gone: map[string]bool{}, opaque: map[string]bool{}, seen: map[string]bool{}, left: newBudget(),
	}, nil
}

func (s *scanner) close() { s.spill.Close() }

func (s *scanner) layer(ctx context.Context, layer v1.Layer) error {
	opened, err := openLayer(ctx, layer, s.left)
	if err != nil {
		return fmt.Errorf("base: %w", err)
	}
	defer opened.Close()
	if err := s.read(tar.NewReader(opened)); err != nil {
		return fmt.Errorf("base: %w", opened.explain(err))
	}
	if err := opened.finish(); err != nil {
		return fmt.Errorf("base: %w", err)
	}
	return s.buffer.Flush()
}

func (s *scanner) read(t *tar.Reader) error {
	// What a layer takes away, it takes from the layers below, not from itself.
	var gone, opaque, seen []string
	defer func() {
		for _, p := range gone {
			s.gone[p] = true
		}
		for _, p := range opaque {
			s.opaque[p] = true
		}
		for _, p := range seen {
			s.seen[p] = true
		}
	}()
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.left.entry(header); err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if base == ".wh..wh..opq" {
			opaque = append(opaque, dir)
			continue
		}
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			gone = append(gone, path.Join(dir, hidden))
			continue
		}
		switch header.Typeflag {
		case tar.TypeReg, tar.TypeLink, tar.TypeSymlink:
		default:
			continue
		}
		if !s.wanted(name) || s.hidden(name) {
			continue
		}
		seen = append(seen, name)
		if err := s.take(name, header, t); err != nil {
			return fmt.Errorf("%s: %w", printable(name), err)
		}
	}
}

// wanted says whether a file tells something.
func (s *scanner) wanted(name string) bool {
	base := path.Base(name)
	switch {
	case base == "__manifest__.py" || base == "__openerp__.py":
		return true
	case base == "release.py":
		return path.Base(path.Dir(name)) == "odoo"
	case strings.HasPrefix(base, "python3."):
		dir := path.Dir(name)
		return dir == "usr/bin" || dir == "usr/local/bin"
	case name == "var/lib/dpkg/status":
		return true
	}
	_, inside, ok := s.moduleOf(name)
	return ok && s.rule.Counts(inside)
}

// moduleOf guesses to which module a file belongs: folders of modules are called "addons", with few
// exceptions that a first run finds.
func (s *scanner) moduleOf(name string) (folder, inside string, ok bool) {
	for _, folder := range s.outside {
		if inside, ok := strings.CutPrefix(name, folder+"/"); ok {
			return folder, inside, true
		}
	}
	rest := name
	if !strings.HasPrefix(rest, "addons/") {
		i := strings.Index(rest, "/addons/")
		if i < 0 {
			return "", "", false
		}
		rest = rest[i+1:]
	}
	module, inside, ok := strings.Cut(strings.TrimPrefix(rest, "addons/"), "/")
	if !ok {
		return "", "", false
	}
	return strings.TrimSuffix(name, "/"+module+"/"+inside) + "/" + module, inside, true
}

func (s *scanner) hidden(name string) bool {
	if s.seen[name] {
		return true
	}
	if len(s.gone) == 0 && len(s.opaque) == 0 {
		return false
	}
	if s.gone[name] {
		return true
	}
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if s.gone[dir] || s.opaque[dir] {
			return true
		}
	}
	return false
}

func (s *scanner) take(name string, header *tar.Header, r io.Reader) error {
	base := path.Base(name)
	if strings.HasPrefix(base, "python3.") && strings.Count(name, "/") <= 3 {
		s.pythons[name] = true
		return nil
	}
	if name == "var/lib/dpkg/status" {
		content, err := io.ReadAll(io.LimitReader(r, maxStatus))
		s.dpkg = content
		return err
	}
	var content []byte
	if header.Typeflag == tar.TypeReg && (base == "__manifest__.py" || base == "__openerp__.py" || base == "release.py") {
		var err error
		if content, err = io.ReadAll(io.LimitReader(r, maxRemembered+1)); err != nil {
			return err
		}
		if len(content) > maxRemembered {
			return fmt.Errorf("it has more than %d bytes", maxRemembered)
		}
		if s.remembered += int64(len(content)); s.remembered > maxManifests {
			return fmt.Errorf("the manifests have more than %d MB", maxManifests>>20)
		}
		if base == "release.py" {
			s.releases[name] = content
		} else {
			s.manifests[name] = content
		}
		r = strings.NewReader(string(content))
	}
	folder, inside, ok := s.moduleOf(name)
	if !ok || !s.rule.Counts(inside) {
		return nil
	}
	at := span{offset: s.end}
	switch header.Typeflag {
	case tar.TypeLink:
		at.link = path.Clean("/" + header.Linkname)[1:]
	case tar.TypeSymlink:
		at.link = header.Linkname
		if !path.IsAbs(at.link) {
			at.link = path.Join("/", path.Dir(name), at.link)
		}
		at.link = path.Clean(at.link)[1:]
	default:
		// By what is announced: a sparse file of a few bytes may unpack to any size.
		if header.Size > maxFileSize || header.Size > maxSpill-s.end {
			return fmt.Errorf("it has %d MB; a file of a module has at most %d MB, and all together %d GB", header.Size>>20, maxFileSize>>20, maxSpill>>30)
		}
		n, err := io.Copy(s.buffer, r)
		if err != nil {
			return err
		}
		at.size = n
		s.end += n
	}
	s.spilled[name] = at
	s.byModule[folder] = append(s.byModule[folder], name)
	return nil
}

// open follows links among the files put aside. A link that leads elsewhere counts by its target's
// name: Debian replaces some files by links to other packages'.
func (s *scanner) open(name string) (io.ReadCloser, error) {
	at := s.spilled[name]
	for hops := 0; at.link != ""; hops++ {
		next, ok := s.spilled[at.link]
		if !ok || hops > 40 {
			return io.NopCloser(strings.NewReader(at.link)), nil
		}
		at = next
	}
	return io.NopCloser(io.NewSectionReader(s.spill, at.offset, at.size)), nil
}
