package check

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// script is one file below a module's migrations.
type script struct {
	module  *Module
	file    *File
	version string // the folder's name
	name    string // the file's
	valid   bool   // Odoo takes the folder's name for a version
}

// migrationVersion is what Odoo takes for a version: two or three numbers, after a series or not.
var migrationVersion = regexp.MustCompile(`^(?:(?:6\.1|[6-9]\.0|[1-9]\d+\.0|(?:7|8|9|10)\.saas~[1-9]\d*|saas~(?:1[1-9]|[2-9]\d+)\.[1-9])\.)?\d+\.\d+(?:\.\d+)?$`)

// scripts are the Python files right below a folder of migrations/ or upgrades/.
func (in *Input) scripts() []script {
	var list []script
	for _, m := range in.installable() {
		for _, f := range m.Files {
			parts := strings.Split(strings.TrimPrefix(f.Path, m.Folder+"/"), "/")
			if len(parts) != 3 || parts[0] != "migrations" && parts[0] != "upgrades" || parts[1] == "tests" || parts[1] == "__pycache__" {
				continue
			}
			if !strings.EqualFold(path.Ext(parts[2]), ".py") {
				continue
			}
			list = append(list, script{m, f, parts[1], parts[2], migrationVersion.MatchString(parts[1])})
		}
	}
	return list
}

// stage is "pre", "post" or "end", and empty for what Odoo does not run.
func (s script) stage() string {
	for _, stage := range []string{"pre", "post", "end"} {
		if strings.HasPrefix(s.name, stage+"-") && strings.HasSuffix(s.name, ".py") {
			return stage
		}
	}
	return ""
}

// function returns a function of the script's top level.
func (s script) function(name string) (PythonFunction, bool) {
	if s.file.Python == nil {
		return PythonFunction{}, false
	}
	i := slices.IndexFunc(s.file.Python.Functions, func(f PythonFunction) bool { return f.Name == name })
	if i < 0 {
		return PythonFunction{}, false
	}
	return s.file.Python.Functions[i], true
}

var migrationMisnamed = Check{
	ID:       "migration-misnamed",
	Severity: Error,
	Why:      "Odoo passes over a migration script whose name or folder it does not understand.",
	Find: func(in *Input) (found []Finding) {
		folders := map[string]bool{}
		for _, s := range in.scripts() {
			_, migrates := s.function("migrate")
			looks := looksLikeScript.MatchString(s.name) || migrates
			switch {
			case !s.valid && (s.stage() != "" || looks):
				folder := path.Dir(s.file.Path)
				if !folders[folder] {
					folders[folder] = true
					found = append(found, s.module.at(folder, 0, "name the folder after the module's version, such as "+in.Series.Series+".1.1.0",
						"%q is no version: Odoo runs none of its scripts", s.version))
				}
			case s.valid && s.stage() == "" && looks && s.name != "__init__.py":
				found = append(found, s.module.at(s.file.Path, 0, "begin the name with pre-, post- or end-",
					"Odoo does not run %q: the name begins with none of pre-, post-, end-", s.name))
			}
		}
		return found
	},
}

// looksLikeScript matches names that mean a stage and miss its spelling.
var looksLikeScript = regexp.MustCompile(`(?i)^(?:pre|post|end)(?:[-_ ].*|migrat\w*|)\.py$`)

var migrationAboveVersion = Check{
	ID:       "migration-above-version",
	Severity: Error,
	Why:      "Odoo runs scripts up to the manifest's version: this one stays behind, and runs with a later release or never.",
	Find: func(in *Input) (found []Finding) {
		for _, s := range in.scripts() {
			if !s.valid || s.stage() == "" || s.version == "0.0.0" || s.module.Version == "" || strings.Contains(s.version, "saas~") {
				continue
			}
			version := s.version
			if strings.Count(version, ".") <= 2 {
				version = in.Series.Series + "." + version
			}
			if compareVersions(version, s.module.Version) > 0 {
				found = append(found, s.module.at(s.file.Path, 0, "raise the manifest's version to "+version+", or rename the folder",
					"the script is for version %s, and the manifest says %s", s.version, s.module.Version))
			}
		}
		return found
	},
}

var migrationWithoutMigrate = Check{
	ID:       "migration-without-migrate",
	Severity: Error,
	Why:      "Odoo stops the update at a migration script without a function migrate(cr, version).",
	Needs:    Needs{Python: true},
	Find: func(in *Input) (found []Finding) {
		for _, s := range in.scripts() {
			python := s.file.Python
			if !s.valid || s.stage() == "" || python == nil || python.SyntaxError != "" || !in.mayRun(s) {
				continue
			}
			const fix = "define migrate(cr, version) at the file's top level"
			migrate, ok := s.function("migrate")
			switch {
			case slices.Contains(python.Names, "migrate") || slices.Contains(python.Names, "*"):
			case !ok:
				found = append(found, s.module.at(s.file.Path, 0, fix, "the script has no function migrate"))
			case !migrate.Decorated && !goodArguments(migrate.Args):
				found = append(found, s.module.at(s.file.Path, migrate.Line, fix,
					"migrate takes (%s); Odoo calls it with (cr, version), and by these names", strings.Join(migrate.Args, ", ")))
			}
		}
		return found
	},
}

func goodArguments(args []string) bool {
	return len(args) == 2 && strings.TrimPrefix(args[0], "_") == "cr" && strings.TrimPrefix(args[1], "_") == "version"
}

// mayRun says whether the script is of this series: what is left of earlier ones never runs again.
func (in *Input) mayRun(s script) bool {
	if strings.Contains(s.version, "saas~") {
		return false
	}
	return strings.Count(s.version, ".") <= 2 || strings.HasPrefix(s.version, in.Series.Series+".")
}

var scriptCommits = Check{
	ID:       "script-commits",
	Severity: Warning,
	Why:      "What a script commits by itself stays, even where the update fails and everything else is taken back.",
	Needs:    Needs{Python: true},
	Find: func(in *Input) (found []Finding) {
		report := func(m *Module, f *File, what string, from, to int) {
			for _, line := range f.Python.Commits {
				if line >= from && (to == 0 || line <= to) {
					found = append(found, m.at(f.Path, line, "leave the transaction to Odoo; for much data, work in batches without a commit",
						"%s commits or rolls back by itself", what))
				}
			}
		}
		for _, m := range in.installable() {
			hooks := map[string]bool{}
			for _, key := range []string{"pre_init_hook", "post_init_hook", "uninstall_hook"} {
				if name, ok := m.Manifest.Values.Get(key); ok {
					if name, ok := name.(string); ok && name != "" {
						hooks[name] = true
					}
				}
			}
			for _, f := range m.Files {
				if f.Python == nil {
					continue
				}
				top, rest, _ := strings.Cut(strings.TrimPrefix(f.Path, m.Folder+"/"), "/")
				if (top == "migrations" || top == "upgrades") && !strings.HasPrefix(rest, "tests/") {
					if version, _, ok := strings.Cut(rest, "/"); !ok || in.mayRun(script{version: version}) {
						report(m, f, "the script", 0, 0)
					}
					continue
				}
				for _, function := range f.Python.Functions {
					if hooks[function.Name] && function.End > 0 {
						report(m, f, "the hook "+strconv.Quote(function.Name), function.Line, function.End)
					}
				}
			}
		}
		return found
	},
}
