//go:build odoo

package check_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/check/gather"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// trueFindings are what the checks find in Odoo's own modules, each looked at: the file is not
// there, the package is not in the image, the XML is not XML. Everything else would be false.
var trueFindings = map[string][]string{
	// Debian replaces fonts by links to its own packages.
	"file-escapes": {"*/static/"},
	"asset-file-missing": {
		"mail/__manifest__.py:",              // Debian takes a library without sources out
		"project/__manifest__.py:",           // a folder instead of a file
		"website_mail/__manifest__.py:",      // a file that website has no more
		"test_assetsbundle/__manifest__.py:", // on purpose
	},
	"xml-malformed":               {"test_assetsbundle/static/invalid_src/"}, // on purpose
	"external-dependency-missing": {"account_peppol/", "auth_ldap/", "cloud_storage_google/"},
	"import-missing":              {"base_import/models/odf_ods_reader.py:"}, // imported within a try
	// Four work because auto_install brings the other module; verifactu's is a fault of Odoo's.
	"external-id-not-depended": {
		"google_address_autocomplete/", "l10n_es_edi_verifactu/", "l10n_tr_nilvera/", "mrp_subcontracting_landed_costs/",
	},
	// Private keys that are published on purpose, of test services; a token of a sandbox.
	"secret-in-source": {
		"account_peppol/tools/private_key.pem:", "l10n_it_edi/data/pkey.key:", "l10n_sa_edi/models/account_journal.py:", "website_slides/data/website_data.xml:",
		"*/tests/",
	},
}

// TestOdooIsClean runs every check over the base's own modules as if they were a product's, once
// with the base below and once without anything of it that they define themselves.
func TestOdooIsClean(t *testing.T) {
	reference := os.Getenv("WAYBILL_BASE")
	if reference == "" {
		t.Fatal("WAYBILL_BASE is not set; run: hack/base/build.sh && export WAYBILL_BASE=oci:$(hack/base/build.sh --path)")
	}
	dir := t.TempDir()
	unpackAddons(t, reference, filepath.Join(dir, "addons"))
	in, err := gather.Folder(t.Context(), dir, []string{"addons"}, gather.Options{Series: "19.0", Base: reference, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Modules) < 600 {
		t.Fatalf("%d modules", len(in.Modules))
	}
	t.Run("as a product", func(t *testing.T) { expectTrue(t, in, "module-duplicate") })

	// Each of Odoo's modules as a product's only one: what it needs of the others must be in the base's index.
	t.Run("one by one", func(t *testing.T) {
		for _, m := range in.Modules {
			expectTrue(t, &check.Input{Series: in.Series, Modules: []*check.Module{m}, Base: in.Base, Now: in.Now}, "module-duplicate", "secret-in-source")
		}
	})

	alone := *in.Base
	alone.Modules, alone.ExternalIDs, alone.DemoIDs = nil, "", ""
	alone.Models = map[string]bool{"nothing.of.the.base": true}
	t.Run("sabotaged", func(t *testing.T) { expectSabotage(t, in) })

	t.Run("by themselves", func(t *testing.T) {
		expectTrue(t, &check.Input{Series: in.Series, Modules: in.Modules, Base: &alone, Now: in.Now})
	})
}

func expectTrue(t *testing.T, in *check.Input, without ...string) {
	t.Helper()
	for _, c := range check.Checks() {
		if slices.Contains(without, c.ID) {
			continue
		}
		started := time.Now()
		found := c.Find(in)
		if len(in.Modules) > 1 {
			t.Logf("%s: %d in %s", c.ID, len(found), time.Since(started).Round(time.Millisecond))
		}
		for _, f := range found {
			place := strings.TrimPrefix(f.File, "addons/") + ":"
			if !isTrue(trueFindings[c.ID], place) {
				t.Errorf("%s%d: %s [%s]", place, f.Line, f.Message, c.ID)
			}
		}
	}
}

// expectSabotage changes a few of Odoo's files, each in one way that stops a real installation, and
// wants each found at its place: a check that finds nothing in 630 modules might never find anything.
func expectSabotage(t *testing.T, in *check.Input) {
	t.Helper()
	changes := []struct{ check, file, before, after string }{
		{"external-id-unknown", "addons/stock/views/stock_picking_views.xml", `ref="stock.model_stock_picking"`, `ref="stock.model_stock_pick"`},
		{"external-id-unknown", "addons/sale/views/sale_order_views.xml", `ref="sale.view_order_form"`, `ref="sale.view_order_forms"`},
		{"access-unknown-model", "addons/sale/security/ir.model.access.csv", "model_sale_order_line", "model_sale_order_lines"},
		{"access-unknown-group", "addons/purchase/security/ir.model.access.csv", "group_purchase_user", "group_purchase_usr"},
		{"model-unknown", "addons/mrp/views/mrp_bom_views.xml", `<field name="model">mrp.bom</field>`, `<field name="model">mrp.bomb</field>`},
		{"xml-malformed", "addons/crm/views/crm_lead_views.xml", "</odoo>", "</oddo>"},
		{"data-file-missing", "addons/delivery/__manifest__.py", "views/delivery_carrier_views.xml", "views/delivery_carriers_views.xml"},
		{"external-id-too-early", "addons/event/__manifest__.py", "'data': [", "'data': ['views/event_menu_views.xml',"},
	}
	broken := &check.Input{Series: in.Series, Base: in.Base, Now: in.Now}
	done := map[string]bool{}
	for _, m := range in.Modules {
		changed := *m
		changed.Files = nil
		for _, f := range m.Files {
			for _, c := range changes {
				if c.file != f.Path || !strings.Contains(string(f.Content), c.before) {
					continue
				}
				file := *f
				file.Content = []byte(strings.Replace(string(f.Content), c.before, c.after, 1))
				f, done[c.before] = &file, true
				if manifest, err := odoo.ParseManifest(file.Content); strings.HasSuffix(c.file, "__manifest__.py") {
					if err != nil {
						t.Fatal(err)
					}
					changed.Manifest = &manifest
				}
			}
			changed.Files = append(changed.Files, f)
		}
		broken.Modules = append(broken.Modules, &changed)
	}
	found := map[string][]check.Finding{}
	for _, c := range check.Checks() {
		if c.ID != "secret-in-source" {
			found[c.ID] = c.Find(broken)
		}
	}
	for _, c := range changes {
		if !done[c.before] {
			t.Errorf("%s does not hold %q any more", c.file, c.before)
			continue
		}
		if !slices.ContainsFunc(found[c.check], func(f check.Finding) bool {
			return f.File == c.file || c.check == "external-id-too-early" && path.Dir(path.Dir(f.File)) == path.Dir(c.file)
		}) {
			t.Errorf("%s: %q instead of %q was not found by %s", c.file, c.after, c.before, c.check)
		}
	}
}

func isTrue(known []string, place string) bool {
	for _, k := range known {
		rest, anywhere := strings.CutPrefix(k, "*")
		if anywhere && strings.Contains(place, rest) || !anywhere && strings.HasPrefix(place, k) {
			return true
		}
	}
	return false
}

// unpackAddons writes the base's modules into a folder, but for their translations.
func unpackAddons(t *testing.T, reference, into string) {
	t.Helper()
	img, err := build.OpenBase(t.Context(), reference, "", "", build.Registry{})
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(img)
	defer files.Close()
	const from = "usr/lib/python3/dist-packages/odoo/addons/"
	for archive := tar.NewReader(files); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		inside, ok := strings.CutPrefix(strings.TrimPrefix(header.Name, "./"), from)
		if !ok || path.Ext(inside) == ".po" || path.Ext(inside) == ".pyc" {
			continue
		}
		if err := unpack(archive, header, filepath.Join(into, filepath.FromSlash(inside))); err != nil {
			t.Fatal(err)
		}
	}
}

func unpack(content io.Reader, header *tar.Header, file string) error {
	if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeSymlink {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if header.Typeflag == tar.TypeSymlink {
		return os.Symlink(header.Linkname, file)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, header.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}
