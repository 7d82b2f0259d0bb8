package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// Limits of what is built. They stop mistakes (a database dump among the addons), not real addons.
const (
	maxFiles      = 200_000
	maxFileSize   = 256 << 20 // bytes
	maxSourceSize = 4 << 30   // bytes
	maxPath       = 3500      // bytes; leaves room for where a runtime unpacks the image
)

// source is the addons of one commit (or of a work tree).
type source struct {
	commit  string
	created time.Time
	origin  string // of the repository; empty where there is none that others can reach
	dirty   bool
	folders []string       // of addons, from the repository's root, sorted
	modules []sourceModule // sorted by name
	close   func()
}

// sourceModule is one module as found in the source.
type sourceModule struct {
	name     string
	folder   string // from the repository's root
	manifest odoo.Manifest
	file     string // of the manifest, for messages
	entries  []entry
	changed  time.Time
}

func readSource(ctx context.Context, o Options, info odoo.SeriesInfo, known recall) (_ *source, err error) {
	repo, err := openRepository(ctx, o.Source)
	if err != nil {
		return nil, err
	}
	folders, err := addonsFolders(repo, o.Addons)
	if err != nil {
		return nil, err
	}
	commit := o.Commit
	if commit == "" {
		commit = "HEAD"
	}
	s := &source{folders: rootFolders(folders), close: func() {}}
	// A commit that was named is built as it is; only "what is here" can be dirty.
	paths := o.Addons
	if len(paths) == 0 {
		paths = []string{"addons"}
	}
	looked := make(chan here, 1)
	go func() { looked <- repo.look(ctx, o.Commit == "" && !repo.bare, paths) }()
	s.commit, err = repo.resolve(ctx, commit)
	if err == nil {
		s.created, err = repo.lastChange(ctx, s.commit, "")
	}
	around := <-looked
	if err = cmp.Or(err, around.err); err != nil {
		return nil, err
	}
	if len(around.changed) > 0 && !o.AllowDirty {
		return nil, fmt.Errorf("the work tree has changes that are not committed: %s; commit them, or allow a dirty build, which is marked as such", few(around.changed))
	}
	s.origin, s.dirty = around.origin, len(around.changed) > 0

	var list func(folder string) ([]entry, error)
	ahead := func([]string) error { return nil } // a work tree's files are opened as they are
	var root *os.Root
	if s.dirty {
		top, err := repo.git(ctx, "rev-parse", "--show-toplevel")
		if err != nil {
			return nil, err
		}
		if root, err = os.OpenRoot(strings.TrimSuffix(string(top), "\n")); err != nil {
			return nil, err
		}
		s.close = func() { root.Close() }
		list = func(folder string) ([]entry, error) { return repo.workTree(ctx, root, folder) }
	} else {
		objects, err := repo.objects(ctx)
		if err != nil {
			return nil, err
		}
		s.close, ahead = func() { objects.Close() }, objects.foretell
		list = func(folder string) ([]entry, error) { return repo.tree(ctx, s.commit, folder, objects) }
	}
	history := make(chan carried, 1) // Git walks back through it while the modules are read
	go func() { history <- repo.carry(ctx, s.commit, known) }()
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if o.Check != nil {
		var tree SourceTree
		tree, list = s.tree(folders, list, ahead)
		if err = o.Check(ctx, tree); err != nil {
			return nil, err
		}
	}
	if err := s.collect(folders, list, info, o.say); err != nil {
		return nil, err
	}
	return s, s.date(ctx, repo, root, <-history)
}

// here is what a repository says of itself, beside a commit.
type here struct {
	origin  string
	changed []string // files of the work tree that differ from the commit
	err     error
}

func (r *repository) look(ctx context.Context, workTree bool, addons []string) (h here) {
	if workTree {
		h.changed, h.err = r.changes(ctx, addons)
	}
	h.origin = r.remote(ctx)
	return h
}

// addonsFolders returns clean paths from the repository's root; "" is the root itself.
func addonsFolders(repo *repository, given []string) ([]string, error) {
	if len(given) == 0 {
		given = []string{"addons"}
	}
	var folders []string
	for _, folder := range given {
		if folder == "" || !filepath.IsLocal(filepath.FromSlash(folder)) {
			return nil, fmt.Errorf("addons folder %q is not within the source; expected a relative path without \"..\"", folder)
		}
		clean := path.Join(repo.prefix, folder)
		if clean == "." {
			clean = ""
		}
		if slices.Contains(folders, clean) {
			return nil, fmt.Errorf("addons folder %q is named twice", folder)
		}
		folders = append(folders, clean)
	}
	return folders, nil
}

// collect finds the modules: the folders right below an addons folder that hold a manifest.
func (s *source) collect(folders []string, list func(string) ([]entry, error), info odoo.SeriesInfo, say func(string, ...any)) error {
	seen := map[string]string{}
	files, total := 0, int64(0)
	for _, folder := range folders {
		entries, err := list(folder)
		if err != nil {
			return err
		}
		shown := folder
		if folder == "" {
			shown = "."
		}
		if len(entries) == 0 {
			return fmt.Errorf("addons folder %q does not exist at commit %s", shown, s.commit)
		}
		byModule := map[string][]entry{}
		for _, e := range entries {
			relative := strings.TrimPrefix(strings.TrimPrefix(e.path, folder), "/")
			name, _, ok := strings.Cut(relative, "/")
			switch {
			case e.mode == "160000":
				return fmt.Errorf("%s is a Git submodule (or a repository of its own); its files are not in this repository. Add them to it (git subtree, vendoring), so that one commit says everything", e.path)
			case !ok && e.mode == "120000":
				return fmt.Errorf("%s is a link, and a module must not be one; name the folder that it points to under \"addons\" instead", e.path)
			case !ok && slices.Contains(info.ManifestNames, name):
				return fmt.Errorf("addons folder %q is itself a module (%s); name the folder that holds the modules", shown, e.path)
			case !ok:
				continue
			case !utf8.ValidString(e.path):
				return fmt.Errorf("%q: the name is not UTF-8, and would be another on another machine; rename it: git mv", e.path)
			case len(e.path) > maxPath:
				return fmt.Errorf("%s…: a path of %d bytes; at most %d are taken into an image, since Linux opens none of more than %d", printable(e.path[:60]), len(e.path), maxPath, maxNameLength)
			case slices.ContainsFunc(strings.Split(e.path, "/"), func(part string) bool { return len(part) > 255 }):
				return fmt.Errorf("%s…: a name of more than 255 bytes, which no usual file system takes; rename it: git mv", printable(e.path[:60]))
			}
			byModule[name] = append(byModule[name], e)
		}
		for _, name := range sortedNames(byModule) {
			m, err := readModule(name, path.Join(folder, name), byModule[name], info)
			if err != nil {
				return err
			}
			if m == nil {
				continue
			}
			if !m.manifest.Installable {
				say("%s is marked as not installable and is left out", m.folder)
				continue
			}
			if other, ok := seen[name]; ok {
				return fmt.Errorf("module %q is there twice: %s and %s; Odoo would silently take one of them", name, other, m.folder)
			}
			seen[name] = m.folder
			for _, e := range m.entries {
				files++
				total += e.size
				if e.size > maxFileSize {
					return fmt.Errorf("%s has %d MB; at most %d MB are taken into an image. A database dump or an archive does not belong among addons", e.path, e.size>>20, maxFileSize>>20)
				}
			}
			if files > maxFiles || total > maxSourceSize {
				return fmt.Errorf("the addons have more than %d files or %d GB; is %q the right folder?", maxFiles, maxSourceSize>>30, shown)
			}
			s.modules = append(s.modules, *m)
		}
	}
	if len(s.modules) == 0 {
		return fmt.Errorf("no installable module in %s at commit %s: a module is a folder with a %s", few(folders), s.commit, info.ManifestNames[0])
	}
	slices.SortFunc(s.modules, func(a, b sourceModule) int { return strings.Compare(a.name, b.name) })
	return nil
}

// readModule returns nil for a folder without a manifest.
func readModule(name, folder string, entries []entry, info odoo.SeriesInfo) (*sourceModule, error) {
	find := func(file string) *entry {
		for i := range entries {
			if entries[i].path == folder+"/"+file {
				return &entries[i]
			}
		}
		return nil
	}
	var manifest *entry
	for _, candidate := range info.ManifestNames {
		if manifest = find(candidate); manifest != nil {
			break
		}
	}
	if manifest == nil {
		return nil, nil
	}
	if !odoo.ModuleName.MatchString(name) {
		return nil, fmt.Errorf("%s: %q is no name of a module; Odoo accepts letters, digits and underscores", folder, name)
	}
	content, err := readEntry(*manifest, 1<<20)
	if err != nil {
		return nil, err
	}
	m := &sourceModule{name: name, folder: folder, file: manifest.path, entries: entries}
	if m.manifest, err = odoo.ParseManifest(content); err != nil {
		var syntax *odoo.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("%s:%w", manifest.path, err)
		}
		return nil, fmt.Errorf("%s: %w", manifest.path, err)
	}
	for i := range entries {
		if entries[i].mode == "120000" {
			if err := checkLink(folder, entries[i]); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// checkLink refuses links that leave their module: in the image they would point to nothing, or to
// something that no commit says.
func checkLink(folder string, e entry) error {
	target, err := linkTarget(e)
	if err != nil {
		return err
	}
	if path.IsAbs(target) || !within(folder, path.Join(path.Dir(e.path), target)) {
		return fmt.Errorf("%s is a link to %q, outside of its module; replace it by a copy", e.path, target)
	}
	return nil
}

func linkTarget(e entry) (string, error) {
	target, err := readEntry(e, 4096)
	if err != nil {
		return "", err
	}
	if len(target) == 0 || !utf8.Valid(target) || strings.ContainsRune(string(target), 0) {
		return "", fmt.Errorf("%s is a link to nowhere", e.path)
	}
	return string(target), nil
}

func within(folder, file string) bool {
	return file == folder || strings.HasPrefix(file, folder+"/")
}

func readEntry(e entry, limit int64) ([]byte, error) {
	if e.size > limit {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", e.path, e.size, limit)
	}
	r, err := e.open()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.path, err)
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.path, err)
	}
	return content, nil
}

// date finds out when each module was last changed. Odoo builds asset versions from the times of
// files, so they must be the same whoever builds.
func (s *source) date(ctx context.Context, repo *repository, root *os.Root, history carried) error {
	if root != nil {
		for i := range s.modules {
			s.modules[i].changed = newest(root, s.modules[i].entries)
		}
		return nil
	}
	folders := make([]string, len(s.modules))
	for i, m := range s.modules {
		folders[i] = m.folder
	}
	changes, err := repo.lastChanges(ctx, s.commit, folders, history)
	for i := range s.modules {
		s.modules[i].changed = changes[s.modules[i].folder]
	}
	return err
}

// remote is the URL of the remote "origin" without credentials, where it is one that others can reach: a folder's
// name would make the digest depend on the folder.
func (r *repository) remote(ctx context.Context) string {
	out, err := r.git(ctx, "config", "--get", "remote.origin.url")
	if err != nil {
		return ""
	}
	u, err := url.Parse(strings.TrimSpace(string(out)))
	if err != nil || u.Host == "" || u.Scheme == "file" {
		return ""
	}
	u.User = nil
	return u.String()
}

func few(list []string) string {
	quoted := make([]string, 0, 4)
	for i, s := range list {
		if i == 3 {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(list)-3))
			break
		}
		if s == "" {
			s = "."
		}
		quoted = append(quoted, s)
	}
	return strings.Join(quoted, ", ")
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
