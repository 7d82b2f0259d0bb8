//go:build odoo

package gather

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/release"
)

// TestRealExample: what fails in the example's releases fails in production only. Before, each of
// them is built, so that no check may refuse it; and the step from one to the next is no fault.
func TestRealExample(t *testing.T) {
	r := realSetup(t)
	dir := filepath.Join(t.TempDir(), "source")
	_, err := acme.WriteSource(t.Context(), dir)
	require.NoError(t, err)
	var running []check.RunningRelease
	for _, name := range acme.Releases {
		git(t, dir, "checkout", "-q", name)
		in, err := Folder(t.Context(), dir, nil, Options{Series: "19.0", Base: os.Getenv("WAYBILL_BASE"), Cache: r.cache, Running: running})
		require.NoError(t, err)
		report := check.Run(in, check.Policy{})
		var said strings.Builder
		report.Text(&said, "")
		t.Logf("%s:\n%s", name, said.String())
		require.False(t, report.Failed(), name)
		next := check.RunningRelease{Environment: "production", Release: release.Release{Name: name}}
		for _, m := range in.Modules {
			next.Release.Modules = append(next.Release.Modules, release.Module{Name: m.Name, Version: m.Version, Depends: m.Manifest.Depends, Checksum: m.Checksum})
		}
		running = []check.RunningRelease{next}
	}
}
