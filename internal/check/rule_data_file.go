package check

import (
	"path"
	"slices"
	"strings"
)

var dataFileMissing = Check{
	ID:       "data-file-missing",
	Severity: Error,
	Why:      "Odoo stops at a data file that is not there, or whose kind it cannot load.",
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			for _, f := range d.modules[m].files {
				var finding Finding
				switch ext := path.Ext(f.name); {
				case f.file != nil && !slices.Contains([]string{".xml", ".csv", ".sql", ".js"}, strings.ToLower(ext)):
					finding = m.inManifest(in, f.key, f.name, "take it out; Odoo loads .xml, .csv and .sql", "%q under %q is of a kind that Odoo does not load", f.name, f.key)
				case f.file == nil && within(m.Folder, f.path) && !m.behindLink(f.path):
					message := "%q under %q is not there"
					if near := m.otherCase(f.path); near != "" {
						message += "; there is " + near
					}
					finding = m.inManifest(in, f.key, f.name, "correct the path, add the file to the repository, or take it out of the manifest", message, f.name, f.key)
				default:
					continue
				}
				if f.demo { // Odoo goes on without demo data
					finding.Severity = Warning
				}
				found = append(found, finding)
			}
			for _, use := range d.modules[m].fileUses {
				owner, _, _ := strings.Cut(use.name, "/")
				other := d.byName[owner]
				if other == nil {
					continue
				}
				target := path.Join(path.Dir(other.Folder), use.name)
				if d.files[target] == nil && within(other.Folder, target) && !other.behindLink(target) {
					finding := use.finding(m, "correct the path, or add the file to the repository", "the file %q is not there", use.name)
					if use.file.demo {
						finding.Severity = Warning
					}
					found = append(found, finding)
				}
			}
		}
		return found
	},
}

// behindLink says whether a path leads through a link: what lies there is not known.
func (m *Module) behindLink(name string) bool {
	return slices.ContainsFunc(m.Files, func(f *File) bool {
		return f.Link != "" && strings.HasPrefix(name, f.Path+"/")
	})
}

// maxLooked bounds the modules in which a file of nearly the same name is looked for.
const maxLooked = 20_000 // files

// otherCase finds a file whose name differs in capitals only.
func (m *Module) otherCase(name string) string {
	if len(m.Files) > maxLooked {
		return ""
	}
	for _, f := range m.Files {
		if strings.EqualFold(f.Path, name) {
			return strings.TrimPrefix(f.Path, m.Folder+"/")
		}
	}
	return ""
}

func within(folder, file string) bool {
	return folder == "." || file == folder || strings.HasPrefix(file, folder+"/")
}

var xmlMalformed = Check{
	ID:       "xml-malformed",
	Severity: Error,
	Why:      "Odoo stops at a data file that it cannot read; a template of the web client that is broken leaves users a blank page.",
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			seen := map[string]bool{}
			for _, f := range d.modules[m].files {
				if f.err != nil && strings.EqualFold(path.Ext(f.name), ".xml") && !seen[f.path] {
					seen[f.path] = true
					found = append(found, f.malformed(m, "it cannot be read as XML: "))
				}
			}
			for _, f := range in.assetTemplates(m) {
				if seen[f.Path] || f.Content == nil {
					continue
				}
				seen[f.Path] = true
				if err := wellFormed(f.Content); err != nil {
					found = append(found, m.at(f.Path, err.line, "correct it", "it cannot be read as XML: %s", err.reason))
				}
			}
		}
		return found
	},
}

var csvMalformed = Check{
	ID:       "csv-malformed",
	Severity: Error,
	Why:      "Odoo stops at a data file that it cannot read.",
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			for _, f := range d.modules[m].files {
				if f.err != nil && strings.EqualFold(path.Ext(f.name), ".csv") {
					found = append(found, f.malformed(m, "it cannot be read as CSV: "))
				}
			}
		}
		return found
	},
}

func (f *dataFile) malformed(m *Module, what string) Finding {
	finding := m.at(f.path, f.err.line, "correct it", "%s%s", what, f.err.reason)
	if f.demo {
		finding.Severity = Warning
	}
	return finding
}
