package gate

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateDocs = flag.Bool("update-docs", false, "write the tables of docs/gates.md anew")

// TestDocs: the tables in the documentation are those of the code.
func TestDocs(t *testing.T) {
	const file = "../../docs/gates.md"
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	var facts strings.Builder
	facts.WriteString("\n| fact | type | changes | what it is |\n|---|---|---|---|\n")
	for _, f := range Catalogue() {
		fmt.Fprintf(&facts, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, f.Changes, cell(f.Doc))
	}
	var rules strings.Builder
	rules.WriteString("\n| use | with (default) | condition | why |\n|---|---|---|---|\n")
	for _, r := range Library() {
		var with []string
		for _, p := range r.Parameters {
			text := fmt.Sprintf("`%s`: %s, %s", p.Name, p.Kind, p.Doc)
			if p.Default != "" {
				text += " (" + p.Default + ")"
			}
			with = append(with, text)
		}
		fmt.Fprintf(&rules, "| `%s` | %s | `%s` | %s |\n", r.Name, strings.Join(with, "; "), cell(r.Expr), cell(r.Why))
	}
	want := string(content)
	for name, table := range map[string]string{"facts": facts.String(), "rules": rules.String()} {
		begin, end := fmt.Sprintf("<!-- %s: written by a test -->\n", name), fmt.Sprintf("<!-- end of %s -->\n", name)
		before, rest, ok := strings.Cut(want, begin)
		require.True(t, ok, "%s lacks the line %s", file, begin)
		_, after, ok := strings.Cut(rest, end)
		require.True(t, ok, "%s lacks the line %s", file, end)
		want = before + begin + table + "\n" + end + after
	}
	if *updateDocs {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	require.True(t, want == string(content), "docs/gates.md is out of date; run: go test ./internal/gate -run Docs -update-docs")
}
