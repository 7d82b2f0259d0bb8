package gather

import (
	"archive/tar"
	"bufio"
	"bytes"
	"io"
	"maps"
	"path"
	"regexp"
	"strings"

	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// maxIndexed bounds a file of the base that is read into memory.
const maxIndexed = 16 << 20 // bytes

// indexer finds out what a base offers. The files of an image come in no useful order, so what a
// module's data defines is kept by file until its manifest is known.
type indexer struct {
	addons []string // paths, without the leading slash
	python string   // "python3.13"
	paths  []string // of programs, without the leading slash
	keep   *interpreter

	ids       map[string]map[string][]string // folder of the module → path within → ids
	manifests map[string][]byte
	models    map[string]bool
	dists     map[string]string
	names     map[string]bool
	binaries  map[string]bool
}

func newIndexer(base release.Base, paths []string, keep *interpreter) *indexer {
	x := &indexer{
		python: base.Python, keep: keep, ids: map[string]map[string][]string{}, manifests: map[string][]byte{},
		models: map[string]bool{}, dists: map[string]string{}, names: map[string]bool{}, binaries: map[string]bool{},
	}
	for _, p := range base.AddonsPaths {
		x.addons = append(x.addons, strings.TrimPrefix(p, "/"))
	}
	for _, p := range paths {
		// Where /bin is a link to /usr/bin, a layer may name its files either way.
		x.paths = append(x.paths, strings.Trim(p, "/"), strings.Trim("usr"+p, "/"))
	}
	for _, name := range builtinNames {
		x.names[name] = true
	}
	return x
}

// builtinNames are the modules that an interpreter may have compiled in: no file shows them.
var builtinNames = strings.Fields(`_abc _ast _asyncio _bisect _blake2 _bz2 _codecs _collections _contextvars _csv _datetime
	_functools _heapq _imp _io _json _locale _lsprof _md5 _opcode _operator _pickle _posixsubprocess _queue _random _sha1
	_sha2 _sha256 _sha3 _sha512 _signal _socket _sre _stat _statistics _string _struct _suggestions _symtable _sysconfig
	_thread _tokenize _tracemalloc _typing _warnings _weakref _zoneinfo array atexit audioop binascii builtins cmath errno
	faulthandler fcntl gc grp itertools marshal math mmap posix pwd pyexpat resource select spwd sys syslog termios time
	unicodedata zlib __future__ __main__`)

func (x *indexer) wanted(name string) bool {
	if x.keep.wanted(name) {
		return true
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	for _, p := range x.paths {
		if dir == p {
			return true
		}
	}
	_, inside, ok := x.module(name)
	if !ok {
		inside, ok := x.importPath(name)
		return ok && (strings.Count(inside, "/") <= 1 || base == "METADATA" || base == "PKG-INFO")
	}
	top, _, _ := strings.Cut(inside, "/")
	switch path.Ext(base) {
	case ".xml", ".csv":
		return top != "static" && top != "i18n" && top != "tests" && !strings.HasPrefix(inside, "data/template/")
	case ".py":
		return top != "static" && top != "tests" && top != "migrations" && top != "upgrades"
	}
	return false
}

// importPath returns the path within a folder from which Python imports.
func (x *indexer) importPath(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "usr/")
	if !ok {
		return "", false
	}
	rest = strings.TrimPrefix(rest, "local/")
	if rest, ok = strings.CutPrefix(rest, "lib/"); !ok {
		return "", false
	}
	for _, folder := range []string{"python3/dist-packages/", x.python + "/dist-packages/", x.python + "/site-packages/", x.python + "/lib-dynload/", x.python + "/"} {
		if inside, ok := strings.CutPrefix(rest, folder); ok {
			return inside, inside != ""
		}
	}
	return "", false
}

// module returns the folder of the module that a file belongs to, and its path within.
func (x *indexer) module(name string) (folder, inside string, ok bool) {
	for _, addons := range x.addons {
		if rest, under := strings.CutPrefix(name, addons+"/"); under {
			module, inside, ok := strings.Cut(rest, "/")
			return addons + "/" + module, inside, ok
		}
	}
	return "", "", false
}

func (x *indexer) take(name string, h *tar.Header, r io.Reader) error {
	var content []byte
	read := func() error {
		if content != nil || h.Typeflag != tar.TypeReg || h.Size > maxIndexed {
			return nil
		}
		var err error
		content, err = io.ReadAll(r)
		return err
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	for _, p := range x.paths {
		if dir == p && (h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeReg && h.Mode&0o111 != 0) {
			x.binaries[base] = true
		}
	}
	folder, within, ofModule := x.module(name)
	if inside, ok := x.importPath(name); ok && !ofModule {
		x.importable(inside, h)
		if distribution(inside, h) {
			if err := read(); err != nil {
				return err
			}
			x.distribution(content)
		}
	}
	if ofModule && h.Typeflag == tar.TypeReg {
		if err := read(); err != nil {
			return err
		}
		x.data(folder, within, content)
	}
	if !x.keep.wanted(name) {
		return nil
	}
	if content != nil {
		r = bytes.NewReader(content)
	}
	return x.keep.take(name, h, r)
}

var extension = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(\.[A-Za-z0-9_-]+)*\.so$`)

// importable notes the top-level name that a file or folder can be imported by.
func (x *indexer) importable(inside string, h *tar.Header) {
	top, rest, deeper := strings.Cut(inside, "/")
	switch {
	case deeper && (strings.HasSuffix(rest, ".py") || extension.MatchString(path.Base(rest))), h.Typeflag == tar.TypeSymlink && !strings.Contains(top, "."):
		x.names[top] = true // a folder, with or without __init__.py
	case deeper:
	case strings.HasSuffix(top, ".py"):
		x.names[strings.TrimSuffix(top, ".py")] = true
	default:
		if match := extension.FindStringSubmatch(top); match != nil {
			x.names[match[1]] = true
		}
	}
}

// distribution says whether a file names an installed distribution.
func distribution(inside string, h *tar.Header) bool {
	dir, base := path.Split(inside)
	switch base {
	case "METADATA":
		return strings.HasSuffix(dir, ".dist-info/")
	case "PKG-INFO":
		return strings.HasSuffix(dir, ".egg-info/")
	}
	return dir == "" && strings.HasSuffix(base, ".egg-info") && h.Typeflag == tar.TypeReg
}

// distribution reads name and version from the head of a distribution's metadata.
func (x *indexer) distribution(content []byte) {
	var name, version string
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() && lines.Text() != "" && (name == "" || version == "") {
		if v, ok := strings.CutPrefix(lines.Text(), "Name: "); ok {
			name = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(lines.Text(), "Version: "); ok {
			version = strings.TrimSpace(v)
		}
	}
	if name != "" {
		x.dists[normalised(name)] = version
	}
}

var separators = regexp.MustCompile(`[-_.]+`)

// normalised is a distribution's name as PEP 503 compares it.
func normalised(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// modelName finds the models that a source defines or extends by name. The base's sources are
// Odoo's own: to read them with a pattern is enough, and works for any architecture.
var modelName = regexp.MustCompile(`(?m)^[ \t]+_(?:name|inherit)[ \t]*(?:=[ \t]*_(?:name|inherit)[ \t]*)?(?::[^=\n]+)?=[ \t]*(?:\(|\[)?[ \t]*["']([A-Za-z][A-Za-z0-9_.]*)["']`)

func (x *indexer) data(folder, inside string, content []byte) {
	switch path.Ext(inside) {
	case ".py":
		if inside == "__manifest__.py" || inside == "__openerp__.py" {
			x.manifests[folder] = content
			return
		}
		for _, match := range modelName.FindAllSubmatch(content, -1) {
			x.models[string(match[1])] = true
		}
		return
	}
	var ids []string
	if path.Ext(inside) == ".xml" {
		ids = xmlIDs(content)
	} else {
		ids = csvIDs(content)
	}
	if len(ids) == 0 {
		return
	}
	if x.ids[folder] == nil {
		x.ids[folder] = map[string][]string{}
	}
	x.ids[folder][inside] = ids
}

// result joins what was found. Records of files that only the demo data names are not there in
// production, so they are apart.
func (x *indexer) result(base release.Base) *check.Base {
	records, demos := map[string]bool{}, map[string]bool{}
	for folder, files := range x.ids {
		module := path.Base(folder)
		demo := map[string]bool{}
		if manifest, err := odoo.ParseManifest(x.manifests[folder]); err == nil {
			if v, ok := manifest.Values.Get("demo"); ok {
				for _, file := range texts(v) {
					demo[file] = true
				}
			}
			for _, file := range manifest.Data {
				delete(demo, file)
			}
		}
		for file, ids := range files {
			into := records
			if demo[file] {
				into = demos
			}
			for _, id := range ids {
				if !strings.Contains(id, ".") {
					id = module + "." + id
				}
				into[id] = true
			}
		}
	}
	maps.DeleteFunc(demos, func(id string, _ bool) bool { return records[id] })
	return &check.Base{
		Digest: base.Digest, Modules: base.Modules, ExternalIDs: check.NamesOf(maps.Keys(records)), DemoIDs: check.NamesOf(maps.Keys(demos)),
		Models: x.models, Python: x.dists, PythonNames: x.names, Binaries: x.binaries,
	}
}

func texts(v odoo.Value) []string {
	var list []string
	elements, _ := v.(odoo.List)
	for _, e := range elements {
		if s, ok := e.(string); ok {
			list = append(list, s)
		}
	}
	return list
}
