package estate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// position is a place in a file, from 1.
type position struct{ line, column int }

// document is one YAML document with its kind; where knows the place of each field that was given.
type document struct {
	file   string
	at     position
	kind   string
	where  map[string]position
	texts  map[string]position // of the first character of each text
	report *report

	anchors map[string]ast.Node
	aliases int
	lost    map[string]bool // fields that were given and could not be read: what depends on them is not judged
}

// given says whether the field was written down.
func (d *document) given(path string) bool { _, ok := d.where[path]; return ok }

// problem reports about a field, at its own place or at the nearest one around it.
func (d *document) problem(path, message, hint string) {
	at := d.at
	for p := path; p != ""; p = parent(p) {
		if where, ok := d.where[p]; ok {
			at = where
			break
		}
	}
	d.report.add(&Problem{File: d.file, Line: at.line, Column: at.column, Field: path, Message: message, Hint: hint})
}

// unreadable reports what keeps a value from being read at all.
func (d *document) unreadable(node ast.Node, path, message, hint string) {
	if d.lost == nil {
		d.lost = map[string]bool{}
	}
	d.lost[path] = true
	at := place(node)
	d.report.add(&Problem{File: d.file, Line: at.line, Column: at.column, Field: path, Message: message, Hint: hint})
}

// unread says whether a field was given and reported already because it could not be read.
func (d *document) unread(path string) bool { return d.lost[path] }

// parent is the path around a path: "a.b[1]" → "a.b" → "a" → "".
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i > 0 {
		return path[:i]
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// place is where a node begins.
func place(node ast.Node) position {
	if list := entries(node); len(list) > 0 {
		return place(list[0].Key)
	}
	if t := node.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{1, 1}
}

// entries are the pairs of a mapping; nil for any other node.
func entries(node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func isMapping(node ast.Node) bool {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// resolve follows anchors and aliases to the node that holds the value. Uses are counted:
// expansion is bounded by the types here, which do not nest, and by that count.
func (d *document) resolve(node ast.Node, path string) (ast.Node, bool) {
	for range maxNesting {
		switch n := node.(type) {
		case *ast.AnchorNode:
			if d.anchors == nil {
				d.anchors = map[string]ast.Node{}
			}
			d.anchors[n.Name.GetToken().Value] = n.Value
			node = n.Value
		case *ast.AliasNode:
			name := n.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.unreadable(n, path, fmt.Sprintf("alias *%s has no anchor &%s before it in this document", name, name), "")
				return nil, false
			}
			if d.aliases++; d.aliases > maxAliases {
				d.unreadable(n, path, fmt.Sprintf("more than %d aliases in one document", maxAliases), "")
				return nil, false
			}
			node = target
		default:
			return node, true
		}
	}
	d.unreadable(node, path, "anchors and aliases lead in a circle", "")
	return nil, false
}

var durationType = reflect.TypeFor[time.Duration]()

// decode puts a node into a value of one of the types of types.go.
func (d *document) decode(node ast.Node, path string, into reflect.Value) {
	if node == nil {
		return
	}
	node, ok := d.resolve(node, path)
	if !ok {
		return
	}
	if n, empty := node.(*ast.NullNode); empty || node == nil {
		if n != nil {
			d.unreadable(n, path, "is empty; "+expectation(into.Type())+" expected", "give a value or remove the line")
		}
		return
	}
	switch kind := into.Kind(); {
	case kind == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(node, path, into.Elem())
	case kind == reflect.Struct:
		d.mapping(node, path, into)
	case kind == reflect.Slice:
		d.list(node, path, into)
	case kind == reflect.Map:
		d.settings(node, path, into)
	default:
		d.scalar(node, path, into)
	}
}

// fields are the names that a struct has in YAML, in the order of the declaration. Fields that are
// not read from YAML come last and have none.
func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			break
		}
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}

// mapping reads a struct; it reports unknown and repeated fields.
func (d *document) mapping(node ast.Node, path string, into reflect.Value) {
	if !isMapping(node) {
		d.unreadable(node, path, found(node)+"; "+expectation(into.Type())+" expected", "")
		return
	}
	names := fields(into.Type())
	d.pairs(node, path, func(key string, keyNode, value ast.Node) {
		i := slices.Index(names, key)
		if i < 0 {
			if path == "" && key == "kind" {
				return
			}
			if key == "<<" {
				d.unreadable(keyNode, join(path, key), "merge keys are not read", "write the fields out")
				return
			}
			d.unreadable(keyNode, join(path, key), "unknown field", suggest(key, names))
			return
		}
		d.decode(value, join(path, key), into.Field(i))
	})
}

// pairs calls each for every pair of a mapping whose key is a plain word seen for the first time,
// and notes where its value is.
func (d *document) pairs(node ast.Node, path string, each func(key string, keyNode, value ast.Node)) {
	seen := map[string]position{}
	for _, entry := range entries(node) {
		keyNode := ast.Node(entry.Key)
		token := keyNode.GetToken()
		if _, nested := keyNode.(*ast.MappingKeyNode); nested || token == nil {
			d.unreadable(keyNode, path, "a plain word is expected as the name of a field", "")
			continue
		}
		key := token.Value
		full := join(path, key)
		if first, twice := seen[key]; twice {
			d.unreadable(keyNode, full, fmt.Sprintf("is given twice; first on line %d", first.line), "keep one of the two")
			continue
		}
		seen[key] = place(keyNode)
		d.where[full] = place(keyNode)
		if start, ok := textStart(entry.Value); ok {
			d.texts[full] = start
		}
		if entry.Value != nil && !isMapping(entry.Value) {
			if _, sequence := entry.Value.(*ast.SequenceNode); !sequence {
				d.where[full] = place(entry.Value)
			}
		}
		each(key, keyNode, entry.Value)
	}
}

// list reads a sequence.
func (d *document) list(node ast.Node, path string, into reflect.Value) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.unreadable(node, path, found(node)+"; "+expectation(into.Type())+" expected", "put it in brackets: [ … ]")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, len(sequence.Values)))
	for i, value := range sequence.Values {
		element := reflect.New(into.Type().Elem()).Elem()
		full := fmt.Sprintf("%s[%d]", path, i)
		d.where[full] = place(value)
		d.decode(value, full, element)
		into.Set(reflect.Append(into, element))
	}
}

// settings reads the one free mapping there is: names to plain values, which are kept as written.
func (d *document) settings(node ast.Node, path string, into reflect.Value) {
	if !isMapping(node) {
		d.unreadable(node, path, found(node)+"; "+expectation(into.Type())+" expected", "")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	d.pairs(node, path, func(key string, keyNode, value ast.Node) {
		value, ok := d.resolve(value, join(path, key))
		if !ok {
			return
		}
		text, ok := plain(value)
		if !ok {
			d.unreadable(value, join(path, key), found(value)+"; a plain value expected", "")
			return
		}
		into.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text))
	})
}
