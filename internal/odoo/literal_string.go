package odoo

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// strings reads one string, or several next to each other, which are one.
func (p *parser) strings() (Value, error) {
	var out []byte
	isBytes, first := false, true
	for {
		start := p.pos
		part, partBytes, err := p.oneString()
		if err != nil {
			return nil, err
		}
		if !first && partBytes != isBytes {
			return nil, p.errorAt(start, "a string and bytes cannot be joined")
		}
		out, isBytes, first = append(out, part...), partBytes, false
		if err := p.space(); err != nil {
			return nil, err
		}
		if !p.atString() {
			break
		}
	}
	if isBytes {
		return Bytes(out), nil
	}
	return string(out), nil
}

// atString says whether a string, with or without a prefix, begins at the position.
func (p *parser) atString() bool {
	for i := p.pos; i < len(p.src) && i <= p.pos+2; i++ {
		switch c := p.src[i]; {
		case c == '\'' || c == '"':
			return true
		case !isNameStart(c):
			return false
		}
	}
	return false
}

func (p *parser) oneString() (content []byte, isBytes bool, err error) {
	start := p.pos
	for p.peek() != '\'' && p.peek() != '"' {
		p.pos++
	}
	prefix := strings.ToLower(string(p.src[start:p.pos]))
	raw := false
	switch prefix {
	case "", "u":
	case "r":
		raw = true
	case "b":
		isBytes = true
	case "br", "rb":
		raw, isBytes = true, true
	case "f", "fr", "rf", "t", "tr", "rt":
		return nil, false, p.errorAt(start, "an f-string is code; only literals are read")
	default:
		return nil, false, p.errorAt(start, "%q is no prefix of a string", p.src[start:p.pos])
	}

	quote := p.peek()
	delimiter := []byte{quote}
	if triple := bytes.Repeat(delimiter, 3); bytes.HasPrefix(p.src[p.pos:], triple) {
		delimiter = triple
	}
	p.pos += len(delimiter)
	for {
		if p.pos >= len(p.src) {
			return nil, false, p.errorAt(start, "a string that begins here does not end")
		}
		c := p.peek()
		switch {
		case c == quote && bytes.HasPrefix(p.src[p.pos:], delimiter):
			p.pos += len(delimiter)
			return content, isBytes, nil
		case c == '\n' && len(delimiter) == 1:
			return nil, false, p.errorAt(start, "a string that begins here does not end on its line")
		case c == '\\':
			if raw {
				// The backslash stays, and so does what follows it, a quote too.
				if p.pos+1 >= len(p.src) {
					return nil, false, p.errorAt(start, "a string that begins here does not end")
				}
				if isBytes && p.src[p.pos+1] >= utf8.RuneSelf {
					return nil, false, p.fail("bytes can only hold ASCII characters")
				}
				content = append(content, c, p.src[p.pos+1])
				p.pos += 2
				continue
			}
			if content, err = p.escape(content, isBytes); err != nil {
				return nil, false, err
			}
		case isBytes && c >= utf8.RuneSelf:
			return nil, false, p.fail("bytes can only hold ASCII characters")
		default:
			content = append(content, c)
			p.pos++
		}
	}
}

var simpleEscapes = map[byte]byte{
	'\\': '\\', '\'': '\'', '"': '"', 'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11,
}

// escape reads a backslash and what belongs to it. As in Python, an escape that means nothing
// stays as it is.
func (p *parser) escape(out []byte, isBytes bool) ([]byte, error) {
	start := p.pos
	p.pos++
	if p.pos >= len(p.src) {
		return nil, p.errorAt(start, "a string does not end")
	}
	c := p.peek()
	if plain, ok := simpleEscapes[c]; ok {
		p.pos++
		return append(out, plain), nil
	}
	var code rune
	switch {
	case c == '\n':
		p.pos++
		return out, nil
	case c >= '0' && c <= '7':
		for n := 0; n < 3 && p.peek() >= '0' && p.peek() <= '7'; n++ {
			code = code*8 + rune(p.peek()-'0')
			p.pos++
		}
	case c == 'x' || !isBytes && (c == 'u' || c == 'U'):
		p.pos++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		var value uint64
		for range digits {
			d := hexDigit(p.peek())
			if d < 0 {
				return nil, p.errorAt(start, `\%c needs %d hexadecimal digits`, c, digits)
			}
			value = value<<4 | uint64(d)
			p.pos++
		}
		if value > utf8.MaxRune {
			return nil, p.errorAt(start, "no character has that number")
		}
		code = rune(value)
	case c == 'N' && !isBytes:
		return nil, p.errorAt(start, `\N{…} is not read; write the character itself`)
	default:
		// The character itself follows in the caller's loop.
		return append(out, '\\'), nil
	}
	if isBytes {
		return append(out, byte(code)), nil
	}
	if !utf8.ValidRune(code) {
		return nil, p.errorAt(start, "half of a surrogate pair is no character")
	}
	return utf8.AppendRune(out, code), nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
