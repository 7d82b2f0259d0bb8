package check

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// assetPath is one path of the manifest's "assets".
type assetPath struct {
	bundle    string
	written   string
	directive string // "" appends
	target    bool   // it says where, and not what
	line      int
}

// assetExtensions are of the files that Odoo takes from a pattern.
var assetExtensions = []string{".js", ".css", ".scss", ".sass", ".less", ".xml"}

// assets lists the paths of a module's bundles, and what of them Odoo would not understand.
func (m *Module) assets(in *Input) (paths []assetPath, wrong []Finding) {
	for _, item := range m.Manifest.Assets.Items() {
		bundle, _ := item.Key.(string)
		var commands []odoo.Value
		switch v := item.Value.(type) {
		case odoo.List:
			commands = v
		case odoo.Tuple:
			commands = v
		}
		for _, command := range commands {
			if s, ok := command.(string); ok {
				paths = append(paths, assetPath{bundle: bundle, written: s, line: item.Line})
				continue
			}
			parts := stringsOf(command)
			switch {
			case len(parts) == 2 && parts[0] == "include":
			case len(parts) == 2 && slices.Contains([]string{"append", "prepend", "remove"}, parts[0]):
				paths = append(paths, assetPath{bundle: bundle, written: parts[1], directive: parts[0], line: item.Line})
			case len(parts) == 3 && slices.Contains([]string{"after", "before", "replace"}, parts[0]):
				paths = append(paths,
					assetPath{bundle: bundle, written: parts[1], directive: parts[0], target: true, line: item.Line},
					assetPath{bundle: bundle, written: parts[2], directive: parts[0], line: item.Line})
			default:
				wrong = append(wrong, m.inManifest(in, "assets", bundle,
					"write a path, or a tuple such as (\"remove\", path) or (\"after\", target, path)",
					"the bundle %q holds %s, which is no path and no directive", bundle, brief(command)))
			}
		}
	}
	return paths, wrong
}

func brief(v odoo.Value) string {
	s := fmt.Sprintf("%q", stringsOf(v))
	if len(s) > 80 {
		s = s[:77] + "…"
	}
	return s
}

// resolve finds the files of an asset path. It is unknown where the path is no file of the
// product's modules.
func (a assetPath) resolve(d *dataIndex) (owner *Module, files []*File, known bool) {
	if strings.Contains(a.written, "://") || strings.HasPrefix(a.written, "//") || strings.HasPrefix(a.written, "/web/content") {
		return nil, nil, false
	}
	written := strings.TrimLeft(strings.ReplaceAll(a.written, "\\", "/"), "/")
	name, _, ok := strings.Cut(written, "/")
	owner = d.byName[name]
	if !ok || owner == nil {
		return nil, nil, false
	}
	full := path.Join(path.Dir(owner.Folder), written)
	static := owner.Folder + "/static/"
	if !strings.HasPrefix(full, static) {
		return owner, nil, true
	}
	if !isPattern(full) {
		if f := d.files[full]; f != nil {
			return owner, []*File{f}, true
		}
		return owner, nil, !owner.behindLink(full)
	}
	fixed, _, _ := strings.Cut(full, "*")
	if i := strings.IndexAny(fixed, "?["); i >= 0 {
		fixed = fixed[:i]
	}
	pattern := strings.Split(full, "/")
	for _, f := range owner.Files {
		if f.Link != "" && strings.HasPrefix(f.Path, static) && path.Ext(f.Path) == "" {
			return owner, nil, false // perhaps a folder, whose files the pattern takes too
		}
		if strings.HasPrefix(f.Path, fixed) && slices.Contains(assetExtensions, path.Ext(f.Path)) && matchPath(pattern, strings.Split(f.Path, "/")) {
			files = append(files, f)
		}
	}
	return owner, files, true
}

func isPattern(name string) bool { return strings.ContainsAny(name, "*?[]") }

// matchPath is Python's glob with recursive=True: "**" stands for any number of folders.
func matchPath(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for len(pattern) > 1 && pattern[1] == "**" {
				pattern = pattern[1:]
			}
			if len(pattern) == 1 {
				return len(name) > 0
			}
			for i := range name {
				if matchPath(pattern[1:], name[i:]) {
					return true
				}
				if strings.HasPrefix(name[i], ".") {
					return false
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if strings.HasPrefix(name[0], ".") && !strings.HasPrefix(pattern[0], ".") {
			return false
		}
		if ok, err := path.Match(strings.ReplaceAll(pattern[0], "[!", "[^"), name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

var assetFileMissing = Check{
	ID:       "asset-file-missing",
	Severity: Error,
	Why:      "The browser gets a bundle that lacks the file, or none at all: the web client stays blank or misbehaves.",
	Find: func(in *Input) (found []Finding) {
		d := in.index()
		for _, m := range in.installable() {
			paths, wrong := m.assets(in)
			found = append(found, wrong...)
			for _, a := range paths {
				owner, files, known := a.resolve(d)
				if !known || len(files) > 0 || d.urls[strings.Trim(a.written, "/")] {
					continue
				}
				finding := m.inManifest(in, "assets", a.written, "correct the path, add the file to the repository, or take it out",
					"the bundle %q names %q, which is not there", a.bundle, a.written)
				full := path.Join(path.Dir(owner.Folder), strings.TrimLeft(a.written, "/"))
				switch {
				case !strings.HasPrefix(full, owner.Folder+"/static/"):
					finding.Message = fmt.Sprintf("the bundle %q names %q, which is not below static/: Odoo serves nothing else", a.bundle, a.written)
					if isPattern(a.written) {
						finding.Severity = Warning
					}
				case !isPattern(a.written) && !slices.Contains(assetExtensions, path.Ext(a.written)):
					finding.Severity = Warning
					finding.Message = fmt.Sprintf("the bundle %q names %q, which is no script, style or template", a.bundle, a.written)
				case isPattern(a.written):
					finding.Severity = Warning
					finding.Message = fmt.Sprintf("the bundle %q names %q, and no file matches", a.bundle, a.written)
				default:
					if near := owner.otherCase(full); near != "" {
						finding.Message += "; there is " + near
					}
				}
				found = append(found, finding)
			}
		}
		return found
	},
}

// assetTemplates are the XML files of a module's own bundles.
func (in *Input) assetTemplates(m *Module) []*File {
	d := in.index()
	paths, _ := m.assets(in)
	var list []*File
	seen := map[*File]bool{}
	for _, a := range paths {
		if a.directive == "remove" || a.target || !mayMatchXML(a.written) {
			continue
		}
		owner, files, _ := a.resolve(d)
		for _, f := range files {
			if owner == m && path.Ext(f.Path) == ".xml" && !seen[f] {
				seen[f] = true
				list = append(list, f)
			}
		}
	}
	return list
}

// mayMatchXML saves looking for the files of patterns such as "…/*.js".
func mayMatchXML(written string) bool {
	ext := path.Ext(written)
	return ext == ".xml" || strings.ContainsAny(ext, "*?[") || ext == ""
}
