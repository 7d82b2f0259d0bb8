package odoo

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oracle is what testdata/literals.py says of a source.
type oracle struct {
	Source string          `json:"source"`
	File   string          `json:"file"`
	Value  json.RawMessage `json:"value"`
	Error  string          `json:"error"`
}

// asOracle writes a value as literals.py does.
func asOracle(v Value) any {
	list := func(elements []Value) []any {
		out := make([]any, len(elements))
		for i, e := range elements {
			out[i] = asOracle(e)
		}
		return out
	}
	switch v := v.(type) {
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}
	case *big.Int:
		return map[string]any{"int": v.String()}
	case float64:
		return map[string]any{"float": v}
	case Bytes:
		return map[string]any{"bytes": hex.EncodeToString(v)}
	case List:
		return list(v)
	case Tuple:
		return map[string]any{"tuple": list(v)}
	case Set:
		elements := list(v)
		slices.SortFunc(elements, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return bytes.Compare(x, y)
		})
		return map[string]any{"set": elements}
	case *Dict:
		pairs := []any{}
		for _, item := range v.Items() {
			pairs = append(pairs, []any{asOracle(item.Key), asOracle(item.Value)})
		}
		return map[string]any{"dict": pairs}
	default:
		return v
	}
}

// fromPython decodes literals.py's output; floats come in hexadecimal.
func fromPython(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	var floats func(any) any
	floats = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = floats(v[i])
			}
		case map[string]any:
			for key := range v {
				if text, ok := v[key].(string); ok && key == "float" {
					f, err := strconv.ParseFloat(text, 64)
					require.NoError(t, err)
					v[key] = f
				} else {
					v[key] = floats(v[key])
				}
			}
		}
		return v
	}
	return floats(v)
}

func TestLiteralsLikePython(t *testing.T) {
	content, err := os.ReadFile("testdata/literals.json")
	require.NoError(t, err)
	var cases []oracle
	require.NoError(t, json.Unmarshal(content, &cases))
	require.Greater(t, len(cases), 150)
	for _, c := range cases {
		got, err := ParseLiteral([]byte(c.Source))
		if c.Error != "" {
			if err == nil {
				t.Errorf("%q: Python says %s, read as %v", c.Source, c.Error, asOracle(got))
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: Python reads it: %v", c.Source, err)
			continue
		}
		// Not go-cmp: its time doubles with each level of nesting.
		assert.Equal(t, fromPython(t, c.Value), asOracle(got), "%q", c.Source)
	}
}

// TestManifestsLikePython compares every manifest of a real Odoo with ast.literal_eval, where
// WAYBILL_TEST_ADDONS names folders (separated by colons). The Makefile sets it from the base.
func TestManifestsLikePython(t *testing.T) {
	folders := os.Getenv("WAYBILL_TEST_ADDONS")
	if folders == "" {
		folders = "testdata/addons"
	}
	python, err := exec.LookPath("python3")
	require.NoError(t, err, "apt-get install -y python3")
	out, err := exec.CommandContext(t.Context(), python, append([]string{"testdata/literals.py"}, strings.Split(folders, ":")...)...).Output()
	require.NoError(t, err)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	compared := 0
	for lines.Scan() {
		var c oracle
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		require.Empty(t, c.Error, c.File)
		source, err := os.ReadFile(c.File)
		require.NoError(t, err)
		m, err := ParseManifest(source)
		require.NoError(t, err, c.File)
		assert.Equal(t, fromPython(t, c.Value), asOracle(m.Values), c.File)
		compared++
	}
	require.NoError(t, lines.Err())
	require.NotZero(t, compared, "no manifest in %s", folders)
	t.Logf("%d manifests compared", compared)
}

func TestLiteralErrorsNameTheirPlace(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"{'name': 'x',\n 'depends': ['a', open('b')],\n}", `2:19: "open" is code; only literals are read`},
		{"{'name': 'é' x}", `1:14: expected ',' or '}', found "x"`},
		{"{\n'a': [1,\n", `3:1: it ends where a value was expected`},
		{"{'a': 'b\n}", `1:7: a string that begins here does not end on its line`},
		{"{'a': f'{1}'}", `1:7: an f-string is code; only literals are read`},
		{"{'a' 'b'}\n{", `2:1: unexpected "{" after the value`},
		{"{'a': 1 + 2}", `1:9: expected ',' or '}', found "+"`},
		{"\xff", "1:1: it is not UTF-8, which Odoo expects whatever a coding line says"},
		{strings.Repeat("[", 65), "1:65: more than 64 brackets within each other"},
		{strings.Repeat(" ", maxLiteral+1), fmt.Sprintf("1:1: it has %d bytes; at most %d are read", maxLiteral+1, maxLiteral)},
		{`'\N{BULLET}'`, `1:2: \N{…} is not read; write the character itself`},
	} {
		_, err := ParseLiteral([]byte(c.source))
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax)
		require.EqualError(t, err, c.want)
	}
}

// FuzzParseLiteral looks for panics and for values that do not survive being written out again.
func FuzzParseLiteral(f *testing.F) {
	content, err := os.ReadFile("testdata/literals.json")
	require.NoError(f, err)
	var cases []oracle
	require.NoError(f, json.Unmarshal(content, &cases))
	for _, c := range cases {
		f.Add([]byte(c.Source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		first, err := ParseLiteral(source)
		if err != nil {
			return
		}
		written := write(first)
		second, err := ParseLiteral([]byte(written))
		require.NoError(t, err, written)
		require.Equal(t, asOracle(first), asOracle(second), "%q → %q", source, written)
	})
}

// write is a literal for a value.
func write(v Value) string {
	join := func(open string, elements []Value, end string) string {
		parts := make([]string, len(elements))
		for i, e := range elements {
			parts[i] = write(e) + ","
		}
		return open + strings.Join(parts, "") + end
	}
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return pythonBool(v)
	case float64:
		if s := strconv.FormatFloat(v, 'g', -1, 64); strings.Contains(s, "Inf") {
			return strings.Replace(strings.Replace(s, "+Inf", "1e999", 1), "-Inf", "-1e999", 1)
		} else if strings.ContainsAny(s, ".e") {
			return s
		} else {
			return s + ".0"
		}
	case string:
		var b strings.Builder
		for _, r := range v {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		return "'" + b.String() + "'"
	case Bytes:
		var b strings.Builder
		for _, c := range v {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
		return "b'" + b.String() + "'"
	case List:
		return join("[", v, "]")
	case Tuple:
		return join("(", v, ")")
	case Set:
		if len(v) == 0 {
			return "set()"
		}
		return join("{", v, "}")
	case *Dict:
		var b strings.Builder
		for _, item := range v.Items() {
			b.WriteString(write(item.Key) + ":" + write(item.Value) + ",")
		}
		return "{" + b.String() + "}"
	default:
		return fmt.Sprint(v)
	}
}
