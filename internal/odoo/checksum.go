package odoo

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Names of the parameters in ir_config_parameter that Waybill shares with click-odoo-contrib, so
// that people can move from one to the other, and back, without updating everything.
const (
	ChecksumsParameter = "module_auto_update.installed_checksums"
	ExcludeParameter   = "module_auto_update.exclude_patterns"
)

// DefaultExclude is what does not count as a change of a module where a database says nothing else.
var DefaultExclude = []string{"*.pyc", "*.pyo", "i18n/*.pot", "i18n_extra/*.pot", "static/*", "tests/*"}

// ChecksumRule says which files of a module count. The zero value is Waybill's own rule:
// DefaultExclude, and translations into every language.
type ChecksumRule struct {
	Exclude   []string `json:"exclude"`   // shell patterns on the path within the module; nil: DefaultExclude
	Languages []string `json:"languages"` // codes like "fr_BE": only their .po files count; empty: all do
}

// File is one file of a module.
type File struct {
	Path string // within the module, with slashes
	Open func() (io.ReadCloser, error)
}

// Checksum is the hexadecimal SHA-1 of a module's files as click-odoo-contrib computes it
// (addon_hash): over path and content of each file, a folder's files before its subfolders, both
// in the order of their names.
func Checksum(files []File, rule ChecksumRule) (string, error) {
	sorted := make([]File, 0, len(files))
	for _, f := range files {
		if rule.Counts(f.Path) {
			sorted = append(sorted, f)
		}
	}
	slices.SortFunc(sorted, func(a, b File) int { return walkOrder(a.Path, b.Path) })
	h := sha1.New()
	for _, f := range sorted {
		io.WriteString(h, f.Path)
		if err := copyFile(h, f); err != nil {
			return "", fmt.Errorf("checksum: %s: %w", f.Path, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func copyFile(w io.Writer, f File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// walkOrder is that of os.walk with sorted names: within one folder, files before subfolders.
func walkOrder(a, b string) int {
	for {
		headA, restA, deeperA := strings.Cut(a, "/")
		headB, restB, deeperB := strings.Cut(b, "/")
		switch {
		case deeperA != deeperB:
			if deeperA {
				return 1
			}
			return -1
		case headA != headB || !deeperA:
			return cmp.Compare(headA, headB)
		}
		a, b = restA, restB
	}
}

// Counts says whether the file of that path within a module is part of its checksum.
func (r ChecksumRule) Counts(path string) bool {
	exclude := r.Exclude
	if exclude == nil {
		exclude = DefaultExclude
	}
	for _, pattern := range exclude {
		if fnmatch(pattern, path) {
			return false
		}
	}
	if len(r.Languages) == 0 {
		return true
	}
	folder, name, _ := strings.Cut(path, "/")
	if folder != "i18n" && folder != "i18n_extra" || strings.Contains(name, "/") {
		return true
	}
	// ".po" alone has no extension for Python.
	base, isTranslation := strings.CutSuffix(name, ".po")
	if !isTranslation || strings.Trim(base, ".") == "" {
		return true
	}
	language, _, _ := strings.Cut(base, "_")
	for _, keep := range r.Languages {
		if keep, _, _ = strings.Cut(keep, "_"); keep == language {
			return true
		}
	}
	return false
}

// fnmatch is Python's fnmatch.fnmatchcase: '*' and '?' match a slash too.
func fnmatch(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		if i < len(p) && p[i] == '*' {
			star, mark = i, j
			i++
			continue
		}
		if i < len(p) {
			if width, ok := matchOne(p[i:], n[j]); ok {
				i += width
				j++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// matchOne matches one character against the head of a pattern and returns the head's length.
func matchOne(p []rune, c rune) (int, bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		i := 1
		negated := i < len(p) && p[i] == '!'
		if negated {
			i++
		}
		start, found := i, false
		for ; i < len(p); i++ {
			if p[i] == ']' && i > start {
				return i + 1, found != negated
			}
			if i+2 < len(p) && p[i+1] == '-' && p[i+2] != ']' {
				found = found || p[i] <= c && c <= p[i+2]
				i += 2
				continue
			}
			found = found || p[i] == c
		}
		return 1, c == '[' // no closing bracket: the character itself
	default:
		return 1, p[0] == c
	}
}
