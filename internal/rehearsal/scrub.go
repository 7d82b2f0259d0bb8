package rehearsal

import (
	"strings"
	"unicode"
)

// longestSQL is how much of a statement a report keeps.
const longestSQL = 400

// scrub takes every value out of an SQL text: literals become ?, comments go, lists of values and blanks shrink. A
// report may be read by people who may not see the tenant's data. What cannot be taken apart for certain (an
// unfinished quote) is cut there.
func scrub(sql string) string {
	var out strings.Builder
	s := []rune(sql[:min(len(sql), 64<<10)]) // the rest would be cut anyway
	for i := 0; i < len(s) && out.Len() < 4*longestSQL; {
		c := s[i]
		switch {
		case c == '\'':
			escapes := i > 0 && (s[i-1] == 'E' || s[i-1] == 'e') && (i < 2 || !word(s[i-2]))
			i = quoted(s, i, '\'', escapes)
			out.WriteByte('?')
		case c == '"':
			end := quoted(s, i, '"', false)
			out.WriteString(string(s[i:end]))
			i = end
		case c == '$' && (i == 0 || !word(s[i-1])):
			end := dollar(s, i)
			if end > i {
				out.WriteByte('?')
				i = end
				continue
			}
			for out.WriteRune(c); i+1 < len(s) && unicode.IsDigit(s[i+1]); i++ { // a parameter
				out.WriteRune(s[i+1])
			}
			i++
		case c == '-' && i+1 < len(s) && s[i+1] == '-':
			for i < len(s) && s[i] != '\n' {
				i++
			}
			out.WriteByte(' ')
		case c == '/' && i+1 < len(s) && s[i+1] == '*':
			i = comment(s, i)
			out.WriteByte(' ')
		case unicode.IsDigit(c) && (i == 0 || !word(s[i-1])):
			for i < len(s) && (word(s[i]) || s[i] == '.') {
				i++
			}
			out.WriteByte('?')
		case unicode.IsSpace(c):
			for i < len(s) && unicode.IsSpace(s[i]) {
				i++
			}
			out.WriteByte(' ')
		default:
			out.WriteRune(c)
			i++
		}
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, list := range []string{"?, ?", "?,?", "(?), (?)", "(...), (?)", "(?), (...)", "(...), (...)"} {
		short := map[bool]string{true: "?", false: "(...)"}[!strings.Contains(list, "(")]
		for strings.Contains(text, list) {
			text = strings.ReplaceAll(text, list, short)
		}
	}
	if r := []rune(text); len(r) > longestSQL {
		text = string(r[:longestSQL]) + " …"
	}
	return text
}

func word(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }

// quoted returns where the text that begins with a quote at i ends.
func quoted(s []rune, i int, quote rune, escapes bool) int {
	for i++; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// dollar returns where a dollar-quoted text that begins at i ends; i where none begins.
func dollar(s []rune, i int) int {
	end := i + 1
	for end < len(s) && word(s[end]) {
		end++
	}
	if end >= len(s) || s[end] != '$' || end > i+1 && unicode.IsDigit(s[i+1]) {
		return i
	}
	tag := string(s[i : end+1])
	rest := string(s[end+1:])
	at := strings.Index(rest, tag)
	if at < 0 {
		return len(s)
	}
	return end + 1 + len([]rune(rest[:at])) + len([]rune(tag))
}

func comment(s []rune, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch {
		case s[i] == '/' && i+1 < len(s) && s[i+1] == '*':
			depth++
			i++
		case s[i] == '*' && i+1 < len(s) && s[i+1] == '/':
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
