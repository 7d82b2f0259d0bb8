package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

var commandOfWaybill = regexp.MustCompile(`(?m)^\s*(?:- )?waybill ([a-z].*)$`)

// TestCIExamples: the ready-made jobs are YAML, and each command in them is one that there is, with
// flags that there are.
func TestCIExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/ci/*.yml")
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var parsed map[string]any
		require.NoError(t, yaml.Unmarshal(content, &parsed), file)
		verbs := map[string]bool{}
		for _, match := range commandOfWaybill.FindAllStringSubmatch(string(content), -1) {
			line, _, _ := strings.Cut(match[1], " > ")
			line, _, _ = strings.Cut(line, " || ")
			args := strings.Fields(strings.ReplaceAll(line, `"`, ""))
			a := &app{out: io.Discard, err: io.Discard}
			cmd, rest, err := a.root().Find(args)
			require.NoError(t, err, match[0])
			require.NoError(t, cmd.ParseFlags(rest), match[0])
			require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), match[0])
			verbs[cmd.Name()] = true
		}
		require.Equal(t, map[string]bool{"check": true, "build": true}, verbs, file)
	}
}
