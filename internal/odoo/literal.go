package odoo

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what ParseLiteral reads.
const (
	maxLiteral = 1 << 20 // bytes
	maxDepth   = 64      // brackets within brackets
)

// SyntaxError says where a literal is not one.
type SyntaxError struct {
	Line, Column int // from 1; the column counts characters
	Reason       string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Reason)
}

// ParseLiteral reads one Python literal as ast.literal_eval does: strings, bytes, numbers, tuples,
// lists, dictionaries, sets, booleans and None. It evaluates nothing. Not read, because no manifest
// needs them: complex numbers, the ellipsis, \N{…} escapes and lone surrogates.
// Errors are *SyntaxError.
func ParseLiteral(source []byte) (Value, error) {
	if len(source) > maxLiteral {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("it has %d bytes; at most %d are read", len(source), maxLiteral)}
	}
	// Python reads text with universal newlines.
	if bytes.IndexByte(source, '\r') >= 0 {
		source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
		source = bytes.ReplaceAll(source, []byte("\r"), []byte("\n"))
	}
	p := &parser{src: source}
	for i := 0; i < len(source); {
		r, size := utf8.DecodeRune(source[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return nil, p.errorAt(i, "it is not UTF-8, which Odoo expects whatever a coding line says")
		case r == 0:
			return nil, p.errorAt(i, "it contains a null byte")
		case r == '\ufeff' && i == 0:
			return nil, p.errorAt(i, "it begins with a byte order mark, which Odoo does not accept; save it without")
		}
		i += size
	}
	value, err := p.file()
	if err != nil {
		return nil, err
	}
	return value, nil
}

type parser struct {
	src   []byte
	pos   int
	depth int // of open brackets
	signs int // read so far

	counted, lines int // newlines before a position, as far as they were counted
}

func (p *parser) errorAt(pos int, format string, args ...any) error {
	before := p.src[:min(pos, len(p.src))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return &SyntaxError{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: utf8.RuneCount(before[start:]) + 1,
		Reason: fmt.Sprintf(format, args...),
	}
}

func (p *parser) fail(format string, args ...any) error { return p.errorAt(p.pos, format, args...) }

// line is that of a position. What is asked for goes mostly forward, and is counted from where the last count ended: else a file of
// nothing but brackets would be counted through for each of them.
func (p *parser) line(pos int) int {
	if pos < p.counted {
		p.counted, p.lines = 0, 0
	}
	p.lines += bytes.Count(p.src[p.counted:pos], []byte("\n"))
	p.counted = pos
	return p.lines + 1
}

// peek returns the byte at the position, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// space skips blanks, comments and continued lines, and newlines too within brackets.
func (p *parser) space() error {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == ' ' || c == '\t' || c == '\f':
			p.pos++
		case c == '\n':
			if p.depth == 0 {
				return nil
			}
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' {
				p.pos++
			}
		case c == '\\':
			if p.pos+1 >= len(p.src) || p.src[p.pos+1] != '\n' {
				return p.fail("unexpected character after a line continuation")
			}
			if p.pos+2 >= len(p.src) {
				return p.fail("it ends in the middle of a continued line")
			}
			p.pos += 2
		default:
			return nil
		}
	}
	return nil
}

// file reads the one expression of a file. literal_eval forgives blanks before it on its first
// line only.
func (p *parser) file() (Value, error) {
	for p.pos < len(p.src) && (p.src[p.pos] == ' ' || p.src[p.pos] == '\t') {
		p.pos++
	}
	start := 0
	for {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.peek() != '\n' || p.pos >= len(p.src) {
			break
		}
		p.pos++
		start = p.pos
	}
	if p.pos >= len(p.src) {
		return nil, p.fail("it holds no value")
	}
	if indent := strings.TrimLeft(string(p.src[start:p.pos]), "\f"); start > 0 && indent != "" && strings.Trim(indent, " \t\f") == "" {
		return nil, p.fail("unexpected indent")
	}
	value, err := p.expressions()
	if err != nil {
		return nil, err
	}
	for p.pos < len(p.src) {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.pos < len(p.src) && p.peek() != '\n' {
			return nil, p.fail("unexpected %s after the value", p.token())
		}
		if p.pos < len(p.src) {
			p.pos++
		}
	}
	return value, nil
}

// expressions reads one value, or a tuple without parentheses.
func (p *parser) expressions() (Value, error) {
	first, err := p.value()
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.peek() != ',' {
		return first, nil
	}
	tuple := Tuple{first}
	for p.peek() == ',' {
		p.pos++
		if err := p.space(); err != nil {
			return nil, err
		}
		if c := p.peek(); c == 0 || c == '\n' || c == ')' {
			break
		}
		next, err := p.value()
		if err != nil {
			return nil, err
		}
		tuple = append(tuple, next)
		if err := p.space(); err != nil {
			return nil, err
		}
	}
	return tuple, nil
}

// value reads one value.
func (p *parser) value() (Value, error) {
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.pos >= len(p.src) {
		return nil, p.fail("it ends where a value was expected")
	}
	c := p.peek()
	switch {
	case c == '{':
		return nested(p, p.braces)
	case c == '[':
		return nested(p, p.list)
	case c == '(':
		return nested(p, p.parentheses)
	case c == '\'' || c == '"':
		return p.strings()
	case c == '+' || c == '-':
		return p.signed()
	case isDigit(c) || c == '.':
		return p.number(false)
	case isNameStart(c):
		return p.name()
	}
	return nil, p.fail("a value was expected, found %s", p.token())
}

func nested(p *parser, read func() (Value, error)) (Value, error) {
	if p.depth >= maxDepth {
		return nil, p.fail("more than %d brackets within each other", maxDepth)
	}
	p.depth++
	p.pos++
	value, err := read()
	p.depth--
	return value, err
}

// name reads True, False, None, set() or the prefix of a string.
func (p *parser) name() (Value, error) {
	start := p.pos
	for p.pos < len(p.src) && (isNameStart(p.peek()) || isDigit(p.peek())) {
		p.pos++
	}
	name := string(p.src[start:p.pos])
	if c := p.peek(); c == '\'' || c == '"' {
		p.pos = start
		return p.strings()
	}
	switch name {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	case "set":
		if err := p.space(); err == nil && p.peek() == '(' {
			if _, err := nested(p, func() (Value, error) { return nil, p.closing(')') }); err == nil {
				return Set{}, nil
			}
		}
	}
	p.pos = start
	return nil, p.fail("%q is code; only literals are read", name)
}

// closing expects a bracket after blanks.
func (p *parser) closing(bracket byte) error {
	if err := p.space(); err != nil {
		return err
	}
	if p.peek() != bracket || p.pos >= len(p.src) {
		if p.pos >= len(p.src) {
			return p.fail("it ends before the closing %q", bracket)
		}
		return p.fail("expected ',' or %q, found %s", bracket, p.token())
	}
	p.pos++
	return nil
}

// token describes what is at the position.
func (p *parser) token() string {
	if p.pos >= len(p.src) {
		return "the end"
	}
	if p.peek() == '\n' {
		return "the end of the line"
	}
	end := p.pos
	for end < len(p.src) && end-p.pos < 20 && (isNameStart(p.src[end]) || isDigit(p.src[end])) {
		end++
	}
	if end == p.pos {
		_, size := utf8.DecodeRune(p.src[p.pos:])
		end += size
	}
	return fmt.Sprintf("%q", p.src[p.pos:end])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}
