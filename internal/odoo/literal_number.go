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

// signed reads one sign before a number, which may stand in parentheses.
func (p *parser) signed() (Value, error) {
	negative := p.peek() == '-'
	p.pos++
	p.signs++
	signs := p.signs
	if err := p.space(); err != nil {
		return nil, err
	}
	c := p.peek()
	if c != '(' {
		if !isDigit(c) && c != '.' {
			return nil, p.fail("a number was expected after the sign, found %s", p.token())
		}
		return p.number(negative)
	}
	start := p.pos
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.signs != signs {
		return nil, p.errorAt(start, "one sign is read before a number, not several")
	}
	switch v := value.(type) {
	case int64:
		if !negative {
			return v, nil
		}
		if v != math.MinInt64 {
			return -v, nil
		}
		return new(big.Int).Neg(big.NewInt(v)), nil
	case *big.Int:
		if !negative {
			return v, nil
		}
		n := new(big.Int).Neg(v)
		if n.IsInt64() {
			return n.Int64(), nil
		}
		return n, nil
	case float64:
		if negative {
			v = -v
		}
		return v, nil
	}
	return nil, p.errorAt(start, "a number was expected after the sign")
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
