package odoo

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module has a file for every rule that click-odoo-contrib's addon_hash has.
var module = map[string]string{
	"__init__.py": "x", "b.txt": "y", "i18n/fr.po": "fr", "i18n/fr_BE.po": "frbe", "i18n/de.po": "de", "i18n/m.pot": "pot",
	"i18n_extra/nl_NL.po": "nl", "static/src/a.js": "s", "tests/test.py": "t", "models/model.py": "m", "models/model.pyc": "m",
	"models/sub/z.py": "u", "data/é.xml": "e", "data/empty.xml": "", "a/q.py": "q", "a.py": "q", "i18n/deep/de.po": "d",
	"i18n/.po": "p", "models/tests.py": "at", "README.rst": "R",
}

func filesFrom(contents map[string]string) []File {
	var files []File
	for path, content := range contents {
		files = append(files, File{Path: path, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }})
	}
	return files
}

// The sums were computed by click-odoo-contrib 1.22's addon_hash over the same files.
func TestChecksumIsClickOdooContribs(t *testing.T) {
	for want, rule := range map[string]ChecksumRule{
		"45759388eac0d9a309a17c808c448617d97efe60": {},
		"b6a49304465ee741e563dd1899228e2f8a2df10e": {Languages: []string{"en_US"}},
		"499b56a15c9b416191fe5c9a77ce95a31ff759f6": {Languages: []string{"fr_BE", "nl"}},
		"25941545a7bd2c65df08c4801d7b382274e3fe2c": {Exclude: []string{}},
		"4a8710d97e4f555d09c07b9f202eb73bd0b64372": {Exclude: []string{"*/__pycache__/*", "[m-z]*", "data/?.xml", "[!a]*"}},
		"518ea6788071c61ca6d2e8711886965940d446a4": {Exclude: []string{"*.py", "*[0-9"}, Languages: []string{"de_DE"}},
	} {
		got, err := Checksum(filesFrom(module), rule)
		require.NoError(t, err)
		require.Equal(t, want, got, "%+v", rule)
	}
}

func TestChecksumChangesWithNameAndContent(t *testing.T) {
	sum := func(contents map[string]string) string {
		s, err := Checksum(filesFrom(contents), ChecksumRule{})
		require.NoError(t, err)
		return s
	}
	require.NotEqual(t, sum(map[string]string{"a.py": ""}), sum(map[string]string{"b.py": ""}))
	require.NotEqual(t, sum(map[string]string{"a.py": "1"}), sum(map[string]string{"a.py": "2"}))
	require.Equal(t, sum(map[string]string{"a.py": "1", "static/a": "1"}), sum(map[string]string{"a.py": "1", "static/a": "2"}))
}

// TestChecksumsOfARealOdoo compares with sums that click-odoo-contrib made of the same folder, when
// WAYBILL_TEST_CLICK_SUMS names a JSON file {"languages": {"module": "sha1"}} beside
// WAYBILL_TEST_ADDONS. It is an extra: the vectors above pin the algorithm.
func TestChecksumsOfARealOdoo(t *testing.T) {
	file, root := os.Getenv("WAYBILL_TEST_CLICK_SUMS"), os.Getenv("WAYBILL_TEST_ADDONS")
	if file == "" || root == "" {
		file, root = "testdata/click_sums.json", "testdata/addons"
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var want map[string]map[string]string
	require.NoError(t, json.Unmarshal(content, &want))
	compared := 0
	for languages, sums := range want {
		var rule ChecksumRule
		if languages != "" {
			rule.Languages = strings.Split(languages, ",")
		}
		for name, sum := range sums {
			var files []File
			dir := filepath.Join(root, name)
			require.NoError(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				files = append(files, File{Path: strings.TrimPrefix(p, dir+"/"), Open: func() (io.ReadCloser, error) { return os.Open(p) }})
				return nil
			}))
			got, err := Checksum(files, rule)
			require.NoError(t, err)
			require.Equal(t, sum, got, "%s %q", name, languages)
			compared++
		}
	}
	require.NotZero(t, compared)
	t.Logf("%d modules compared", compared)
}

func TestWalkOrder(t *testing.T) {
	paths := []string{"b/a", "a/b/c", "a/z", "z", "a/b/a", "a-b/c", "A"}
	slices.SortFunc(paths, walkOrder)
	require.Equal(t, []string{"A", "z", "a/z", "a/b/a", "a/b/c", "a-b/c", "b/a"}, []string{paths[0], paths[1], paths[2], paths[3], paths[4], paths[5], paths[6]})
}
