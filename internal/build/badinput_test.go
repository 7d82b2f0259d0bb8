package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func TestBadInput(t *testing.T) {
	long.Test(t)
	type input struct {
		repo    *repo
		options *Options
		bundle  *bundle
	}
	good := func(in input) { in.repo.module("acme_lane", lane) }
	cases := []struct {
		name   string
		change func(t *testing.T, in input)
		want   string
	}{
		{"malformed manifest", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{\n 'name': 'x',\n 'depends': [open('x')],\n}")
		}, `addons/acme_lane/__manifest__.py:3:14: "open" is code; only literals are read`},
		{"unknown dependency", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{\n 'name': 'x',\n 'depends': ['stock', 'nowhere'],\n}")
		}, `addons/acme_lane/__manifest__.py:3: module "nowhere" is unknown: it is neither among the addons nor in base odoo:19.0, and acme_lane depends on it`},
		{"cycle", func(t *testing.T, in input) {
			in.repo.module("acme_a", "{'depends': ['acme_b']}")
			in.repo.module("acme_b", "{'depends': ['acme_a']}")
		}, `addons/acme_a/__manifest__.py: modules depend on each other in a circle: acme_a → acme_b → acme_a`},
		{"another series", func(t *testing.T, in input) {
			in.repo.module("acme_lane", "{'name': 'x',\n'version': '17.0.1.0.0'}")
		}, `addons/acme_lane/__manifest__.py:2: version "17.0.1.0.0" is not one of series 19.0`},
		{"module twice", func(t *testing.T, in input) {
			good(in)
			in.repo.write("more/acme_lane/__manifest__.py", lane)
			in.repo.write("more/acme_lane/__init__.py", "")
			in.options.Addons = []string{"addons", "more"}
		}, `module "acme_lane" is there twice: addons/acme_lane and more/acme_lane`},
		{"Odoo's own name", func(t *testing.T, in input) {
			in.repo.module("stock", "{'name': 'x'}")
		}, `addons/stock: the base has a module "stock" of its own`},
		{"link out", func(t *testing.T, in input) {
			good(in)
			require.NoError(t, os.Symlink("../../secret", filepath.Join(in.repo.dir, "addons/acme_lane/x.py")))
		}, `addons/acme_lane/x.py is a link to "../../secret", outside of its module`},
		{"module is a link", func(t *testing.T, in input) {
			good(in)
			require.NoError(t, os.Symlink("acme_lane", filepath.Join(in.repo.dir, "addons/acme_two")))
		}, `addons/acme_two is a link, and a module must not be one`},
		{"submodule", func(t *testing.T, in input) {
			good(in)
			other := newRepo(t)
			other.write("a", "b")
			other.commit("x")
			in.repo.git("-c", "protocol.file.allow=always", "submodule", "-q", "add", other.dir, "addons/oca")
		}, `addons/oca is a Git submodule`},
		{"no module", func(t *testing.T, in input) {
			in.repo.write("addons/readme.md", "x")
		}, `no installable module in addons`},
		{"no folder", func(t *testing.T, in input) {
			in.repo.write("readme.md", "x")
		}, `addons folder "addons" does not exist at commit`},
		{"folder outside", func(t *testing.T, in input) {
			good(in)
			in.options.Addons = []string{"../x"}
		}, `addons folder "../x" is not within the source`},
		{"a module for a folder", func(t *testing.T, in input) {
			good(in)
			in.options.Addons = []string{"addons/acme_lane"}
		}, `addons folder "addons/acme_lane" is itself a module`},
		{"Git LFS", func(t *testing.T, in input) {
			good(in)
			in.repo.write("addons/acme_lane/x.png", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("0", 64)+"\nsize 5\n")
		}, `addons/acme_lane/x.png is kept in Git LFS`},
		{"unknown series", func(t *testing.T, in input) { good(in); in.options.Series = "11.0" }, `series "11.0" is unknown`},
		{"untested series", func(t *testing.T, in input) { good(in); in.options.Series = "17.0" }, `set "experimental: true"`},
		{"series of the base", func(t *testing.T, in input) {
			good(in)
			in.options.Series, in.options.Experimental, in.options.Base = "18.0", true, "odoo:19.0"
		}, `base odoo:19.0 holds Odoo 19.0, and the product is of series 18.0`},
		{"no base", func(t *testing.T, in input) { good(in); in.options.Base = "odoo:nothing" }, `base "odoo:nothing" is not in Waybill's registry`},
		{"base without Odoo", func(t *testing.T, in input) {
			good(in)
			in.options.Base = "rootfs:" + writeRootfs(t, map[string]string{"usr/bin/python3.13": "", "srv/addons/x/__manifest__.py": "{}"})
		}, `base without Odoo: `},
		{"base that is no tar", func(t *testing.T, in input) {
			good(in)
			file := filepath.Join(t.TempDir(), "x.tar")
			require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("no tar", 500)), 0o644))
			in.options.Base = "rootfs:" + file
		}, `not a tar of a root file system`},
		{"no layout", func(t *testing.T, in input) { good(in); in.options.Base = "oci:" + t.TempDir() }, `is no OCI layout`},
		{"registry refuses", func(t *testing.T, in input) { good(in); in.options.Registry.Password = "wrong" }, `check the registry's user and password`},
		{"registry away", func(t *testing.T, in input) {
			good(in)
			in.options.Base = "rootfs:" + writeRootfs(t, fakeBase)
			in.options.Registry.Host = "127.0.0.1:1"
		}, `no registry answers there`},
		{"bad name", func(t *testing.T, in input) { good(in); in.options.Name = "a b" }, `release name "a b"`},
		{"no commit of that name", func(t *testing.T, in input) { good(in); in.options.Commit = "v9" }, `there is no commit "v9"`},
		{"an option for a commit", func(t *testing.T, in input) { good(in); in.options.Commit = "--all" }, `"--all" is no commit`},
		{"no repository", func(t *testing.T, in input) { good(in); in.options.Source = t.TempDir() }, `is no Git repository that can be read`},
	}
	b := setup(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			options := b.options
			r := newRepo(t)
			options.Source = r.dir
			c.change(t, input{r, &options, b})
			r.commit("x")
			_, err := Build(t.Context(), options)
			require.ErrorContains(t, err, c.want)
		})
	}
}
