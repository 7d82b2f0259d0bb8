package odoo

import (
	"errors"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// maxDigits is Python's own limit for decimal integers (sys.int_info.default_max_str_digits).
const maxDigits = 4300

var (
	numberPattern = regexp.MustCompile(`^(?:` +
		`0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|` +
		`(?:[0-9](?:_?[0-9])*)?\.[0-9](?:_?[0-9])*(?:[eE][+-]?[0-9](?:_?[0-9])*)?|` +
		`[0-9](?:_?[0-9])*\.?(?:[eE][+-]?[0-9](?:_?[0-9])*)?` +
		`)`)
	integerPattern = regexp.MustCompile(`^(?:0(?:_?0)*|[1-9](?:_?[0-9])*)$`)
)

// signed reads a sign, or several, before a number; parentheses around the number are allowed.
func (p *parser) signed() (Value, error) {
	negative, signs := false, 0
	for p.peek() == '+' || p.peek() == '-' {
		if signs++; signs > maxDepth {
			return nil, p.fail("more than %d signs before a number", maxDepth)
		}
		negative = negative != (p.peek() == '-')
		p.pos++
		if err := p.space(); err != nil {
			return nil, err
		}
	}
	if c := p.peek(); !isDigit(c) && c != '.' {
		return nil, p.fail("a number was expected after the sign, found %s", p.token())
	}
	return p.number(negative)
}

func (p *parser) number(negative bool) (Value, error) {
	text := string(numberPattern.Find(p.src[p.pos:]))
	if text == "" {
		return nil, p.fail("a value was expected, found %s", p.token())
	}
	start := p.pos
	p.pos += len(text)
	if c := p.peek(); isDigit(c) || isNameStart(c) || c == '.' && p.pos < len(p.src) {
		return nil, p.errorAt(start, "%q is no number that is read here", string(p.src[start:p.pos+1]))
	}
	digits := strings.ReplaceAll(text, "_", "")
	prefixed := len(digits) > 1 && digits[0] == '0' && strings.ContainsAny(digits[1:2], "xXoObB")
	if !prefixed && strings.ContainsAny(digits, ".eE") {
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, p.errorAt(start, "%q is no number", text)
		}
		if negative {
			f = math.Copysign(f, -1)
		}
		return f, nil
	}
	if !prefixed {
		if !integerPattern.MatchString(text) {
			return nil, p.errorAt(start, "an integer with leading zeros is not allowed")
		}
		if len(digits) > maxDigits {
			return nil, p.errorAt(start, "an integer of more than %d digits", maxDigits)
		}
	}
	n, ok := new(big.Int).SetString(digits, 0)
	if !prefixed {
		n, ok = new(big.Int).SetString(digits, 10)
	}
	if !ok {
		return nil, p.errorAt(start, "%q is no number", text)
	}
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64(), nil
	}
	return n, nil
}
