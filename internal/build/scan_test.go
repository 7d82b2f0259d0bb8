package build

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/odoo"
)

func TestScanMergesLayers(t *testing.T) {
	root := map[string]string{
		"opt/odoo/odoo/release.py":                       "version_info = (19, 0, 0, 'final', 0, '')",
		"opt/odoo/odoo/addons/base/__manifest__.py":      "{'name': 'Base'}",
		"opt/odoo/addons/stock/__manifest__.py":          "{'name': 'Stock'}",
		"opt/odoo/addons/stock/a.py":                     "below",
		"opt/odoo/addons/gone/__manifest__.py":           "{'name': 'Gone'}",
		"srv/enterprise/extra/__manifest__.py":           "{'name': 'Extra', 'depends': ['stock']}",
		"srv/enterprise/extra/static/description/x.html": "x",
		"usr/local/bin/python3.12":                       "",
		"usr/bin/python3.11":                             "",
	}
	folder := filepath.Join(t.TempDir(), "one")
	require.NoError(t, PackRootfs(t.Context(), writeRootfs(t, root), folder))
	below, err := openLayout(folder)
	require.NoError(t, err)
	folder = filepath.Join(t.TempDir(), "two")
	require.NoError(t, PackRootfs(t.Context(), writeRootfs(t, map[string]string{
		"opt/odoo/addons/stock/a.py": "above", "opt/odoo/addons/.wh.gone": "", "opt/odoo/addons/stock/b.py": "b",
	}), folder))
	above, err := openLayout(folder)
	require.NoError(t, err)
	lower, err := below.Layers()
	require.NoError(t, err)
	upper, err := above.Layers()
	require.NoError(t, err)
	scan, err := scanLayers(t.Context(), append(lower, upper...), odoo.ChecksumRule{}, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{"/opt/odoo/odoo/addons", "/opt/odoo/addons", "/srv/enterprise"}, scan.Base.AddonsPaths)
	require.Equal(t, "19.0", scan.Base.Version)
	require.Equal(t, "python3.11", scan.Base.Python)
	var names []string
	for _, m := range scan.Base.Modules {
		names = append(names, m.Name)
		if m.Name == "stock" {
			want, err := odoo.Checksum(memoryFiles(map[string]string{"__manifest__.py": "{'name': 'Stock'}", "a.py": "above", "b.py": "b"}), odoo.ChecksumRule{})
			require.NoError(t, err)
			require.Equal(t, want, m.Checksum)
		}
	}
	require.Equal(t, []string{"base", "extra", "stock"}, names)
}

func TestPackedRootfsIsTheSameFromAnyCompression(t *testing.T) {
	plain := writeRootfs(t, fakeBase)
	dir := t.TempDir()
	for _, command := range []string{"zstd -q " + plain + " -o " + dir + "/z.tar.zst", "gzip -c " + plain + " > " + dir + "/g.tar.gz"} {
		require.NoError(t, exec.Command("sh", "-c", command).Run(), "apt-get install -y zstd gzip")
	}
	digest := func(file string) string {
		folder := filepath.Join(t.TempDir(), "layout")
		require.NoError(t, PackRootfs(t.Context(), file, folder))
		img, err := openLayout(folder)
		require.NoError(t, err)
		d, err := img.Digest()
		require.NoError(t, err)
		return d.String()
	}
	want := digest(plain)
	require.Equal(t, want, digest(dir+"/z.tar.zst"))
	require.Equal(t, want, digest(dir+"/g.tar.gz"))
}
