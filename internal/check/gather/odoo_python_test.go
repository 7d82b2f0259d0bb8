//go:build odoo

package gather

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
)

func TestRealPythonFacts(t *testing.T) {
	r := realSetup(t)
	answers, err := r.base.ask(t.Context(), [][]byte{[]byte(`# -*- coding: utf-8 -*-
import os.path, zeep as z
from lxml import etree
from . import models
try:
    import optional
    import optional2
except (ImportError, AttributeError):
    import instead
try:
    import needed
except ValueError:
    pass
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import typed

LIMIT, other = 1, 2

class A(models.Model):
    _name = "a." "b"
    _inherit = ["mail.thread", 'x']
    def go(self):
        import late
        self.env.cr.commit()
        self.env.commit()

class B(models.TransientModel):
    _inherit = "c.d"
class C(models.AbstractModel):
    _name = PREFIX + "x"
class D(Plain): pass

@wrapped
def migrate(cr, version, /, *args, extra=None):
    cr.rollback()
    return 1
async def later(): pass
`), []byte("def f(:\n"), []byte("x = 'caf\xe9'\n"), []byte("# coding: latin-1\nx = 'caf\xe9'\n"), []byte("x\x00y"), {}, []byte("match x:\n    case 1: pass\nprint(f\"{x!r:>{w}} {'a' 'b'}\")\n")})
	require.NoError(t, err)
	a := answers[0]
	require.Empty(t, a.SyntaxError+a.Unknown)
	require.Equal(t, []check.PythonImport{
		{Name: "os", Line: 2}, {Name: "zeep", Line: 2}, {Name: "lxml", Line: 3}, {Name: "optional", Line: 6, Optional: true}, {Name: "optional2", Line: 7, Optional: true},
		{Name: "instead", Line: 9, Optional: true}, {Name: "needed", Line: 11}, {Name: "typing", Line: 14}, {Name: "typed", Line: 16, Optional: true}, {Name: "late", Line: 24, Optional: true},
	}, a.Imports)
	require.Equal(t, []check.PythonModel{
		{Class: "A", Kind: "Model", Name: "a.b", Inherit: []string{"mail.thread", "x"}, Line: 20},
		{Class: "B", Kind: "TransientModel", Inherit: []string{"c.d"}, Line: 28},
		{Class: "C", Kind: "AbstractModel", Inherit: []string{}, Line: 30, Dynamic: true},
	}, a.Models)
	require.Equal(t, []check.PythonFunction{
		{Name: "migrate", Args: []string{"cr", "version"}, Line: 35, End: 37, Decorated: true}, {Name: "later", Args: []string{}, Line: 38, End: 38},
	}, a.Functions)
	require.Equal(t, []int{25, 36}, a.Commits)
	require.Equal(t, []string{"LIMIT", "TYPE_CHECKING", "etree", "instead", "models", "needed", "optional", "optional2", "os", "other", "typed", "z"}, a.Names)
	for i, want := range []string{1: "invalid syntax", 2: "utf-8", 3: "", 4: "null", 5: "", 6: ""} {
		if i > 0 {
			require.Contains(t, strings.ToLower(answers[i].SyntaxError), want, "%d", i)
			require.Equal(t, want == "", answers[i].SyntaxError == "", "%d: %s", i, answers[i].SyntaxError)
			require.Empty(t, answers[i].Unknown)
		}
	}
	require.Equal(t, 1, answers[1].Line)
}

// TestRealPythonHostile: what hurts the parser is named, the others go on, and this process stays small.
func TestRealPythonHostile(t *testing.T) {
	r := realSetup(t)
	good := []byte("class A(models.Model):\n    _name = 'a.b'\n")
	hostile := map[string][]byte{
		"brackets":    []byte(strings.Repeat("[", 100_000)),
		"closed":      []byte(strings.Repeat("(", 10_000) + strings.Repeat(")", 10_000)),
		"sum":         []byte("x = " + strings.Repeat("1+", 500_000) + "1\n"),
		"minus":       []byte("x = " + strings.Repeat("-", 1_000_000) + "1\n"),
		"attributes":  []byte("x" + strings.Repeat(".a", 300_000) + "\n"),
		"calls":       []byte("f" + strings.Repeat("()", 300_000) + "\n"),
		"indents":     []byte(indents(150)),
		"list":        []byte("x = [" + strings.Repeat("1,", 2_000_000) + "]\n"),
		"folded":      []byte("x = " + strings.Repeat("9", 1_000_000) + "\n"),
		"power":       []byte("x = 9**9**9**9\ny = 'a' * 10**10\nz = (0,) * 10**10\n"),
		"import time": []byte("import os\nos.system('touch /tmp/waybill-was-here')\nopen('/tmp/waybill-was-here', 'w')\n"),
	}
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			answers, err := r.base.ask(t.Context(), [][]byte{good, source, good})
			require.NoError(t, err)
			require.Len(t, answers[0].Models, 1)
			require.Len(t, answers[2].Models, 1, "the next one is parsed")
			t.Logf("%d bytes: syntax %q, unknown %q, %d facts; %s", len(source), answers[1].SyntaxError, answers[1].Unknown, len(answers[1].Names), time.Since(started))
		})
	}
	_, err := os.Stat("/tmp/waybill-was-here")
	require.ErrorIs(t, err, os.ErrNotExist, "no source is run")
}

func indents(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "if x:\n")
	}
	b.WriteString(strings.Repeat(" ", n) + "y\n")
	return b.String()
}

// TestRealPythonDies: the process is killed while it parses, as a crash of its parser would.
func TestRealPythonDies(t *testing.T) {
	r := realSetup(t)
	dying := strings.Replace(parser, "def answer(source):\n", "def answer(source):\n    if source == b'die':\n        import os\n        os.abort()\n", 1)
	require.NotEqual(t, parser, dying)
	defer func(was string) { parser = was }(parser)
	parser = dying
	good := []byte("x = 1\n")
	answers, err := r.base.ask(t.Context(), [][]byte{good, []byte("die"), good, []byte("die"), good})
	require.NoError(t, err)
	for i, a := range answers {
		if i%2 == 1 {
			require.Contains(t, a.Unknown, "did not survive it")
		} else {
			require.Equal(t, []string{"x"}, a.Names)
		}
	}
	// And one that does not start at all is said once, for all.
	parser = "import sys; sys.exit('no such thing')"
	_, err = r.base.ask(t.Context(), [][]byte{good})
	require.ErrorContains(t, err, "no such thing")
}

// TestRealPythonIsShutIn: what the process could reach, if a source did get it to run something.
func TestRealPythonIsShutIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can shut a process into a folder; run the tests as root")
	}
	r := realSetup(t)
	p, err := r.base.start(t.Context(), `
import os, json, sys
def tried(what):
    try:
        return repr(what())
    except Exception as e:
        return type(e).__name__
print(json.dumps({"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "env": sorted(os.environ),
    "passwd": tried(lambda: open("/etc/passwd").read()), "root": sorted(os.listdir("/")), "write": tried(lambda: open("/x", "w")),
    "path": sys.path, "isolated": sys.flags.isolated, "parent": tried(lambda: os.listdir("/..")),
    "bytecode": json.__cached__, "kept": os.path.exists(json.__cached__), "closed": not os.access(json.__cached__, os.W_OK) and not os.access(os.path.dirname(json.__cached__), os.W_OK)}))`)
	require.NoError(t, err)
	out, err := io.ReadAll(p.out)
	require.NoError(t, err)
	p.stop()
	var got struct {
		UID, GID  int
		Groups    []int
		Env, Root []string
		Path      []string
		Passwd    string
		Write     string
		Isolated  int
		Parent    string
		Bytecode  string
		Kept      bool
		Closed    bool
	}
	require.NoError(t, json.Unmarshal(out, &got), string(out))
	require.Equal(t, nobody, got.UID)
	require.Equal(t, nobody, got.GID)
	require.Empty(t, slices.DeleteFunc(got.Groups, func(g int) bool { return g == nobody }))
	require.Subset(t, []string{"LC_CTYPE"}, got.Env)
	require.Equal(t, "FileNotFoundError", got.Passwd)
	require.Equal(t, "PermissionError", got.Write)
	require.Subset(t, []string{"lib", "lib64", "usr"}, got.Root)
	require.Equal(t, 1, got.Isolated)
	require.True(t, got.Kept, "the bytecode of the first run: %s", got.Bytecode)
	require.True(t, got.Closed, "nobody may write it any more")
	for _, p := range got.Path {
		require.NotContains(t, p, "packages")
	}
}

// TestRealManifestsLikePython compares every manifest of the base with what ast.literal_eval makes
// of it, on the base's own interpreter.
func TestRealManifestsLikePython(t *testing.T) {
	r := realSetup(t)
	files, err := filepath.Glob(filepath.Join(r.addons, "*", "__manifest__.py"))
	require.NoError(t, err)
	require.Greater(t, len(files), 620)
	p, err := r.base.start(t.Context(), `
import ast, json, sys
def plain(v):
    if v is None or isinstance(v, (bool, str)):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"float": v.hex()}
    if isinstance(v, bytes):
        return {"bytes": v.hex()}
    if isinstance(v, list):
        return {"list": [plain(e) for e in v]}
    if isinstance(v, tuple):
        return {"tuple": [plain(e) for e in v]}
    if isinstance(v, set):
        return {"set": sorted((plain(e) for e in v), key=json.dumps)}
    return {"dict": [[plain(k), plain(e)] for k, e in v.items()]}
take = sys.stdin.buffer
while True:
    head = take.readline()
    if not head:
        break
    source = take.read(int(head)).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    sys.stdout.write(json.dumps(plain(ast.literal_eval(source)), ensure_ascii=False) + "\n")
    sys.stdout.flush()
`)
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = fmt.Fprintf(p.in, "%d\n%s", len(source), source)
		require.NoError(t, err)
		line, err := p.line()
		require.NoError(t, err, "%s: %s", file, p.stderr.last())
		var want any
		require.NoError(t, json.Unmarshal(line, &want))
		parsed, err := odoo.ParseManifest(source)
		require.NoError(t, err, file)
		encoded, err := json.Marshal(likePython(t, parsed.Values))
		require.NoError(t, err)
		var got any
		require.NoError(t, json.Unmarshal(encoded, &got))
		require.Equal(t, want, got, file)
	}
	p.stop()
	t.Logf("%d manifests: the same dictionaries", len(files))
}

// likePython writes a value as the program above does.
func likePython(t *testing.T, v odoo.Value) any {
	many := func(elements []odoo.Value) []any {
		list := make([]any, len(elements))
		for i, e := range elements {
			list[i] = likePython(t, e)
		}
		return list
	}
	switch v := v.(type) {
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}
	case *big.Int:
		return map[string]any{"int": v.String()}
	case float64:
		// No manifest has one but simple versions and sequences; Python's hex form is exact.
		return map[string]any{"float": pythonHex(v)}
	case odoo.Bytes:
		return map[string]any{"bytes": hex.EncodeToString(v)}
	case odoo.List:
		return map[string]any{"list": many(v)}
	case odoo.Tuple:
		return map[string]any{"tuple": many(v)}
	case odoo.Set:
		list := many(v)
		slices.SortFunc(list, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return strings.Compare(string(x), string(y))
		})
		return map[string]any{"set": list}
	case *odoo.Dict:
		pairs := []any{}
		for _, item := range v.Items() {
			pairs = append(pairs, []any{likePython(t, item.Key), likePython(t, item.Value)})
		}
		return map[string]any{"dict": pairs}
	}
	return v
}

// pythonHex is float.hex(): 13 digits, and an exponent without leading zeros.
func pythonHex(f float64) string {
	s := strconv.FormatFloat(f, 'x', 13, 64)
	mantissa, exponent, _ := strings.Cut(s, "p")
	n, _ := strconv.Atoi(exponent)
	return fmt.Sprintf("%sp%+d", mantissa, n)
}
