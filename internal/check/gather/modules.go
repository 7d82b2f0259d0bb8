package gather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// Limits of what is read of a source. What is larger is named in the Input, and not looked at.
const (
	maxManifest = 1 << 20   // bytes; the limit of odoo.ParseLiteral
	maxSource   = 4 << 20   // bytes of a Python, XML or CSV file; Odoo's largest has 3 MB
	maxText     = 1 << 20   // bytes of any other text, in which secrets are looked for
	maxContent  = 768 << 20 // bytes in all; Odoo itself has 140 MB
)

// reader reads modules. It is used for one tree.
type reader struct {
	series  odoo.SeriesInfo
	running []check.RunningRelease

	mu     sync.Mutex
	unread []check.NotChecked
	count  int
	total  int64
	full   bool
}

func (r *reader) skip(file, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unread) < 1000 {
		r.unread = append(r.unread, check.NotChecked{File: file, Why: fmt.Sprintf(format, args...)})
	}
}

// Manifests reads the manifests of a working tree and nothing else: for a graph of its modules.
// Folders are as Folder has them.
func Manifests(ctx context.Context, dir string, folders []string, series odoo.SeriesInfo) ([]*check.Module, error) {
	t, err := openFolder(ctx, dir, folders)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	defer t.close()
	found, err := (&reader{series: series}).found(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	modules := make([]*check.Module, len(found))
	for i := range found {
		modules[i] = found[i].module
	}
	return modules, nil
}

// candidate is a folder with a manifest.
type candidate struct {
	module   *check.Module
	manifest []byte // as read; nil where it was too large
	file     string // of the manifest
}

// modules reads every module with all its files, sorted by folder.
func (r *reader) modules(ctx context.Context, t tree) ([]*check.Module, error) {
	defer t.close()
	found, err := r.found(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no module in %s: a module is a folder with a %s", shown(t.folders()), r.series.ManifestNames[0])
	}
	err = each(ctx, len(found), t.parallel(), func(ctx context.Context, i int) error { return r.files(ctx, t, found[i]) })
	if err != nil {
		return nil, err
	}
	modules := make([]*check.Module, 0, len(found))
	for _, c := range found {
		if c.module.Manifest != nil && !c.module.Manifest.Installable {
			r.skip(c.module.Folder, "it is marked as not installable, and a build leaves it out")
			continue
		}
		modules = append(modules, c.module)
	}
	slices.SortFunc(modules, func(a, b *check.Module) int { return strings.Compare(a.Folder, b.Folder) })
	return modules, nil
}

// found reads the manifests.
func (r *reader) found(ctx context.Context, t tree) ([]candidate, error) {
	var places []entry
	for _, folder := range t.folders() {
		entries, err := t.list(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			switch {
			case e.is(syscall.S_IFDIR):
				places = append(places, e)
			case e.is(syscall.S_IFLNK):
				r.skip(e.path, "it is a link, and a build takes no module behind one")
			case slices.Contains(r.series.ManifestNames, path.Base(e.path)):
				return nil, fmt.Errorf("addons folder %s is itself a module (%s); name the folder that holds the modules", shown([]string{folder}), e.path)
			}
		}
	}
	slices.SortFunc(places, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	names := make([]string, len(places))
	for i, place := range places {
		names[i] = place.path
	}
	if err := t.expect(names, r.series.ManifestNames); err != nil {
		return nil, err
	}
	all := make([]candidate, len(places))
	err := each(ctx, len(places), t.parallel(), func(ctx context.Context, i int) (err error) {
		all[i], err = r.manifest(ctx, t, places[i].path)
		return err
	})
	found := slices.DeleteFunc(all, func(c candidate) bool { return c.module == nil })
	slices.SortFunc(found, func(a, b candidate) int { return strings.Compare(a.module.Folder, b.module.Folder) })
	return found, err
}

// manifest reads a module's manifest; no module where there is none.
func (r *reader) manifest(ctx context.Context, t tree, folder string) (candidate, error) {
	for _, name := range r.series.ManifestNames {
		e, err := one(ctx, t, folder+"/"+name)
		if err != nil {
			return candidate{}, err
		}
		if e == nil {
			continue
		}
		c := candidate{module: &check.Module{Name: path.Base(folder), Folder: folder}, file: e.path}
		switch {
		case !e.is(syscall.S_IFREG):
			c.module.ManifestErr = fmt.Errorf("%s is no file", e.path)
		case e.size > maxManifest:
			c.module.ManifestErr = fmt.Errorf("it has %s; at most %s are read", amount(e.size), amount(maxManifest))
		default:
			if c.manifest, err = content(*e, maxManifest); err != nil {
				return candidate{}, err
			}
			parsed, err := odoo.ParseManifest(c.manifest)
			if err != nil {
				c.module.ManifestErr = err
				break
			}
			c.module.Manifest = &parsed
			if c.module.Version, err = r.series.AdaptVersion(parsed.Version); err != nil {
				c.module.Version = "" // the check of versions says why
			}
		}
		return c, nil
	}
	return candidate{}, nil
}

// one finds a single file of a tree.
func one(ctx context.Context, t tree, name string) (*entry, error) {
	if folder, ok := t.(*folderTree); ok {
		e, err := folder.entry(name)
		if err != nil {
			return nil, nil // not there; or not to be read, and then Odoo does not see it either
		}
		return &e, nil
	}
	files, err := t.files(ctx, path.Dir(name))
	if err != nil {
		return nil, err
	}
	for i := range files {
		if files[i].path == name {
			return &files[i], nil
		}
	}
	return nil, nil
}

// files reads what is below a module.
func (r *reader) files(ctx context.Context, t tree, c candidate) error {
	entries, err := t.files(ctx, c.module.Folder)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.count += len(entries)
	tooMany := r.count > maxFiles
	r.mu.Unlock()
	if tooMany {
		return fmt.Errorf("the addons have more than %d files; is %s the right folder?", maxFiles, shown(t.folders()))
	}
	m := c.module
	m.Files = make([]*check.File, len(entries))
	slab := make([]check.File, len(entries))
	for i, e := range entries {
		f := &slab[i]
		*f = check.File{Path: e.path, Mode: e.mode, Size: e.size, Link: e.link}
		m.Files[i] = f
		if e.path == c.file && c.manifest != nil {
			f.Content = c.manifest
			continue
		}
		if !e.is(syscall.S_IFREG) {
			continue
		}
		if f.Content, err = r.content(e, m.Folder); err != nil {
			return err
		}
	}
	if r.compared(m.Name) {
		m.Checksum, err = checksum(m, entries)
	}
	return err
}

// content reads a file that a check looks into.
func (r *reader) content(e entry, folder string) ([]byte, error) {
	limit := limitOf(strings.TrimPrefix(e.path, folder+"/"))
	switch {
	case limit == 0:
		return nil, nil
	case e.size > limit:
		r.skip(e.path, "it has %s; at most %s are looked into", amount(e.size), amount(limit))
		return nil, nil
	}
	r.mu.Lock()
	r.total += e.size
	full := r.total > maxContent
	first := full && !r.full
	r.full = full
	r.mu.Unlock()
	if full {
		if first {
			r.skip(e.path, "the addons have more than %s of sources; from this file on they were not looked into", amount(maxContent))
		}
		return nil, nil
	}
	return content(e, limit)
}

// content reads a whole file. It may have grown since it was listed; then it is cut.
func content(e entry, limit int64) ([]byte, error) {
	r, err := e.open()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.path, err)
	}
	defer r.Close()
	buffer := bytes.NewBuffer(make([]byte, 0, min(e.size, limit)+bytes.MinRead))
	if _, err := buffer.ReadFrom(io.LimitReader(r, limit)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.path, err)
	}
	return buffer.Bytes(), nil
}

// limitOf says how much of a file is read, by its path within the module; 0: nothing looks into it.
func limitOf(inside string) int64 {
	top, _, _ := strings.Cut(inside, "/")
	switch strings.ToLower(path.Ext(inside)) {
	case ".py", ".xml", ".csv":
		return maxSource
	case ".po", ".pot", ".css", ".scss", ".less", ".map", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".ico", ".webp", ".bmp",
		".woff", ".woff2", ".ttf", ".otf", ".eot", ".pdf", ".xls", ".xlsx", ".ods", ".odt", ".doc", ".docx", ".zip", ".gz",
		".mp3", ".mp4", ".ogg", ".wav", ".webm", ".mo":
		return 0
	}
	if top == "i18n" || top == "i18n_extra" {
		return 0
	}
	return maxText
}

// compared says whether a module's content is compared with what runs.
func (r *reader) compared(name string) bool {
	for i := range r.running {
		if slices.ContainsFunc(r.running[i].Release.Modules, func(m release.Module) bool { return m.Name == name }) {
			return true
		}
	}
	return false
}

// checksum is computed as a build does: a link to a file counts as that file, others do not count.
func checksum(m *check.Module, entries []entry) (string, error) {
	byPath := map[string]int{}
	for i, e := range entries {
		byPath[e.path] = i
	}
	var files []odoo.File
	for i := range entries {
		e, read := entries[i], m.Files[i].Content
		for hops := 0; e.is(syscall.S_IFLNK) && hops < 40; hops++ {
			at, ok := byPath[path.Join(path.Dir(e.path), e.link)]
			if !ok {
				break // another check names the link
			}
			e, read = entries[at], m.Files[at].Content
		}
		if !e.is(syscall.S_IFREG) {
			continue
		}
		files = append(files, odoo.File{Path: strings.TrimPrefix(entries[i].path, m.Folder+"/"), Open: func() (io.ReadCloser, error) {
			if read != nil {
				return io.NopCloser(bytes.NewReader(read)), nil
			}
			return e.open()
		}})
	}
	sum, err := odoo.Checksum(files, odoo.ChecksumRule{})
	if err != nil {
		return "", fmt.Errorf("%s: %w", m.Folder, err)
	}
	return sum, nil
}

func shown(folders []string) string {
	names := make([]string, len(folders))
	for i, f := range folders {
		names[i] = f
		if f == "" {
			names[i] = "."
		}
	}
	return strings.Join(names, ", ")
}

// amount is a number of bytes for people.
func amount(bytes int64) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%d kB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
