package check

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

var pythonSyntax = Check{
	ID:       "python-syntax",
	Severity: Error,
	Why:      "A file that the base's Python cannot compile stops every worker that loads the module.",
	Needs:    Needs{Python: true},
	Find: func(in *Input) (found []Finding) {
		for _, m := range in.installable() {
			manifest := m.manifestFile(in)
			for _, f := range m.Files {
				if f.Python == nil || f.Python.SyntaxError == "" || f == manifest {
					continue
				}
				parts := strings.Split(strings.TrimPrefix(f.Path, m.Folder+"/"), "/")
				if len(parts) > 2 && (parts[0] == "migrations" || parts[0] == "upgrades") && !in.mayRun(script{version: parts[1]}) {
					continue // written for the Python of an earlier series
				}
				if parts[0] == "static" {
					continue // served as it is, never imported
				}
				found = append(found, m.at(f.Path, f.Python.Line, "correct it; it is compiled with the base's own Python",
					"it does not compile: %s", f.Python.SyntaxError))
			}
		}
		return found
	},
}

var externalDependencyMissing = Check{
	ID:       "external-dependency-missing",
	Severity: Error,
	Why:      "Odoo refuses to install a module whose external_dependencies are not in the image.",
	Needs:    Needs{Base: true},
	Find: func(in *Input) (found []Finding) {
		if in.Base == nil {
			return nil
		}
		for _, m := range in.installable() {
			const fix = "take a base that has it, or take it out of \"external_dependencies\""
			if len(in.Base.Python) > 0 {
				for _, wanted := range m.Manifest.ExternalDependencies["python"] {
					if reason := in.Base.lacks(wanted); reason != "" {
						found = append(found, m.inManifest(in, "external_dependencies", wanted, fix, "Python's %s", reason))
					}
				}
			}
			if len(in.Base.Binaries) > 0 {
				for _, wanted := range m.Manifest.ExternalDependencies["bin"] {
					if !in.Base.Binaries[path.Base(wanted)] {
						found = append(found, m.inManifest(in, "external_dependencies", wanted, fix, "the program %q is not in the base", wanted))
					}
				}
			}
		}
		return found
	},
}

var (
	requirement = regexp.MustCompile(`^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?$`)
	separators  = regexp.MustCompile(`[-_.]+`)
	specifier   = regexp.MustCompile(`^(===|==|!=|>=|<=|~=|<|>)\s*v?(\d+(?:\.\d+)*)(\.\*)?$`)
	released    = regexp.MustCompile(`^v?(?:0!)?(\d+(?:\.\d+)*)(.*)$`)
)

// lacks says why a requirement is not met; empty where it is, or where that cannot be told.
func (b *Base) lacks(wanted string) string {
	match := requirement.FindStringSubmatch(wanted)
	if match == nil || match[3] != "" { // what depends on the platform is not judged
		return ""
	}
	version, ok := b.Python[strings.ToLower(separators.ReplaceAllString(match[1], "-"))]
	if !ok {
		if b.PythonNames[match[1]] || b.PythonNames[strings.SplitN(match[1], ".", 2)[0]] {
			return "" // Odoo takes the name of a module too
		}
		return "package " + match[1] + " is not in the base"
	}
	for part := range strings.SplitSeq(match[2], ",") {
		if part = strings.TrimSpace(part); part != "" && !satisfies(version, part) {
			return "package " + match[1] + " is there as " + version + ", and " + part + " is asked for"
		}
	}
	return ""
}

// satisfies compares release numbers. Where pre-releases, epochs or local versions come in, it
// holds that the version fits: pip decided on that when the base was built.
func satisfies(version, part string) bool {
	want, have := specifier.FindStringSubmatch(part), released.FindStringSubmatch(version)
	if want == nil || have == nil || have[2] != "" {
		return true
	}
	have1, want1 := numbers(have[1]), numbers(want[2])
	if want[3] != "" || want[1] == "~=" {
		prefix := want1
		if want[1] == "~=" {
			prefix = want1[:max(len(want1)-1, 1)]
		}
		for len(have1) < len(prefix) {
			have1 = append(have1, 0)
		}
		same := slices.Equal(have1[:len(prefix)], prefix)
		switch want[1] {
		case "~=":
			return same && compareVersions(have[1], want[2]) >= 0
		case "!=":
			return !same
		default:
			return same
		}
	}
	order := compareVersions(have[1], want[2])
	switch want[1] {
	case "==", "===":
		return order == 0
	case "!=":
		return order != 0
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order < 0
	}
}

var importMissing = Check{
	ID:       "import-missing",
	Severity: Warning,
	Why:      "A module that imports what is not in the image cannot be loaded, and no worker of that database starts.",
	Needs:    Needs{Base: true, Python: true},
	Find: func(in *Input) (found []Finding) {
		if in.Base == nil || len(in.Base.PythonNames) == 0 {
			return nil
		}
		for _, m := range in.installable() {
			if slices.ContainsFunc(m.Manifest.ExternalDependencies["python"], func(wanted string) bool { return in.Base.lacks(wanted) != "" }) {
				continue // said already, and better
			}
			for _, f := range m.Files {
				if f.Python == nil || !loadable(m, f) {
					continue
				}
				seen := map[string]bool{"odoo": true, "openerp": true}
				for _, imported := range f.Python.Imports {
					if imported.Optional || in.Base.PythonNames[imported.Name] || seen[imported.Name] {
						continue
					}
					seen[imported.Name] = true
					found = append(found, m.at(f.Path, imported.Line,
						"take a base that has it, or import it where it is used and do without it",
						"it imports %q, which is not in the base", imported.Name))
				}
			}
		}
		return found
	},
}
