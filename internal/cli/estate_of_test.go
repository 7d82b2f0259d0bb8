package cli

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

// A server on another machine, or in a pod, names a folder that is not here.
func TestEstateElsewhere(t *testing.T) {
	away := filepath.Join(t.TempDir(), "estate")
	data := fake(t, func(*http.Request) (int, any) { return 200, api.Status{Estate: away} })
	for _, args := range [][]string{
		{"build"},
		{"policy", "list"},
		{"release", "scan", "sha256:0000000000000000000000000000000000000000000000000000000000000000"},
	} {
		_, errs, code := said(t, append(args, "--data", data)...)
		require.Equal(t, exitUsage, code, "%v: %s", args, errs)
		require.Contains(t, errs, "the server reads its estate in "+away+", which is not on this machine; name a folder with the same: --estate FOLDER", args)
	}
}
