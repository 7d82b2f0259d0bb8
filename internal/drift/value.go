package drift

import (
	"cmp"
	"fmt"
	"strconv"
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

// pointer is where a path leads to, as a JSON pointer.
func pointer(in any, p fieldpath.Path) (string, bool) {
	var b strings.Builder
	for _, e := range p {
		next, at := step(in, e)
		if at == "" {
			return "", false
		}
		b.WriteString(at)
		in = next
	}
	return b.String(), true
}

// comparePointers orders pointers; items of one list by their place.
func comparePointers(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(as), len(bs)) {
		n, aerr := strconv.Atoi(as[i])
		m, berr := strconv.Atoi(bs[i])
		if aerr == nil && berr == nil && n != m {
			return cmp.Compare(n, m)
		}
		if as[i] != bs[i] && (aerr != nil || berr != nil) {
			return strings.Compare(as[i], bs[i])
		}
	}
	return cmp.Compare(len(as), len(bs))
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
