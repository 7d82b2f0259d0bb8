package estate

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scalar reads text, numbers, yes-or-no and durations.
func (d *document) scalar(node ast.Node, path string, into reflect.Value) {
	wrong := func(hint string) {
		if sensitive(path) {
			d.unreadable(node, path, "no text is given; text expected", "") // never repeat what may be a secret
			return
		}
		d.unreadable(node, path, found(node)+"; "+expectation(into.Type())+" expected", hint)
	}
	written, ok := plain(node)
	if !ok {
		wrong("")
		return
	}
	quoted := isText(node)
	switch {
	case into.Type() == durationType:
		length, err := time.ParseDuration(written)
		switch {
		case err != nil && !quoted:
			wrong(fmt.Sprintf("give the unit: %ss", written))
		case err != nil, length < 0:
			wrong("for example 20s, 5m or 1h30m")
		default:
			into.SetInt(int64(length))
		}
	case into.Kind() == reflect.String:
		if !quoted {
			wrong(`put it in quotes: "` + written + `"`)
			return
		}
		into.SetString(written)
	case into.Kind() == reflect.Bool:
		b, isBool := node.(*ast.BoolNode)
		if !isBool {
			wrong("")
			return
		}
		into.SetBool(b.Value)
	case into.Kind() == reflect.Int:
		number, percent := strings.CutSuffix(written, "%")
		n, err := strconv.Atoi(number)
		if _, isInteger := node.(*ast.IntegerNode); err != nil || !isInteger && !(percent && isPercent(path)) {
			wrong("")
			return
		}
		into.SetInt(int64(n))
	case into.Kind() == reflect.Float64:
		number, percent := strings.CutSuffix(written, "%")
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || quoted && !percent || math.IsNaN(f) || math.IsInf(f, 0) {
			wrong("for example 0.01 or 1%")
			return
		}
		if percent {
			f /= 100
		}
		into.SetFloat(f)
	default:
		wrong("")
	}
}

// isPercent says which whole numbers may be written with a percent sign.
func isPercent(path string) bool { return strings.HasPrefix(path, "rollout.steps[") }

// isText says whether YAML takes the value for text.
func isText(node ast.Node) bool {
	switch node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

// plain is a scalar as it was written: "19.0" stays "19.0" and does not become 19.
func plain(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return strings.TrimSpace(node.GetToken().Value), true
	}
	return "", false
}

// found says what a node holds, in words for the person who wrote it.
func found(node ast.Node) string {
	switch n := node.(type) {
	case *ast.StringNode:
		return "the text " + shorten(n.Value) + " is given"
	case *ast.LiteralNode:
		return "a block of text is given"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + shortenBare(node.GetToken().Value) + " is given"
	case *ast.BoolNode:
		return node.GetToken().Value + " is given"
	case *ast.SequenceNode:
		return "a list is given"
	case *ast.NullNode:
		return "nothing is given"
	}
	if isMapping(node) {
		return "a group of fields is given"
	}
	return "something else is given"
}

// expectation says what a type wants.
func expectation(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration"
	case t.Kind() == reflect.Pointer:
		return expectation(t.Elem())
	case t.Kind() == reflect.Struct:
		return "a group of fields (" + strings.Join(fields(t), ", ") + ")"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Map:
		return "a group of names with values"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number or a percentage"
	}
	return "text"
}

// shorten quotes a value for a message, cut to a length that fits a line.
func shorten(s string) string { return strconv.Quote(shortenBare(s)) }

func shortenBare(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
