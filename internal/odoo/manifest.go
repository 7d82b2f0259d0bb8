package odoo

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Manifest is what a module says of itself in __manifest__.py.
type Manifest struct {
	Name                 string
	Version              string   // as written; empty where there is none. See SeriesInfo.AdaptVersion
	Depends              []string // never empty: Odoo adds "base" where nothing is said
	AutoInstall          bool
	AutoInstallWith      []string // modules that together pull it in; all of Depends where AutoInstall is plainly True
	Installable          bool
	ExternalDependencies map[string][]string // "python", "bin", … with version specifiers as written
	Data                 []string
	Assets               *Dict // bundle name → list; nil where there is none
	Values               *Dict // everything, as written

	lines map[string]int
}

// Line returns the line of a key, from 1; 1 where the key is absent.
func (m Manifest) Line(key string) int {
	if line, ok := m.lines[key]; ok {
		return line
	}
	return 1
}

// ParseManifest reads a manifest without running it. It is as tolerant as Odoo is: what Odoo does
// not look at is not checked. Errors are *SyntaxError.
func ParseManifest(source []byte) (Manifest, error) {
	value, err := ParseLiteral(source)
	if err != nil {
		return Manifest{}, err
	}
	dict, ok := value.(*Dict)
	if !ok {
		return Manifest{}, &SyntaxError{1, 1, fmt.Sprintf("a manifest is a dictionary; this is a %s", typeName(value))}
	}
	m := Manifest{Values: dict, Installable: true, lines: map[string]int{}}
	for _, item := range dict.Items() {
		if key, ok := item.Key.(string); ok {
			m.lines[key] = item.Line
		}
	}
	wrong := func(key, format string, args ...any) error {
		return &SyntaxError{m.Line(key), 1, fmt.Sprintf("%q %s", key, fmt.Sprintf(format, args...))}
	}

	if v, ok := dict.Get("name"); ok {
		if m.Name, ok = v.(string); !ok {
			return Manifest{}, wrong("name", "is a %s; a string was expected", typeName(v))
		}
	}
	if v, ok := dict.Get("version"); ok {
		switch v := v.(type) {
		case string:
			m.Version = v
		case int64, *big.Int:
			m.Version = fmt.Sprint(v)
		case float64: // Odoo writes it out as Python does
			m.Version = strconv.FormatFloat(v, 'f', -1, 64)
			if !strings.Contains(m.Version, ".") {
				m.Version += ".0"
			}
		default:
			return Manifest{}, wrong("version", "is a %s; a string was expected", typeName(v))
		}
	}
	if m.Depends, err = names(dict, "depends"); err != nil {
		return Manifest{}, wrong("depends", "%v", err)
	}
	if len(m.Depends) == 0 {
		m.Depends = []string{"base"}
	}
	if v, ok := dict.Get("auto_install"); ok {
		if with, err := stringList(v); err == nil {
			m.AutoInstall, m.AutoInstallWith = true, with
			for _, name := range with {
				if !slices.Contains(m.Depends, name) {
					return Manifest{}, wrong("auto_install", "names %q, which is not in \"depends\"", name)
				}
			}
		} else if m.AutoInstall = truth(v); m.AutoInstall {
			m.AutoInstallWith = slices.Clone(m.Depends)
		}
	}
	if v, ok := dict.Get("installable"); ok {
		m.Installable = truth(v)
	}
	if m.Data, err = names(dict, "data"); err != nil {
		return Manifest{}, wrong("data", "%v", err)
	}
	if v, ok := dict.Get("assets"); ok {
		if m.Assets, ok = v.(*Dict); !ok {
			return Manifest{}, wrong("assets", "is a %s; a dictionary was expected", typeName(v))
		}
	}
	if v, ok := dict.Get("external_dependencies"); ok {
		external, ok := v.(*Dict)
		if !ok {
			return Manifest{}, wrong("external_dependencies", "is a %s; a dictionary was expected", typeName(v))
		}
		for _, item := range external.Items() {
			kind, ok := item.Key.(string)
			list, err := stringList(item.Value)
			if !ok || err != nil {
				continue // Odoo's own have further kinds, such as which Debian package holds what
			}
			if m.ExternalDependencies == nil {
				m.ExternalDependencies = map[string][]string{}
			}
			m.ExternalDependencies[kind] = list
		}
	}
	return m, nil
}

func names(dict *Dict, key string) ([]string, error) {
	v, ok := dict.Get(key)
	if !ok || v == nil {
		return nil, nil
	}
	return stringList(v)
}

// stringList takes what Python code iterates over alike.
func stringList(v Value) ([]string, error) {
	var elements []Value
	switch v := v.(type) {
	case List:
		elements = v
	case Tuple:
		elements = v
	case Set:
		elements = v
	default:
		return nil, fmt.Errorf("is a %s; a list of strings was expected", typeName(v))
	}
	list := make([]string, len(elements))
	for i, element := range elements {
		s, ok := element.(string)
		if !ok {
			return nil, fmt.Errorf("holds a %s; a list of strings was expected", typeName(element))
		}
		list[i] = s
	}
	return list, nil
}

// truth is Python's.
func truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case Bytes:
		return len(v) > 0
	case List:
		return len(v) > 0
	case Tuple:
		return len(v) > 0
	case Set:
		return len(v) > 0
	case *Dict:
		return len(v.Items()) > 0
	}
	return true
}
