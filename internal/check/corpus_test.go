package check_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/check/gather"
	"github.com/waybill-dev/waybill/internal/release"
)

// TestCorpus runs every check over testdata/checks/ID/bad and …/good. A bad case is found at exactly
// the places that it says, and nowhere else, by whichever check; a good case is not found at all.
//
// A case is a txtar archive of a source tree. Its head holds comments and one directive a line:
//
//	module NAME [depends=A,B] [data=F,G] [demo=F] [version=V] [python=P] [bin=B]   makes manifest and __init__.py
//	want PLACE: TEXT       a finding of this check: file:line, or file alone, and a part of its message
//	want ID PLACE: TEXT    one of another check
//	level LEVEL            the level of the finding named last, where it is not the check's own
//	mode FILE OCTAL · link FILE TARGET · pipe FILE · name FILE NEW (a quoted Go string)
//	running ENVIRONMENT NAME VERSION [CHECKSUM, or "same"]
//	without base|python
//	fill FILE BYTES · nest FILE DEPTH    a file of that many spaces; of so many brackets
//
// Where a text would look like a secret to those who scan this repository, "‖" is put in and taken out again.
func TestCorpus(t *testing.T) {
	python := startPython(t)
	known := map[string]bool{}
	for _, c := range check.Checks() {
		known[c.ID] = true
		for _, kind := range []string{"bad", "good"} {
			files, err := filepath.Glob(filepath.Join("testdata/checks", c.ID, kind, "*.txtar"))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				t.Errorf("check %s has no %s case: add testdata/checks/%s/%s/NAME.txtar", c.ID, kind, c.ID, kind)
			}
			for _, file := range files {
				t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/checks/"), ".txtar"), func(t *testing.T) {
					runCase(t, readCase(t, file, c.ID), kind == "bad", python)
				})
			}
		}
	}
	entries, err := os.ReadDir("testdata/checks")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("testdata/checks/%s is of no check", e.Name())
		}
	}
}

func TestChecksAreDescribed(t *testing.T) {
	checks := check.Checks()
	if !slices.IsSortedFunc(checks, func(a, b check.Check) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the checks are not sorted by ID")
	}
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.ID] || strings.Trim(c.ID, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%q is no ID of its own in lower case with dashes", c.ID)
		}
		seen[c.ID] = true
		if c.Severity != check.Error && c.Severity != check.Warning && c.Severity != check.Note {
			t.Errorf("%s: severity %q", c.ID, c.Severity)
		}
		if !strings.HasSuffix(c.Why, ".") || strings.Contains(c.Why, "\n") || c.Find == nil {
			t.Errorf("%s: Why is one line that ends with a full stop; Find is set", c.ID)
		}
	}
}

type corpusCase struct {
	tree    string
	want    []check.Finding
	running map[string][]release.Module
	without map[string]bool
}

func readCase(t *testing.T, file, id string) corpusCase {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse([]byte(strings.ReplaceAll(string(content), "‖", "")))
	c := corpusCase{tree: t.TempDir(), running: map[string][]release.Module{}, without: map[string]bool{}}
	at := func(name string) string { return filepath.Join(c.tree, filepath.FromSlash(name)) }
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var later [][]string
	for line := range strings.SplitSeq(string(archive.Comment), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch words[0] {
		case "module":
			write("addons/"+words[1]+"/__manifest__.py", manifest(t, words[1], words[2:]))
			write("addons/"+words[1]+"/__init__.py", "")
		case "want":
			c.want = append(c.want, wanted(t, strings.TrimPrefix(line, "want "), id))
		case "level":
			c.want[len(c.want)-1].Severity = check.Severity(words[1])
		case "running":
			m := release.Module{Name: words[2], Version: words[3]}
			if len(words) > 4 {
				m.Checksum = words[4]
			}
			c.running[words[1]] = append(c.running[words[1]], m)
		case "without":
			c.without[words[1]] = true
		default:
			later = append(later, words)
		}
	}
	for _, f := range archive.Files {
		write(f.Name, string(f.Data))
	}
	for _, words := range later {
		c.arrange(t, at, write, words)
	}
	return c
}

// arrange does what an archive of texts cannot say.
func (c corpusCase) arrange(t *testing.T, at func(string) string, write func(name, text string), words []string) {
	t.Helper()
	var err error
	switch words[0] {
	case "mode":
		var mode uint64
		if mode, err = strconv.ParseUint(words[2], 8, 32); err == nil {
			err = syscall.Chmod(at(words[1]), uint32(mode))
		}
	case "link":
		err = os.Symlink(words[2], at(words[1]))
	case "pipe":
		err = syscall.Mkfifo(at(words[1]), 0o644)
	case "name":
		var name string
		if name, err = strconv.Unquote(words[2]); err == nil {
			err = os.Rename(at(words[1]), at(name))
		}
	case "fill":
		var size int
		if size, err = strconv.Atoi(words[2]); err == nil {
			write(words[1], strings.Repeat(" ", size))
		}
	case "nest":
		var depth int
		if depth, err = strconv.Atoi(words[2]); err == nil {
			write(words[1], "{'name': "+strings.Repeat("[", depth)+strings.Repeat("]", depth)+"}\n")
		}
	default:
		t.Fatalf("directive %q is not known", words[0])
	}
	if err != nil {
		t.Fatal(err)
	}
}

// manifest has everything that a check asks for, on known lines: name, version, author, license,
// depends, data, demo, external_dependencies.
func manifest(t *testing.T, name string, words []string) string {
	t.Helper()
	values := map[string]string{"version": "19.0.1.0.0"}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		values[key] = value
	}
	list := func(key string) string {
		if values[key] == "" {
			return "[]"
		}
		return "['" + strings.ReplaceAll(values[key], ",", "', '") + "']"
	}
	return fmt.Sprintf(`{
    'name': '%s',
    'version': '%s',
    'author': 'Acme',
    'license': 'LGPL-3',
    'depends': %s,
    'data': %s,
    'demo': %s,
    'external_dependencies': {'python': %s, 'bin': %s},
}
`, name, values["version"], list("depends"), list("data"), list("demo"), list("python"), list("bin"))
}

// wanted reads "[ID] FILE[:LINE]: TEXT".
func wanted(t *testing.T, line, id string) check.Finding {
	t.Helper()
	where, text, ok := strings.Cut(line, ": ")
	if !ok {
		t.Fatalf("want %s: expected \"PLACE: TEXT\"", line)
	}
	f := check.Finding{Check: id, Message: text}
	if other, rest, ok := strings.Cut(where, " "); ok {
		f.Check, where = other, rest
	}
	f.File = where
	if i := strings.LastIndex(where, ":"); i > 0 {
		f.File = where[:i]
		var err error
		if f.Line, err = strconv.Atoi(where[i+1:]); err != nil {
			t.Fatalf("want %s: %v", line, err)
		}
	}
	for _, c := range check.Checks() {
		if c.ID == f.Check {
			f.Severity = c.Severity
		}
	}
	if f.Severity == "" {
		t.Fatalf("want %s: there is no check %q", line, f.Check)
	}
	return f
}

func runCase(t *testing.T, c corpusCase, bad bool, python *pythonProcess) {
	in := c.gather(t, python)
	var got []check.Finding
	for _, rule := range check.Checks() {
		for _, f := range rule.Find(in) {
			f.Check = rule.ID
			if f.Severity == "" {
				f.Severity = rule.Severity
			}
			if f.Message == "" || f.Fix == "" || f.File == "" || f.Module == "" || strings.Contains(f.Message+f.Fix, "\n") {
				t.Errorf("incomplete: %+v", f)
			}
			got = append(got, f)
		}
	}
	if bad && len(c.want) == 0 {
		t.Error("a bad case says what it wants")
	}
	for _, want := range c.want {
		i := slices.IndexFunc(got, func(f check.Finding) bool {
			return f.Check == want.Check && f.File == want.File && f.Line == want.Line && f.Severity == want.Severity && strings.Contains(f.Message, want.Message)
		})
		if i < 0 {
			t.Errorf("not found: %s:%d: %s: …%s… [%s]", want.File, want.Line, want.Severity, want.Message, want.Check)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, f := range got {
		t.Errorf("found and not wanted: %s:%d: %s: %s (%s) [%s]", f.File, f.Line, f.Severity, f.Message, f.Fix, f.Check)
	}
}

func (c corpusCase) gather(t *testing.T, python *pythonProcess) *check.Input {
	t.Helper()
	o := gather.Options{Series: "19.0", Now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	for environment, modules := range c.running {
		o.Running = append(o.Running, check.RunningRelease{Environment: environment, Release: release.Release{Name: "r1", Modules: modules}})
	}
	slices.SortFunc(o.Running, func(a, b check.RunningRelease) int { return strings.Compare(a.Environment, b.Environment) })
	var folders []string
	entries, err := os.ReadDir(c.tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // addons, and others beside it
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	in, err := gather.Folder(context.Background(), c.tree, folders, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, running := range in.Running {
		for i, m := range running.Release.Modules {
			if at := slices.IndexFunc(in.Modules, func(own *check.Module) bool { return own.Name == m.Name }); m.Checksum == "same" {
				running.Release.Modules[i].Checksum = in.Modules[at].Checksum
			}
		}
	}
	if !c.without["base"] {
		in.Base = testBase()
	}
	if !c.without["python"] {
		python.parse(t, in)
	}
	return in
}

// testBase is a small base: what the cases name of it is there.
func testBase() *check.Base {
	set := func(names string) map[string]bool {
		all := map[string]bool{}
		for _, name := range strings.Fields(names) {
			all[name] = true
		}
		return all
	}
	names := func(names string) check.Names { return check.NamesOf(slices.Values(strings.Fields(names))) }
	return &check.Base{
		Digest: "sha256:0",
		Modules: []release.Module{
			{Name: "base"}, {Name: "web", Depends: []string{"base"}}, {Name: "mail", Depends: []string{"web"}},
			{Name: "product", Depends: []string{"mail"}}, {Name: "sale", Depends: []string{"product"}}, {Name: "stock", Depends: []string{"product"}},
		},
		ExternalIDs: names(`base.group_user base.group_system base.group_no_one base.main_company base.user_root base.user_admin base.menu_administration
			base.res_partner_1 base.view_partner_form web.layout sale.view_order_form sale.menu_sale_order sale.action_orders stock.group_stock_user
			product.product_cable web.external_layout`),
		DemoIDs: names("base.user_demo"),
		Models: set(`res.partner res.users res.company res.groups res.currency sale.order stock.picking product.product product.template mail.thread
			ir.ui.view ir.ui.menu ir.model.access ir.rule ir.actions.act_window ir.actions.server ir.actions.report ir.cron ir.attachment ir.sequence
			ir.config_parameter ir.model ir.asset ir.model.data`),
		Python:      map[string]string{"requests": "2.31.0", "lxml": "5.2.1", "python-dateutil": "2.9.0", "zeep": "4.2.1"},
		PythonNames: set("os sys json logging datetime re requests lxml dateutil zeep ldap functools typing"),
		Binaries:    set("wkhtmltopdf git"),
	}
}
