package drift

import (
	"fmt"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// value finds what a path of managed fields leads to.
func value(in any, p fieldpath.Path) (any, bool) {
	for _, e := range p {
		next, at := step(in, e)
		if at == "" {
			return nil, false
		}
		in = next
	}
	return in, true
}

// step goes one element down; at is where that is, as a JSON pointer says it; empty: it is not there.
func step(in any, e fieldpath.PathElement) (next any, at string) {
	if e.FieldName != nil {
		m, ok := in.(map[string]any)
		if !ok {
			return nil, ""
		}
		v, there := m[*e.FieldName]
		if !there {
			return nil, ""
		}
		return v, "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(*e.FieldName)
	}
	list, ok := in.([]any)
	if !ok {
		return nil, ""
	}
	for i, item := range list {
		if is(item, i, e) {
			return item, fmt.Sprintf("/%d", i)
		}
	}
	return nil, ""
}

// is says whether an item of a list is the one that is meant.
func is(item any, at int, e fieldpath.PathElement) bool {
	switch {
	case e.Index != nil:
		return at == *e.Index
	case e.Value != nil:
		return equal(item, (*e.Value).Unstructured())
	case e.Key != nil:
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, k := range *e.Key {
			if !equal(m[k.Name], k.Value.Unstructured()) {
				return false
			}
		}
		return true
	}
	return false
}
