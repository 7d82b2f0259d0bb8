package estate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func smallFiles() map[string][]byte {
	return map[string][]byte{"product.yaml": []byte(productYAML), "test.yaml": []byte(environmentYAML)}
}

// Input made to break a reader is refused with one line, quickly.
func TestHostileInput(t *testing.T) {
	long.Test(t)
	laughs := "kind: Tenant\nname: a\nenvironment: test\nhosts: &a0 [a.example]\n"
	for i := range 9 {
		laughs += fmt.Sprintf("x%d: &a%d [%s]\n", i, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), ", "))
	}
	aliases := "kind: Tenant\nname: &n a\nenvironment: test\nhosts: [a.example]\nmodules: [" + strings.Repeat("*n, ", maxAliases+1) + "x]\n"
	for name, c := range map[string]struct{ content, want string }{
		"flow lists":     {"kind: " + strings.Repeat("[", 1<<19), "nested more than 32 levels"},
		"flow maps":      {"kind: " + strings.Repeat("{a: ", 1<<17), "nested more than 32 levels"},
		"dashes":         {strings.Repeat("- ", 1<<19), "nested more than 32 levels"},
		"questions":      {strings.Repeat("? ", 1<<19), "a.yaml"},
		"indent":         {deepIndent(1000), "nested more than 32 levels"},
		"billion laughs": {laughs, "unknown field"},
		"aliases":        {aliases, "more than 1000 aliases in one document"},
		"self":           {"kind: &k *k\n", "a.yaml"},
		"anchors":        {"kind: " + strings.Repeat("&a ", 1<<18) + "x\n", "a.yaml"},
		"quotes":         {"kind: \"" + strings.Repeat("\\", 1<<19), "a.yaml"},
		"many keys":      {"kind: Tenant\n" + manyKeys(60_000), "the document has more than 2000 fields"},
		"many commas":    {"kind: [" + strings.Repeat(",", 1<<19) + "]", "a.yaml"},
		"colons":         {strings.Repeat(":", 1<<19), "a.yaml"},
		"colons spaced":  {strings.Repeat(": ", 1<<18), "a.yaml"},
		"pipes":          {strings.Repeat("a: |\n", 1<<16), "a.yaml"},
		"stars":          {"kind: " + strings.Repeat("*a ", 1<<17), "a.yaml"},
		"long text":      {"kind: " + strings.Repeat("x", 1<<20-10), "unknown kind"},
		"documents":      {strings.Repeat("---\na: b\n", 5_000), "kind: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			files := smallFiles()
			files["a.yaml"] = []byte(c.content)
			start := time.Now()
			_, err := Parse(files)
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 64<<10, "a report stays readable")
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func deepIndent(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

func TestDocumentLimit(t *testing.T) {
	long.Test(t)
	files := smallFiles()
	for i := range 5 {
		files[fmt.Sprintf("a%d.yaml", i)] = []byte(strings.Repeat("---\nkind: X\n", maxDocuments/4))
	}
	_, err := Parse(files)
	require.Error(t, err)
	var b report
	for _, p := range Problems(err) {
		b.add(p)
	}
	require.Len(t, b.found, maxProblems+1)
}

// Windows line ends and a byte order mark change nothing.
func TestWindowsFile(t *testing.T) {
	files := smallFiles()
	for name, content := range files {
		files[name] = []byte("\uFEFF" + strings.ReplaceAll(string(content), "\n", "\r\n"))
	}
	e, err := Parse(files)
	require.NoError(t, err)
	require.Equal(t, "acme", e.Product.Name)
}

func TestNearest(t *testing.T) {
	words := []string{"hosts", "hosting", "modules", "languages", "environment"}
	for word, want := range map[string]string{
		"host": "hosts", "hostss": "hosts", "hsots": "hosts", "module": "modules", "enviroment": "environment", "Hosting": "hosting", "colour": "", "": "",
	} {
		got, _ := nearest(word, words)
		require.Equal(t, want, got, word)
	}
}

// Whatever the bytes, Parse neither panics nor gives a state that breaks its own rules.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		found, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range found {
			content, err := os.ReadFile(file)
			require.NoError(f, err)
			var all []string
			for _, part := range txtar.Parse(content).Files {
				if strings.HasSuffix(part.Name, ".yaml") || strings.HasSuffix(part.Name, ".yml") {
					all = append(all, string(part.Data))
				}
			}
			f.Add([]byte(strings.Join(all, "---\n")))
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := Parse(map[string][]byte{"estate.yaml": content})
		if err != nil {
			if len(Problems(err)) == 0 {
				t.Fatalf("an error without a problem: %v", err)
			}
			return
		}
		for _, env := range e.Environments {
			if env.Runtime.Docker == nil || env.HoldBudget <= 0 {
				t.Fatalf("an environment without what it needs: %+v", env)
			}
		}
		for _, tenant := range e.Tenants {
			if _, ok := e.Environment(tenant.Environment); !ok || len(tenant.Hosts) == 0 || tenant.Database == "" {
				t.Fatalf("a tenant without what it needs: %+v", tenant)
			}
		}
	})
}
