package acme_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme"
)

func TestSourceIsTheSameEachTime(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "a"), t.TempDir()
	one, err := acme.WriteSource(t.Context(), first)
	require.NoError(t, err)
	two, err := acme.WriteSource(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, one, two)
	require.Len(t, one, len(acme.Releases)+len(acme.Further))

	status, err := exec.CommandContext(t.Context(), "git", "-C", first, "status", "--porcelain").CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(status))
	changed, err := exec.CommandContext(t.Context(), "git", "-C", first, "diff", "--stat", "r1", "r2", "--", "addons/acme_label", "addons/acme_base").CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(changed), "r2 changes acme_dock only")

	_, err = acme.WriteSource(t.Context(), first)
	require.ErrorContains(t, err, "must be an empty folder")
}

func TestModulesStaySmall(t *testing.T) {
	dir := t.TempDir()
	for _, release := range slices.Concat(acme.Releases, acme.Further) {
		require.NoError(t, acme.WriteRelease(dir, release))
		modules, err := os.ReadDir(filepath.Join(dir, "addons"))
		require.NoError(t, err)
		for _, module := range modules {
			lines := 0
			python, err := filepath.Glob(filepath.Join(dir, "addons", module.Name(), "models", "*.py"))
			require.NoError(t, err)
			for _, file := range python {
				content, err := os.ReadFile(file)
				require.NoError(t, err)
				lines += strings.Count(string(content), "\n")
			}
			require.Greater(t, lines, 5, module.Name())
			require.LessOrEqual(t, lines, 110, "%s of %s is an example, not a product", module.Name(), release)
		}
	}
}

func TestFingerprint(t *testing.T) {
	one, err := acme.Fingerprint("r1")
	require.NoError(t, err)
	again, err := acme.Fingerprint("r1")
	require.NoError(t, err)
	require.Equal(t, one, again)
	two, err := acme.Fingerprint("r2")
	require.NoError(t, err)
	require.NotEqual(t, one, two)
	_, err = acme.Fingerprint("r9")
	require.ErrorContains(t, err, "there are r1, r2, r3, r4, r5")
}
