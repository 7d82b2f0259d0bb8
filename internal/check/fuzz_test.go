package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// seeds adds the corpus' own files of one kind.
func seeds(f *testing.F, suffix string) {
	f.Helper()
	cases, err := filepath.Glob("testdata/checks/*/*/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatal("no cases in testdata/checks", err)
	}
	for _, name := range cases {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(content).Files {
			if strings.HasSuffix(file.Name, suffix) {
				f.Add(file.Data)
			}
		}
	}
}

// FuzzXML: what is read is a tree within the limits, whose places lie in the file.
func FuzzXML(f *testing.F) {
	seeds(f, ".xml")
	f.Fuzz(func(t *testing.T, content []byte) {
		doc, err := readXML(content)
		if err != nil {
			if bad := wellFormed(content); bad == nil || bad.line < 1 || bad.reason == "" {
				t.Fatalf("error %v without a place", err)
			}
			return
		}
		var walk func(e *element, depth int) int
		walk = func(e *element, depth int) int {
			if e.line < 1 || e.start < 0 || e.end < e.start || e.end > len(doc.text) || doc.text[e.start] != '<' {
				t.Fatalf("<%s>: line %d, %d to %d", e.name, e.line, e.start, e.end)
			}
			if e.line != strings.Count(string(doc.text[:e.start]), "\n")+1 {
				t.Fatalf("<%s> is not on line %d", e.name, e.line)
			}
			n := 1
			for _, child := range e.children {
				n += walk(child, depth+1)
			}
			if depth > maxXMLDepth || n > maxXMLElements {
				t.Fatalf("depth %d, %d elements", depth, n)
			}
			return n
		}
		walk(doc.root, 1)
	})
}

// FuzzCSV: rows come in order, none is empty, and no text is lost.
func FuzzCSV(f *testing.F) {
	seeds(f, ".csv")
	f.Add([]byte("\"a\"b,\"c\"\"d\"\r\n\n\"\""))
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, err := readCSV(content)
		if err != nil {
			return
		}
		last, size := 0, 0
		for _, row := range rows {
			if row.line < last || len(row.fields) == 0 {
				t.Fatalf("row %+v after line %d", row, last)
			}
			last = row.line
			for _, field := range row.fields {
				size += len(field)
				if !utf8.ValidString(field) {
					t.Fatalf("%q is not UTF-8", field)
				}
			}
		}
		if size > len(content) || last > strings.Count(string(content), "\n")+1 {
			t.Fatalf("%d bytes of %d, line %d", size, len(content), last)
		}
	})
}

// FuzzManifest: no manifest makes a check fail, and every finding has a place in a file that is there.
func FuzzManifest(f *testing.F) {
	seeds(f, "__manifest__.py")
	f.Fuzz(func(t *testing.T, content []byte) {
		m := &Module{Name: "acme", Folder: "addons/acme"}
		if manifest, err := odoo.ParseManifest(content); err != nil {
			m.ManifestErr = err
		} else {
			m.Manifest = &manifest
		}
		m.Files = []*File{
			{Path: "addons/acme/__init__.py", Mode: modeRegular, Content: []byte{}, Python: &Python{}},
			{Path: "addons/acme/__manifest__.py", Mode: modeRegular, Size: int64(len(content)), Content: content, Python: &Python{}},
			{Path: "addons/acme/data.xml", Mode: modeRegular, Content: []byte("<odoo/>"), Size: 7},
			{Path: "addons/acme/static/src/a.js", Mode: modeRegular, Content: []byte("x"), Size: 1},
		}
		checkAll(t, m)
	})
}

// FuzzData does the same with a module's data files.
func FuzzData(f *testing.F) {
	cases, _ := filepath.Glob("testdata/checks/*/*/*.txtar")
	for _, name := range cases {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var xml, csv []byte
		for _, file := range txtar.Parse(content).Files {
			switch filepath.Ext(file.Name) {
			case ".xml":
				xml = file.Data
			case ".csv":
				csv = file.Data
			}
		}
		f.Add(xml, csv)
	}
	manifest, err := odoo.ParseManifest([]byte(`{'name': 'A', 'author': 'A', 'license': 'A', 'data': ['a.xml', 'ir.model.access.csv']}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, xml, csv []byte) {
		checkAll(t, &Module{Name: "acme", Folder: "acme", Manifest: &manifest, Files: []*File{
			{Path: "acme/a.xml", Mode: modeRegular, Content: xml, Size: int64(len(xml))},
			{Path: "acme/ir.model.access.csv", Mode: modeRegular, Content: csv, Size: int64(len(csv))},
		}})
	})
}

func checkAll(t *testing.T, m *Module) {
	t.Helper()
	series, err := odoo.Series("19.0", false)
	if err != nil {
		t.Fatal(err)
	}
	in := &Input{Series: series, Modules: []*Module{m}, Base: &Base{
		Modules: []release.Module{{Name: "base"}}, Models: map[string]bool{"res.partner": true}, PythonNames: map[string]bool{"os": true},
		Python: map[string]string{"lxml": "5.2"}, Binaries: map[string]bool{"git": true},
	}}
	sizes := map[string]int{m.Folder: 0}
	for _, file := range m.Files {
		sizes[file.Path] = len(file.Content)
	}
	for _, c := range Checks() {
		for _, finding := range c.Find(in) {
			size, ok := sizes[finding.File]
			if !ok || finding.Line < 0 || finding.Line > size+1 || finding.Message == "" || finding.Fix == "" {
				t.Fatalf("%s: %+v", c.ID, finding)
			}
		}
	}
}
