//go:build odoo

package build

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/registry"
)

// TestRealBase builds on the real Odoo 19.0. WAYBILL_TEST_BASE names it: oci:FOLDER or rootfs:FILE.
func TestRealBase(t *testing.T) {
	base := os.Getenv("WAYBILL_TEST_BASE")
	if base == "" {
		t.Fatal("WAYBILL_TEST_BASE is not set; run: hack/base/build.sh && export WAYBILL_TEST_BASE=oci:$(hack/base/build.sh --path)")
	}
	handler, err := registry.Handler(t.TempDir(), func(user, password string) bool { return user == "u" && password == "p" })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	defer server.Close()
	reg := Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}

	start := time.Now()
	digest, err := ImportBase(t.Context(), base, reg, "odoo:19.0")
	require.NoError(t, err)
	t.Logf("imported in %s: %s", time.Since(start), digest)
	start = time.Now()
	again, err := ImportBase(t.Context(), base, reg, "odoo:19.0")
	require.NoError(t, err)
	require.Equal(t, digest, again)
	require.Less(t, time.Since(start), 5*time.Second, "nothing is sent twice")

	repo := newRepo(t)
	repo.module("acme_lane", `{'name': 'Lane', 'version': '1.0', 'depends': ['stock', 'sale_stock']}`)
	repo.commit("lane")
	cache := t.TempDir()
	options := Options{Source: repo.dir, Repository: "acme", Name: "r1", Series: "19.0", Registry: reg, Cache: cache, Progress: t.Logf}
	start = time.Now()
	rel, err := Build(t.Context(), options)
	require.NoError(t, err)
	t.Logf("built in %s", time.Since(start))
	require.Equal(t, digest, rel.Base.Digest)
	require.Equal(t, "python3.13", rel.Base.Python)
	require.Equal(t, []string{"/usr/lib/python3/dist-packages/odoo/addons"}, rel.Base.AddonsPaths)
	require.Greater(t, len(rel.Base.Modules), 600)

	start = time.Now()
	second, err := Build(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, rel, second)
	require.Less(t, time.Since(start), 10*time.Second, "the scan is remembered")

	read, err := ReadRelease(t.Context(), "acme@"+rel.Digest, reg)
	require.NoError(t, err)
	require.Equal(t, rel, read)

	// The files on disk, read without the scan, have the same checksums.
	root := os.Getenv("WAYBILL_TEST_ADDONS")
	if root == "" {
		t.Fatal("WAYBILL_TEST_ADDONS is not set; it names the folder odoo/addons of the same base, unpacked")
	}
	for _, rule := range []odoo.ChecksumRule{{}, {Languages: []string{"en_US", "fr_BE"}}} {
		start = time.Now()
		sums, err := Checksums(t.Context(), "acme:r1", rule, reg, cache)
		require.NoError(t, err)
		t.Logf("checksums in %s", time.Since(start))
		for _, name := range []string{"base", "stock", "sale_stock", "mail", "web"} {
			sum, err := odoo.Checksum(diskFiles(t, filepath.Join(root, name)), rule)
			require.NoError(t, err)
			require.Equal(t, sum, sums[name], name)
		}
	}
}
