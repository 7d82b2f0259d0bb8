//go:build promtool

package telemetry

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// promtool runs Prometheus' own tool; WAYBILL_TEST_PROMTOOL is where it lies, which hack/tools.sh promtool prints.
func promtool(t *testing.T, in string, args ...string) string {
	t.Helper()
	tool := os.Getenv("WAYBILL_TEST_PROMTOOL")
	require.NotEmpty(t, tool, "WAYBILL_TEST_PROMTOOL names no promtool; run: hack/test.sh promtool")
	cmd := exec.Command(tool, args...)
	cmd.Stdin = strings.NewReader(in)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "promtool %s: %s", strings.Join(args, " "), said)
	return string(said)
}

func TestPromtool(t *testing.T) {
	rules := filepath.Join(tree, "observability/rules.yml")
	t.Run("metrics", func(t *testing.T) {
		m, _ := full(t)
		_, content := scrape(t, m)
		require.Empty(t, promtool(t, content, "check", "metrics"))
	})
	t.Run("rules", func(t *testing.T) { require.Contains(t, promtool(t, "", "check", "rules", rules), "SUCCESS") })
	t.Run("what raises an alert", func(t *testing.T) {
		require.Contains(t, promtool(t, "", "test", "rules", filepath.Join(tree, "observability/rules_test.yml")), "SUCCESS")
	})
	t.Run("dashboards", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(tree, "observability/dashboards/*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		type rule struct {
			Record string `json:"record"`
			Expr   string `json:"expr"`
		}
		var all []rule
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			var board struct {
				Panels []struct{ Targets []struct{ Expr string } }
			}
			require.NoError(t, json.Unmarshal(content, &board), file)
			for _, p := range board.Panels {
				for _, target := range p.Targets {
					all = append(all, rule{fmt.Sprintf("expression_%d", len(all)), target.Expr})
				}
			}
		}
		require.Greater(t, len(all), 40)
		written, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboards", "rules": all}}})
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "expressions.yml")
		require.NoError(t, os.WriteFile(file, written, 0o600))
		promtool(t, "", "check", "rules", file)
	})
}
