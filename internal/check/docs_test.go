package check

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateDocs = flag.Bool("update-docs", false, "write the list of checks in docs/check.md anew")

// TestDocsListTheChecks: the list in the documentation is that of the code.
func TestDocsListTheChecks(t *testing.T) {
	const file, begin, end = "../../docs/check.md", "<!-- checks: written by a test -->\n", "<!-- end of checks -->\n"
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(content), begin)
	require.True(t, ok, "%s lacks the line %s", file, begin)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "%s lacks the line %s", file, end)
	var list strings.Builder
	list.WriteString("\n| check | severity | what happens to those who ignore it |\n|---|---|---|\n")
	for _, c := range Checks() {
		fmt.Fprintf(&list, "| `%s` | %s | %s |\n", c.ID, c.Severity, strings.ReplaceAll(c.Why, "|", "\\|"))
	}
	list.WriteString("\n")
	want := before + begin + list.String() + end + after
	if *updateDocs {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(content), "docs/check.md is out of date; run: go test ./internal/check -run Docs -update-docs")
}
