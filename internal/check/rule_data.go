package check

import (
	"bytes"
	"path"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// dataIndex is what the modules' data files say, read once for all checks.
type dataIndex struct {
	once    sync.Once
	modules map[*Module]*moduleData
	byName  map[string]*Module    // installable ones, the first of each name
	base    map[string]bool       // names of the base's modules
	files   map[string]*File      // by path
	defined map[string]definition // external id → where it is first defined
	loose   map[string]bool       // external ids in files that no manifest names: code may load those
	urls    map[string]bool       // of attachments, which assets may name instead of files
	closure map[string]map[string]bool
	models  modelIndex
}

// moduleData is what one module's data files say, in the order in which Odoo loads them.
type moduleData struct {
	files   []*dataFile
	records []record
	refs    []reference
	uses    []modelUse
	access  []accessRight
	partial bool // a file was not read: what else the module defines is not known

	loose    []record
	urls     []string
	fileUses []fileUse
	views    map[string]bool // keys of templates, "module.name", that are no external ids
}

// dataFile is one file that the manifest names.
type dataFile struct {
	key  string // of the manifest: "data", "demo" …
	name string // as the manifest says it
	path string // from the source's root
	file *File  // nil: it is not there
	demo bool
	err  *xmlError // it could not be read
}

// record is one external id that a data file defines.
type record struct {
	id    string // "module.name"
	model string // empty where the file does not say
	place
}

// reference is one place that names an external id.
type reference struct {
	id   string // "module.name"
	what string // how it is written there: "ref", "groups" …
	soft bool   // Odoo only warns of it, or notices it when the record is used
	own  bool   // the record itself, which another module defines
	place
}

// modelUse is one place that names a model.
type modelUse struct {
	model string
	what  string
	place
}

// fileUse is one place that names a file, "module/folder/file".
type fileUse struct {
	name string
	place
}

// accessRight is one record of ir.model.access.
type accessRight struct {
	id           string
	model, group string // external ids; empty where not given as such
	place
}

// place is where something stands. Within a module, what is loaded later has a higher order.
type place struct {
	file  *dataFile
	line  int
	order int
}

type definition struct {
	module *Module
	record
}

// installable are the modules that Odoo would load. A module without a readable manifest is none.
func (in *Input) installable() []*Module {
	var list []*Module
	for _, m := range in.Modules {
		if m.Manifest != nil && m.Manifest.Installable {
			list = append(list, m)
		}
	}
	return list
}

// index reads all data files, several at a time, the first time that it is called.
func (in *Input) index() *dataIndex {
	d := &in.data
	d.once.Do(func() {
		d.modules = map[*Module]*moduleData{}
		d.byName = map[string]*Module{}
		d.files = map[string]*File{}
		d.defined = map[string]definition{}
		d.loose, d.urls = map[string]bool{}, map[string]bool{}
		d.base = map[string]bool{}
		if in.Base != nil {
			for _, m := range in.Base.Modules {
				d.base[m.Name] = true
			}
		}
		for _, m := range in.Modules {
			for _, f := range m.Files {
				d.files[f.Path] = f
			}
		}
		modules := in.installable()
		results := make([]*moduleData, len(modules))
		var wg sync.WaitGroup
		next := make(chan int)
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := range next {
					results[i] = readModuleData(modules[i], d.files)
				}
			})
		}
		for i := range modules {
			next <- i
		}
		close(next)
		wg.Wait()
		for i, m := range modules {
			d.modules[m] = results[i]
			if d.byName[m.Name] == nil {
				d.byName[m.Name] = m
			}
			for _, r := range results[i].records {
				if before, ok := d.defined[r.id]; !ok || before.file.demo && !r.file.demo {
					d.defined[r.id] = definition{m, r}
				}
			}
		}
		for _, data := range results {
			for _, r := range data.loose {
				d.loose[r.id] = true
			}
			for _, url := range data.urls {
				d.urls[strings.Trim(strings.TrimSpace(url), "/")] = true
			}
		}
		d.closure = in.dependencyClosure(d.byName)
		d.models = indexModels(in)
	})
	return d
}

// manifestFiles are the files that the manifest names, in the order of loading.
func manifestFiles(m *Module) []*dataFile {
	var list []*dataFile
	for _, key := range []string{"init_xml", "data", "demo", "demo_xml"} {
		value, ok := m.Manifest.Values.Get(key)
		if !ok {
			continue
		}
		for _, name := range stringsOf(value) {
			list = append(list, &dataFile{
				key: key, name: name,
				path: path.Join(m.Folder, name),
				demo: strings.HasPrefix(key, "demo"),
			})
		}
	}
	return list
}

// stringsOf returns the strings of a list or tuple, and leaves all else out.
func stringsOf(v odoo.Value) []string {
	var elements []odoo.Value
	switch v := v.(type) {
	case odoo.List:
		elements = v
	case odoo.Tuple:
		elements = v
	case odoo.Set:
		elements = v
	}
	var list []string
	for _, e := range elements {
		if s, ok := e.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

func readModuleData(m *Module, files map[string]*File) *moduleData {
	data := &moduleData{views: map[string]bool{}}
	r := &dataReader{module: m, data: data}
	for _, f := range m.Files {
		if path.Ext(f.Path) == ".sql" {
			r.sql(f) // base's first records, which are there before any file is loaded
		}
	}
	named := map[string]bool{}
	for _, f := range manifestFiles(m) {
		data.files = append(data.files, f)
		named[f.path] = true
		f.file = files[f.path]
		switch {
		case f.file == nil:
		case f.file.Content == nil && (f.file.Size > 0 || f.file.isLink()):
			data.partial = true
		default:
			r.read(f)
			data.partial = data.partial || f.err != nil
		}
	}
	loose := &dataReader{module: m, data: &moduleData{views: data.views}}
	for _, f := range m.Files {
		top, _, _ := strings.Cut(strings.TrimPrefix(f.Path, m.Folder+"/"), "/")
		if named[f.Path] || top == "static" || top == "tests" || top == "i18n" {
			continue
		}
		if ext := path.Ext(f.Path); ext == ".csv" || ext == ".xml" && bytes.Contains(f.Content, []byte(" id=")) {
			loose.read(&dataFile{name: f.Path, path: f.Path, file: f})
		}
	}
	data.loose = loose.data.records
	return data
}

var sqlID = regexp.MustCompile(`(?i)insert\s+into\s+ir_model_data\s*\(\s*name\s*,\s*module\b[^)]*\)\s*values\s*\(\s*'([^']+)'\s*,\s*'([^']+)'`)

// sql collects the records that a module's SQL files insert, as base does for its first ones.
func (r *dataReader) sql(f *File) {
	for _, match := range sqlID.FindAllSubmatch(f.Content, -1) {
		at := place{file: &dataFile{name: f.Path, path: f.Path, file: f}}
		r.data.records = append(r.data.records, record{string(match[2]) + "." + string(match[1]), "", at})
	}
}
