package check

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a CSV file.
const (
	maxCSVSize   = 32 << 20 // bytes
	maxCSVFields = 2_000_000
)

// csvRow is one row that is not empty.
type csvRow struct {
	line   int // where it begins
	fields []string
}

// readCSV reads a file as Python's csv module does where nothing is set, which is what Odoo loads
// data with: encoding/csv of the standard library differs from it in what stands around quotes,
// and would take a whole file for one field. Errors are *xmlError.
func readCSV(content []byte) ([]csvRow, error) {
	if len(content) > maxCSVSize {
		return nil, &xmlError{1, fmt.Sprintf("it has %d MB; at most %d MB are read", len(content)>>20, maxCSVSize>>20)}
	}
	for line, rest := 1, content; len(rest) > 0; {
		c, size := utf8.DecodeRune(rest)
		switch {
		case c == utf8.RuneError && size == 1:
			return nil, &xmlError{line, "it is not UTF-8"}
		case c == 0:
			return nil, &xmlError{line, "it contains a null byte"}
		case c == '\n':
			line++
		}
		rest = rest[size:]
	}
	const (
		begin = iota
		plain
		quoted
		afterQuote
	)
	var (
		rows  []csvRow
		row   csvRow
		field strings.Builder
		state = begin
		line  = 1
		count int
	)
	row.line = 1
	endField := func() {
		row.fields = append(row.fields, field.String())
		field.Reset()
		state = begin
		count++
	}
	endRow := func(next int) {
		if len(row.fields) > 0 || field.Len() > 0 || state != begin {
			endField()
			rows = append(rows, row)
		}
		row = csvRow{line: next}
	}
	for i, c := range content {
		if count > maxCSVFields {
			return nil, &xmlError{line, fmt.Sprintf("it has more than %d fields", maxCSVFields)}
		}
		switch {
		case state == quoted && c == '"':
			state = afterQuote
		case state == quoted:
			field.WriteByte(c)
		case c == '\n':
			endRow(line + 1)
		case c == '\r':
			if next := content[i+1:]; len(next) > 0 && next[0] != '\n' && next[0] != '\r' {
				return nil, &xmlError{line, "a line ends with a carriage return alone, which Python does not read"}
			}
			endRow(line)
		case c == ',':
			endField()
		case c == '"' && state == begin:
			state = quoted
		case c == '"' && state == afterQuote:
			field.WriteByte(c)
			state = quoted
		default:
			field.WriteByte(c)
			state = plain
		}
		if c == '\n' {
			line++
		}
	}
	endRow(line)
	return rows, nil
}
