package gather

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/build"
)

// maxFiles stops mistakes (a whole disk given as a folder of addons), not real addons: Odoo itself
// has 53,000.
const maxFiles = 200_000

// tree is where addons lie.
type tree interface {
	folders() []string // of the addons, from the source's root; "" is the root
	// list names the entries right below an addons folder: modules to be.
	list(ctx context.Context, folder string) ([]entry, error)
	// files names all that is below one of them, sorted by path.
	files(ctx context.Context, module string) ([]entry, error)
	// expect is told which modules will be read, in this order: first the manifest of each, by one of these names, then its files.
	expect(modules, manifests []string) error
	// parallel is how many files may be read at once.
	parallel() int
	close()
}

// entry is one file, link or folder.
type entry struct {
	path string // from the source's root, with slashes
	mode uint32 // as in syscall.Stat_t.Mode
	size int64
	link string // where a link leads
	open func() (io.ReadCloser, error)
}

func (e entry) is(kind uint32) bool { return e.mode&syscall.S_IFMT == kind }

// folderTree is a working tree. os.Root keeps every opened path inside of it, links included.
type folderTree struct {
	root   *os.Root
	addons []string
	kept   map[string]map[string][]string // addons folder → module → files that Git does not ignore; nil without Git
}

func openFolder(ctx context.Context, dir string, addons []string) (*folderTree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening folder %s: %w", dir, err)
	}
	t := &folderTree{root: root}
	defer func() {
		if err != nil {
			root.Close()
		}
	}()
	if len(addons) == 0 {
		addons = []string{"addons"}
		if info, statErr := root.Stat("addons"); statErr != nil || !info.IsDir() {
			addons = []string{"."} // a repository that holds modules at its top, as OCA's do
		}
	}
	for _, folder := range addons {
		if folder == "" || !filepath.IsLocal(filepath.FromSlash(folder)) {
			err = fmt.Errorf("addons folder %q is not within %s; expected a relative path without \"..\"", folder, dir)
			return nil, err
		}
		clean := path.Clean(filepath.ToSlash(folder))
		if info, statErr := root.Stat(clean); statErr != nil || !info.IsDir() {
			err = fmt.Errorf("addons folder %q does not exist in %s; name the folders that hold the modules with --addons", folder, dir)
			return nil, err
		}
		if clean == "." {
			clean = ""
		}
		if slices.Contains(t.addons, clean) {
			err = fmt.Errorf("addons folder %q is named twice", folder)
			return nil, err
		}
		t.addons = append(t.addons, clean)
	}
	t.kept, err = tracked(ctx, dir, t.addons)
	return t, err
}

// tracked asks Git for the files that it does not ignore; nil where the folder is in no repository
// that Git would read. Those files, committed or not, are what a build takes.
func tracked(ctx context.Context, dir string, addons []string) (map[string]map[string][]string, error) {
	cmd := exec.CommandContext(ctx, "git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
		"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--")
	for _, folder := range addons {
		if folder == "" {
			folder = "."
		}
		cmd.Args = append(cmd.Args, ":(literal)"+folder)
	}
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "LC_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, nil // no repository, no Git, or one that Git does not trust: the folder as it is
	}
	kept := map[string]map[string][]string{}
	for _, folder := range addons {
		kept[folder] = map[string][]string{}
	}
	count := 0
	for len(out) > 0 {
		var raw []byte
		raw, out, _ = bytes.Cut(out, []byte{0})
		file := string(raw)
		for _, folder := range addons {
			inside, ok := file, true
			if folder != "" {
				inside, ok = strings.CutPrefix(file, folder+"/")
			}
			if module, _, deeper := strings.Cut(inside, "/"); ok && deeper {
				if count++; count > maxFiles {
					return nil, fmt.Errorf("the addons have more than %d files; is %s the right folder?", maxFiles, dir)
				}
				kept[folder][module] = append(kept[folder][module], file)
			}
		}
	}
	return kept, nil
}

func (t *folderTree) folders() []string { return t.addons }

func (t *folderTree) expect(_, _ []string) error { return nil }

func (t *folderTree) parallel() int { return max(2, runtime.GOMAXPROCS(0)) }

func (t *folderTree) close() { t.root.Close() }

func (t *folderTree) list(_ context.Context, folder string) ([]entry, error) {
	shown := folder
	if folder == "" {
		shown = "."
	}
	f, err := t.root.Open(shown)
	if err != nil {
		return nil, fmt.Errorf("reading addons folder %s: %w", shown, err)
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("reading addons folder %s: %w", shown, err)
	}
	entries := make([]entry, 0, len(found))
	for _, d := range found {
		e := entry{path: path.Join(folder, d.Name()), mode: fileMode(d.Type())}
		if strings.HasPrefix(d.Name(), ".") || t.kept != nil && d.IsDir() && len(t.kept[folder][d.Name()]) == 0 {
			continue
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

func (t *folderTree) files(ctx context.Context, module string) ([]entry, error) {
	var entries []entry
	if t.kept == nil {
		err := t.walk(ctx, module, &entries, 0)
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
		return entries, err
	}
	folder := path.Dir(module)
	if folder == "." {
		folder = ""
	}
	for _, file := range t.kept[folder][path.Base(module)] {
		e, err := t.entry(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.is(syscall.S_IFDIR) {
			continue // deleted and not committed yet; or a repository of its own, which the build refuses
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

// maxDepth of folders within each other; the file system allows about 2,000.
const maxDepth = 64

// walk reads a folder without Git. What Python leaves behind is not the module's.
func (t *folderTree) walk(ctx context.Context, folder string, into *[]entry, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d folders within each other", folder, maxDepth)
	}
	f, err := t.root.Open(folder)
	if err != nil {
		return fmt.Errorf("reading folder %s: %w", folder, err)
	}
	found, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return fmt.Errorf("reading folder %s: %w", folder, err)
	}
	for _, d := range found {
		name := folder + "/" + d.Name()
		if d.IsDir() {
			if d.Name() == "__pycache__" || d.Name() == ".git" || d.Name() == "node_modules" {
				continue
			}
			if err := t.walk(ctx, name, into, depth+1); err != nil {
				return err
			}
			continue
		}
		if strings.HasSuffix(d.Name(), ".pyc") {
			continue
		}
		if len(*into) >= maxFiles {
			return fmt.Errorf("%s has more than %d files; is it a module?", folder, maxFiles)
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // an editor's file, gone again
		}
		if err != nil {
			return fmt.Errorf("reading folder %s: %w", folder, err)
		}
		*into = append(*into, t.of(name, info))
	}
	return nil
}

func (t *folderTree) entry(name string) (entry, error) {
	info, err := t.root.Lstat(name)
	if err != nil {
		return entry{}, err
	}
	return t.of(name, info), nil
}

func (t *folderTree) of(name string, info fs.FileInfo) entry {
	e := entry{path: name, size: info.Size(), mode: fileMode(info.Mode())}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		e.mode = stat.Mode
	}
	switch {
	case e.is(syscall.S_IFLNK):
		e.link, _ = t.root.Readlink(name)
	case e.is(syscall.S_IFREG):
		e.open = func() (io.ReadCloser, error) {
			return t.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		}
	}
	return e
}

// fileMode gives the type of a file in Unix's own bits, and the permissions.
func fileMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	switch m.Type() {
	case fs.ModeDir:
		return bits | syscall.S_IFDIR
	case fs.ModeSymlink:
		return bits | syscall.S_IFLNK
	case 0:
		return bits | syscall.S_IFREG
	case fs.ModeNamedPipe:
		return bits | syscall.S_IFIFO
	case fs.ModeSocket:
		return bits | syscall.S_IFSOCK
	}
	return bits | syscall.S_IFCHR
}

// sourceTree is the source of a build. It is read by one goroutine: a commit is read through one git process.
type sourceTree struct {
	build.SourceTree
	known map[string]below // addons folder → what is in it
}

// below is what an addons folder of a commit holds.
type below struct {
	top     []string                      // names right below it, in order
	loose   map[string]build.SourceFile   // those of them that are files themselves
	modules map[string][]build.SourceFile // the others' files, in order
}

func newSourceTree(of build.SourceTree) *sourceTree {
	return &sourceTree{SourceTree: of, known: map[string]below{}}
}

func (t *sourceTree) folders() []string { return t.Folders }

func (t *sourceTree) parallel() int { return 1 }

func (t *sourceTree) close() {}

// expect has Git read ahead: the manifests, then all else that is looked into.
func (t *sourceTree) expect(modules, manifests []string) error {
	var first, then []build.SourceFile
	for _, module := range modules {
		files, err := t.of(module)
		if err != nil {
			return err
		}
		manifest := ""
		for _, name := range manifests {
			at := slices.IndexFunc(files, func(f build.SourceFile) bool { return f.Path == module+"/"+name })
			if at >= 0 {
				manifest = files[at].Path
				first = append(first, files[at])
				break
			}
		}
		for _, f := range files {
			limit := limitOf(strings.TrimPrefix(f.Path, module+"/"))
			if manifest != "" && f.Path != manifest && (f.Mode == "100644" || f.Mode == "100755") && f.Size <= limit && limit > 0 {
				then = append(then, f)
			}
		}
	}
	return t.Ahead(append(first, then...))
}

// in sorts the files of an addons folder by module, once.
func (t *sourceTree) in(folder string) (below, error) {
	if known, ok := t.known[folder]; ok {
		return known, nil
	}
	files, err := t.Files(folder)
	if err != nil {
		return below{}, err
	}
	b := below{loose: map[string]build.SourceFile{}, modules: map[string][]build.SourceFile{}}
	for _, f := range files {
		name, _, deeper := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(f.Path, folder), "/"), "/")
		if len(b.top) == 0 || b.top[len(b.top)-1] != name {
			b.top = append(b.top, name)
		}
		if deeper {
			b.modules[name] = append(b.modules[name], f)
		} else {
			b.loose[name] = f
		}
	}
	slices.Sort(b.top) // Git sorts folders as if their names ended in a slash
	b.top = slices.Compact(b.top)
	t.known[folder] = b
	return b, nil
}

// of lists the files of a module.
func (t *sourceTree) of(module string) ([]build.SourceFile, error) {
	folder := path.Dir(module)
	if folder == "." {
		folder = ""
	}
	found, err := t.in(folder)
	return found.modules[path.Base(module)], err
}

func (t *sourceTree) list(_ context.Context, folder string) ([]entry, error) {
	found, err := t.in(folder)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, name := range found.top {
		e := entry{path: path.Join(folder, name), mode: syscall.S_IFDIR | 0o755}
		if f, ok := found.loose[name]; ok {
			if e, err = sourceEntry(f); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (t *sourceTree) files(_ context.Context, module string) ([]entry, error) {
	found, err := t.of(module)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, f := range found {
		e, err := sourceEntry(f)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

func sourceEntry(f build.SourceFile) (entry, error) {
	mode, err := strconv.ParseUint(f.Mode, 8, 32)
	if err != nil {
		return entry{}, fmt.Errorf("%s: mode %q is not understood", f.Path, f.Mode)
	}
	e := entry{path: f.Path, mode: uint32(mode), size: f.Size, open: f.Open}
	if e.is(syscall.S_IFLNK) {
		r, err := f.Open()
		if err != nil {
			return entry{}, fmt.Errorf("reading %s: %w", f.Path, err)
		}
		defer r.Close()
		target, err := io.ReadAll(io.LimitReader(r, 4096))
		if err != nil {
			return entry{}, fmt.Errorf("reading %s: %w", f.Path, err)
		}
		e.link, e.open = string(target), nil
	}
	return e, nil
}

// each runs a function for every index, some at once.
func each(ctx context.Context, n, limit int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
