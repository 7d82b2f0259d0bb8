package vuln

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"
)

// version is a version that was understood, in the order of its ecosystem. Only versions of one
// ecosystem are compared with each other.
type version interface{ compare(version) int }

// order reads versions of an ecosystem. An error means: this is no version there.
type order func(string) (version, error)

// orderOf is how the versions of an ecosystem ("Debian", "PyPI", …) are ordered; nil: not known here.
func orderOf(ecosystem string) order {
	switch ecosystem {
	case Debian, Ubuntu:
		return parseDebian
	case PyPI:
		return parsePython
	case Odoo:
		return parseModule
	}
	return nil
}

// debianVersion is epoch, upstream version and revision of a Debian package.
type debianVersion struct{ epoch, upstream, revision string }

// parseDebian takes what dpkg takes. It is our own: the library at hand keeps numbers in 63 bits, and
// refuses versions that do not begin with a digit, which dpkg compares; both would hide a vulnerability
// or invent one.
func parseDebian(s string) (version, error) {
	v := debianVersion{upstream: strings.TrimSpace(s)}
	if epoch, rest, ok := strings.Cut(v.upstream, ":"); ok {
		if epoch == "" || strings.Trim(epoch, "0123456789") != "" {
			return nil, fmt.Errorf("version %q: the epoch is no number", s)
		}
		v.epoch, v.upstream = epoch, rest
	}
	if i := strings.LastIndexByte(v.upstream, '-'); i >= 0 {
		v.upstream, v.revision = v.upstream[:i], v.upstream[i+1:]
		if v.revision == "" {
			return nil, fmt.Errorf("version %q: the revision is empty", s)
		}
	}
	if v.upstream == "" {
		return nil, fmt.Errorf("version %q is empty", s)
	}
	for _, c := range []byte(v.upstream + v.revision) {
		if !isDigit(c) && !isLetter(c) && !strings.ContainsRune(".+-:~_", rune(c)) {
			return nil, fmt.Errorf("version %q: %q is not possible in it", s, c)
		}
	}
	return v, nil
}

func (v debianVersion) compare(other version) int {
	o := other.(debianVersion)
	return cmp.Or(compareNumbers(v.epoch, o.epoch), compareParts(v.upstream, o.upstream), compareParts(v.revision, o.revision))
}

// compareParts goes by turns over what is no digit and what are digits (deb-version(7)): "~" sorts
// before everything, the end included, letters before other characters, digits by value.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if c := cmp.Compare(weight(a), weight(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // equal weights: neither is at its digits or its end
		}
		var x, y string
		x, a = digits(a)
		y, b = digits(b)
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// weight is the place of the first character in the order of characters.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

func digits(s string) (number, rest string) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// compareNumbers compares digits by value, however many there are.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

type pythonVersion struct{ pep440.Version }

func parsePython(s string) (version, error) {
	v, err := pep440.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("version %q: %w", s, err)
	}
	return pythonVersion{v}, nil
}

func (v pythonVersion) compare(other version) int { return v.Compare(other.(pythonVersion).Version) }

// moduleVersion is a module's: numbers with dots between.
type moduleVersion string

func parseModule(s string) (version, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return nil, errors.New("version " + s + " of a module is not made of numbers and dots")
	}
	return moduleVersion(s), nil
}

func (v moduleVersion) compare(other version) int {
	a, b := strings.Split(string(v), "."), strings.Split(string(other.(moduleVersion)), ".")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}
