package check

import (
	"errors"
	"strings"

	"github.com/waybill-dev/waybill/internal/odoo"
)

var manifestUnreadable = Check{
	ID:       "manifest-unreadable",
	Severity: Error,
	Why:      "Odoo leaves out a module whose manifest it cannot read, and says so only in its log.",
	Find: func(in *Input) (found []Finding) {
		for _, m := range in.Modules {
			if m.Manifest != nil {
				continue
			}
			const fix = "the manifest is one Python dictionary of literals, without code, in UTF-8"
			file := m.manifestFile(in)
			if file == nil {
				found = append(found, m.at(m.Folder, 0, "add a manifest, or take the folder out", "it has no manifest"))
				continue
			}
			line, reason := 0, "it was not read"
			var syntax *odoo.SyntaxError
			switch {
			case errors.As(m.ManifestErr, &syntax):
				line, reason = syntax.Line, syntax.Reason
			case m.ManifestErr != nil:
				reason = m.ManifestErr.Error()
			}
			found = append(found, m.at(file.Path, line, fix, "the manifest cannot be read: %s", reason))
		}
		return found
	},
}

var manifestKeyMissing = Check{
	ID:       "manifest-key-missing",
	Severity: Warning,
	Why:      "Odoo guesses a license and an author, and a module without a name is not found in the list of apps.",
	Find: func(in *Input) (found []Finding) {
		for _, m := range in.installable() {
			for _, key := range []string{"name", "author", "license"} {
				value, ok := m.Manifest.Values.Get(key)
				if ok && !empty(value) || key == "author" && hasOther(m, "contributors", "maintainer") {
					continue
				}
				found = append(found, m.inManifest(in, key, "", "add the key \""+key+"\"", "the manifest does not say %q", key))
			}
		}
		return found
	},
}

func empty(v odoo.Value) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case odoo.List:
		return len(v) == 0
	case odoo.Tuple:
		return len(v) == 0
	case bool:
		return !v
	}
	return false
}

func hasOther(m *Module, keys ...string) bool {
	for _, key := range keys {
		if value, ok := m.Manifest.Values.Get(key); ok && !empty(value) {
			return true
		}
	}
	return false
}
