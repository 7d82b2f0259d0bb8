package gather

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Limits of what is taken from an image to have its interpreter.
const (
	maxLibrary     = 64 << 20  // bytes of one file
	maxInterpreter = 512 << 20 // bytes in all; Debian's Python has 50 MB
)

// interpreter takes the base's own Python out of its layers: the program, its standard library, and
// the shared libraries that both need, with the loader that they were made for. What is written is
// a root file system of its own, in which nothing else is.
type interpreter struct {
	dir    string // to write to
	python string // "python3.13"
	left   int64
	links  map[string]string // path → target, both within dir
}

func newInterpreter(dir, python string) *interpreter {
	return &interpreter{dir: dir, python: python, left: maxInterpreter, links: map[string]string{}}
}

// libraryFolders are where the shared libraries of a system lie.
var libraryFolders = []string{"lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib"}

// sharedLibraries are those that Python and its standard library may need. The image's others stay
// where they are.
var sharedLibraries = []string{
	"ld-linux", "ld-musl", "ld64", "ld.so", "libc.", "libc.musl", "libm.", "libdl.", "libpthread.", "librt.", "libutil.",
	"libpython3", "libz.", "libexpat", "libgcc_s.", "libcrypt.", "libnsl.", "libresolv.",
}

func (i *interpreter) wanted(name string) bool {
	switch name {
	case "usr/bin/" + i.python, "usr/local/bin/" + i.python, "lib", "lib64":
		return true
	}
	for _, lib := range []string{"usr/lib/", "usr/local/lib/"} {
		if inside, ok := strings.CutPrefix(name, lib+i.python+"/"); ok {
			top, _, deeper := strings.Cut(inside, "/")
			switch {
			case strings.Contains(inside, "__pycache__/"):
				return false
			case deeper && (top == "test" || top == "idlelib" || top == "tkinter" || top == "lib2to3" || top == "ensurepip" ||
				top == "dist-packages" || top == "site-packages" || top == "turtledemo" || strings.HasPrefix(top, "config-")):
				return false
			case deeper && top == "lib-dynload":
				return strings.HasSuffix(inside, ".so")
			}
			return strings.HasSuffix(inside, ".py")
		}
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if !strings.Contains(base, ".so") {
		return false
	}
	for _, folder := range libraryFolders {
		// The folder itself, or the architecture's within.
		if dir != folder && (path.Dir(dir) != folder || !strings.Contains(path.Base(dir), "-linux-")) {
			continue
		}
		for _, prefix := range sharedLibraries {
			if strings.HasPrefix(base, prefix) {
				return true
			}
		}
	}
	return false
}

func (i *interpreter) take(name string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeSymlink:
		target := h.Linkname
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		i.links[name] = path.Clean(target)[1:]
		return nil
	case tar.TypeLink:
		i.links[name] = path.Clean("/" + h.Linkname)[1:]
		return nil
	case tar.TypeReg:
	default:
		return nil
	}
	if h.Size > maxLibrary {
		return nil
	}
	if i.left -= h.Size; i.left < 0 {
		return fmt.Errorf("its Python has more than %d MB", maxInterpreter>>20)
	}
	file := filepath.Join(i.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

// installed says where the parts of an extracted interpreter are, relative to its folder.
type installed struct {
	Program string   `json:"program"` // "usr/bin/python3.13"
	Loader  string   `json:"loader"`  // empty: the program is static
	Folders []string `json:"folders"` // of shared libraries
}

// finish turns links into copies and makes sure that nothing is missing. The error says why this
// interpreter cannot be run here.
func (i *interpreter) finish() (installed, error) {
	for name := range i.links {
		// A link within a folder that is itself a link (/lib → usr/lib) is another name of the same.
		if err := i.copy(name); err != nil {
			return installed{}, err
		}
	}
	var in installed
	for _, program := range []string{"usr/local/bin/" + i.python, "usr/bin/" + i.python} {
		if _, err := os.Stat(filepath.Join(i.dir, program)); err == nil {
			in.Program = program
			break
		}
	}
	if in.Program == "" {
		return in, fmt.Errorf("the base has no /usr/bin/%s", i.python)
	}
	libraries := map[string]string{}
	for _, folder := range libraryFolders {
		found, _ := filepath.Glob(filepath.Join(i.dir, folder, "*.so*"))
		within, _ := filepath.Glob(filepath.Join(i.dir, folder, "*-linux-*", "*.so*"))
		for _, file := range append(found, within...) {
			relative, err := filepath.Rel(i.dir, file)
			if err != nil {
				return in, err
			}
			if _, ok := libraries[filepath.Base(file)]; !ok {
				libraries[filepath.Base(file)] = filepath.ToSlash(relative)
			}
		}
	}
	return in, i.needs(&in, libraries)
}

// needs follows what the program names as needed.
func (i *interpreter) needs(in *installed, libraries map[string]string) error {
	todo, seen := []string{in.Program}, map[string]bool{}
	folders := map[string]bool{}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		f, err := elf.Open(filepath.Join(i.dir, name))
		if err != nil {
			return fmt.Errorf("the base's %s: %w", name, err)
		}
		machine := f.Machine
		needed, err := f.ImportedLibraries()
		loader := loaderOf(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("the base's %s: %w", name, err)
		}
		if machines[runtime.GOARCH] != machine {
			return fmt.Errorf("the base's Python is for %s, and this machine is %s", machine, runtime.GOARCH)
		}
		if name == in.Program && loader != "" {
			needed = append(needed, path.Base(loader))
			in.Loader = libraries[path.Base(loader)]
		}
		for _, library := range needed {
			at, ok := libraries[library]
			if !ok {
				return fmt.Errorf("the base's Python needs %s, which was not found in the base", library)
			}
			if !seen[library] {
				seen[library] = true
				todo = append(todo, at)
				if dir := path.Dir(at); !folders[dir] {
					folders[dir] = true
					in.Folders = append(in.Folders, dir)
				}
			}
		}
	}
	return nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func loaderOf(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			content, err := io.ReadAll(p.Open())
			if err == nil {
				return strings.TrimRight(string(content), "\x00")
			}
		}
	}
	return ""
}

// copy puts a copy of what a link leads to in the link's place, where it is among what was taken.
func (i *interpreter) copy(name string) error {
	target := name
	for range 40 {
		next, ok := i.links[target]
		if !ok {
			break
		}
		target = next
	}
	from := filepath.Join(i.dir, filepath.FromSlash(target))
	info, err := os.Lstat(from)
	if err != nil || !info.Mode().IsRegular() {
		return nil // a folder, or something that is not needed; needs finds out if it is
	}
	to := filepath.Join(i.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Link(from, to); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
