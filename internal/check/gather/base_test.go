package gather

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/check"
)

// small is a root file system with as little of Odoo as an index looks at.
var small = map[string]string{
	"usr/bin/python3.13":                            "no program",
	"usr/bin/wkhtmltopdf":                           "x",
	"usr/bin/readme":                                "",
	"var/lib/dpkg/status":                           "Package: odoo-19\nStatus: install ok installed\nVersion: 19.0.0-1\n",
	"usr/lib/python3/dist-packages/odoo/release.py": "version_info = (19, 0, 0, 'final', 0, '')\n",
	"usr/lib/python3/dist-packages/odoo/addons/base/__manifest__.py":              "{'name': 'Base', 'version': '1.3', 'data': ['data/a.xml', 'security/ir.model.access.csv'], 'demo': ['data/demo.xml', 'data/a.xml']}",
	"usr/lib/python3/dist-packages/odoo/addons/base/__init__.py":                  "",
	"usr/lib/python3/dist-packages/odoo/addons/base/models/res.py":                "class P(models.Model):\n    _name = 'res.partner'\n",
	"usr/lib/python3/dist-packages/odoo/addons/base/tests/test.py":                "class T(models.Model):\n    _name = 'only.test'\n",
	"usr/lib/python3/dist-packages/odoo/addons/base/data/a.xml":                   `<odoo><record id="main_company" model="res.company"/><record id="other.x" model="m"/></odoo>`,
	"usr/lib/python3/dist-packages/odoo/addons/base/data/demo.xml":                `<odoo><record id="user_demo" model="res.users"/><record id="main_company" model="res.company"/></odoo>`,
	"usr/lib/python3/dist-packages/odoo/addons/base/static/a.xml":                 `<odoo><record id="static" model="m"/></odoo>`,
	"usr/lib/python3/dist-packages/odoo/addons/base/security/ir.model.access.csv": "id,name\naccess_a,a\n",
	"usr/lib/python3/dist-packages/zeep/__init__.py":                              "",
	"usr/lib/python3/dist-packages/Zeep_X-4.2.dist-info/METADATA":                 "Metadata-Version: 2.1\nName: Zeep_X\nVersion: 4.2\n\nName: not this\n",
	"usr/lib/python3/dist-packages/old-1.egg-info/PKG-INFO":                       "Name: old\nVersion: 1\n",
	"usr/lib/python3/dist-packages/flat-2.egg-info":                               "Name: flat\nVersion: 2\n",
	"usr/lib/python3/dist-packages/single.py":                                     "",
	"usr/lib/python3/dist-packages/_fast.cpython-313-x86_64-linux-gnu.so":         "",
	"usr/lib/python3.13/json/__init__.py":                                         "",
	"usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so":         "",
}

func rootfs(t *testing.T, files map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	out, err := os.Create(file)
	require.NoError(t, err)
	w := tar.NewWriter(out)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		mode := int64(0o644)
		if filepath.Dir(name) == "usr/bin" && name != "usr/bin/readme" {
			mode = 0o755
		}
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: mode, Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		require.NoError(t, err)
	}
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "./usr/bin/sh", Linkname: "dash", Mode: 0o777}))
	require.NoError(t, w.Close())
	require.NoError(t, out.Close())
	return "rootfs:" + file
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, module("lane"))
	var said []string
	o := Options{Base: rootfs(t, small), Cache: t.TempDir(), Progress: func(format string, _ ...any) { said = append(said, format) }}
	in := folder(t, dir, nil, o)
	require.Len(t, said, 2, "the first time takes long, and says so")
	b := in.Base
	require.NotEmpty(t, b.Digest)
	require.Len(t, b.Modules, 1)
	require.Equal(t, check.Names("base.access_a\nbase.main_company\nother.x\n"), b.ExternalIDs)
	require.Equal(t, check.Names("base.user_demo\n"), b.DemoIDs)
	require.Equal(t, map[string]bool{"res.partner": true}, b.Models)
	require.Equal(t, map[string]string{"zeep-x": "4.2", "old": "1", "flat": "2"}, b.Python)
	require.Equal(t, map[string]bool{"python3.13": true, "wkhtmltopdf": true, "sh": true}, b.Binaries)
	for _, name := range []string{"zeep", "single", "_fast", "json", "_ssl", "odoo", "sys"} {
		require.True(t, b.PythonNames[name], name)
	}
	require.False(t, b.PythonNames["old-1"])

	// That its interpreter is none is said, and is no error.
	require.Len(t, in.Unread, 1)
	require.Contains(t, in.Unread[0].Why, "Python sources were not parsed")
	report := check.Run(in, check.Policy{})
	require.Contains(t, report.NotChecked, check.NotChecked{Check: "python-syntax", Why: "it needs the base's own Python interpreter, and none could be run"})

	again := folder(t, dir, nil, o)
	require.Len(t, said, 2, "remembered")
	require.Equal(t, b, again.Base)

	// Another series than the product's is refused, even where the base is optional.
	_, err := Folder(t.Context(), dir, nil, Options{Series: "18.0", Experimental: true, Base: o.Base, Cache: o.Cache, BaseOptional: true})
	require.ErrorContains(t, err, "holds Odoo 19.0, and the product is of series 18.0")

	// A cache that was cut is made again.
	found, err := filepath.Glob(filepath.Join(o.Cache, "check-base", "*", "index.json"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, os.Truncate(found[0], 100))
	require.Equal(t, b, folder(t, dir, nil, o).Base)
}
