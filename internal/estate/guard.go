package estate

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on input. They are far above any estate that a person keeps.
const (
	maxFileSize  = 1 << 20
	maxSize      = 64 << 20 // of all files
	maxDocuments = 20000
	maxNesting   = 32      // the declared state needs four levels
	maxTokens    = 200_000 // of one file
	maxPairs     = 2000    // of one document; the parser's time grows with their square
	maxAliases   = 1000    // uses of one document
)

// Guard refuses YAML that nests deeper, or has more in it, than any file of an estate needs: for files beside an
// estate that are read with a decoder that has no limits.
func Guard(content []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("cannot be read as YAML")
		}
	}()
	if p := guard("", lexer.Tokenize(string(content))); p != nil {
		p.File = ""
		return p
	}
	return nil
}

// maxFiles leaves room for one file a tenant. It is lower in a test of its own.
var maxFiles = 20_000

// syntax reads one file into YAML nodes. The parser beneath recurses without a limit and may
// panic on odd input: so nesting is measured on the tokens first, and a panic becomes a problem.
func syntax(name string, content []byte) (file *ast.File, problem *Problem) {
	if len(content) > maxFileSize {
		return nil, &Problem{File: name, Message: fmt.Sprintf("is %d bytes; at most %d are read", len(content), maxFileSize), Hint: "split it into several files"}
	}
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	if line, ok := notText(content); ok {
		return nil, &Problem{File: name, Line: line, Column: 1, Message: "is not plain UTF-8 text"}
	}
	defer func() {
		if r := recover(); r != nil {
			file, problem = nil, &Problem{File: name, Message: "cannot be read as YAML", Hint: "look for unusual quoting, tags or brackets"}
		}
	}()
	tokens := lexer.Tokenize(string(content))
	if p := guard(name, tokens); p != nil {
		return nil, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxProblem(name, err)
	}
	return file, nil
}

// notText finds the first line with bytes that no YAML text has.
func notText(content []byte) (line int, found bool) {
	line = 1
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return line, true
		case r == '\n':
			line++
		}
		i += size
	}
	return 0, false
}

// guard refuses what an estate never needs and a reader may choke on: deep nesting, tags, directives.
func guard(name string, tokens token.Tokens) *Problem {
	at := func(t *token.Token, message, hint string) *Problem {
		return &Problem{File: name, Line: t.Position.Line, Column: t.Position.Column, Message: message, Hint: hint}
	}
	flow, pairs := 0, 0
	var columns []int // of the open block collections, ascending
	for i, t := range tokens {
		if i == maxTokens {
			return at(t, fmt.Sprintf("the file has more than %d YAML tokens", maxTokens), "split it into several files")
		}
		if t.Type == token.MappingValueType {
			if pairs++; pairs > maxPairs {
				return at(t, fmt.Sprintf("the document has more than %d fields", maxPairs), "")
			}
		}
		switch t.Type {
		case token.TagType:
			return at(t, "YAML tags are not read", "write the plain value")
		case token.DirectiveType:
			return at(t, "YAML directives are not read", "remove the line")
		case token.DocumentHeaderType, token.DocumentEndType:
			columns, flow, pairs = columns[:0], 0, 0
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType, token.AnchorType:
			column := t.Position.Column
			for len(columns) > 0 && columns[len(columns)-1] >= column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, column)
		}
		// A key's colon and its dash both open a column, so block nesting counts double.
		if flow > maxNesting || len(columns) > 2*maxNesting {
			return at(t, fmt.Sprintf("is nested more than %d levels deep", maxNesting), "")
		}
	}
	return nil
}

// syntaxProblem says where YAML itself is broken.
func syntaxProblem(name string, err error) *Problem {
	p := &Problem{File: name, Message: "is not valid YAML"}
	var at yaml.Error
	if errors.As(err, &at) {
		if t := at.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = t.Position.Line, t.Position.Column
		}
		if message, _, _ := strings.Cut(at.GetMessage(), "\n"); message != "" {
			p.Message += ": " + message
		}
	}
	if strings.Contains(p.Message, "tab") {
		p.Hint = "indent with spaces"
	}
	return p
}
