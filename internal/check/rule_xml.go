package check

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// Limits of an XML file. Odoo's own reader (libxml2) has the same limit of depth.
const (
	maxXMLSize     = 32 << 20 // bytes
	maxXMLDepth    = 256
	maxXMLElements = 500_000
	maxXMLNames    = 1_000 // attributes of one element
	maxXMLEntities = 100
	maxXMLExpanded = 32 << 20 // bytes, of all that entities stand for
)

// xmlError says where a file is not XML as Odoo reads it.
type xmlError struct {
	line   int
	reason string
}

func (e *xmlError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }

// element is one XML element. Names keep their prefix, as written.
type element struct {
	name       string
	attributes []attribute
	children   []*element
	text       string // of the element itself, before its first child, as lxml's .text
	rest       string // what else stands between its children
	line       int    // where its tag begins
	start, end int    // of its tag, in the text that readXML returned
}

type attribute struct{ name, value string }

func (e *element) get(name string) string {
	value, _ := e.lookup(name)
	return value
}

func (e *element) lookup(name string) (string, bool) {
	for _, a := range e.attributes {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// document is a parsed file.
type document struct {
	root *element
	text []byte // UTF-8; offsets of elements point into it
}

// lineOf finds on which line of an element's tag something is written.
func (d *document) lineOf(e *element, what string) int {
	tag := d.text[e.start:e.end]
	if i := bytes.Index(tag, []byte(what)); i >= 0 {
		return e.line + bytes.Count(tag[:i], []byte("\n"))
	}
	return e.line
}

// readXML parses a file within limits. It reads no other file, and of entities only those that
// stand for plain text. Errors are *xmlError.
func readXML(content []byte) (*document, error) {
	if len(content) > maxXMLSize {
		return nil, &xmlError{1, fmt.Sprintf("it has %d MB; at most %d MB are read", len(content)>>20, maxXMLSize>>20)}
	}
	text, err := decodeXML(content)
	if err != nil {
		return nil, err
	}
	entities, err := readEntities(text)
	if err != nil {
		return nil, err
	}
	r := &xmlReader{doc: &document{text: text}, line: 1}
	r.decoder = xml.NewDecoder(bytes.NewReader(text))
	r.decoder.Entity = entities
	r.decoder.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it is UTF-8 by now
	if err := r.read(); err != nil {
		return nil, err
	}
	return r.doc, nil
}

// wellFormed says whether a file could be read; nil: it could.
func wellFormed(content []byte) *xmlError {
	var bad *xmlError
	if _, err := readXML(content); errors.As(err, &bad) {
		return bad
	}
	return nil
}

type xmlReader struct {
	decoder  *xml.Decoder
	doc      *document
	stack    []openElement
	elements int
	typed    bool // a document type was read
	offset   int  // up to which lines are counted
	line     int
}

// openElement is one whose end has not come yet.
type openElement struct {
	*element
	text, rest []byte
	prefixes   []string // that it declares
}

func (r *xmlReader) top() *openElement { return &r.stack[len(r.stack)-1] }

// advance counts lines up to an offset and returns the line there.
func (r *xmlReader) advance(offset int) int {
	r.line += bytes.Count(r.doc.text[r.offset:offset], []byte("\n"))
	r.offset = offset
	return r.line
}

func (r *xmlReader) fail(format string, args ...any) error {
	return &xmlError{r.line, fmt.Sprintf(format, args...)}
}

func (r *xmlReader) read() error {
	for {
		start := int(r.decoder.InputOffset())
		token, err := r.decoder.RawToken()
		line := r.advance(start)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) {
				return &xmlError{syntax.Line, syntax.Msg}
			}
			return &xmlError{line, strings.TrimPrefix(err.Error(), "xml: ")}
		}
		switch token := token.(type) {
		case xml.StartElement:
			err = r.open(token, start, int(r.decoder.InputOffset()))
		case xml.EndElement:
			err = r.close(qualified(token.Name))
		case xml.CharData:
			err = r.characters(token)
		case xml.Directive:
			if r.doc.root != nil || r.typed {
				err = r.fail("a document type stands before the file's element, and once")
			}
			r.typed = true
		case xml.ProcInst:
			if token.Target == "xml" && start > 0 {
				err = r.fail("the XML declaration is not at the beginning of the file")
			}
		}
		if err != nil {
			return err
		}
	}
	if len(r.stack) > 0 {
		return &xmlError{r.top().line, fmt.Sprintf("<%s> is never closed", r.top().name)}
	}
	if r.doc.root == nil {
		return &xmlError{1, "it holds no element"}
	}
	return nil
}

func qualified(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + ":" + name.Local
}

func (r *xmlReader) open(token xml.StartElement, start, end int) error {
	e := &element{name: qualified(token.Name), line: r.line, start: start, end: end}
	if r.elements++; r.elements > maxXMLElements {
		return r.fail("it has more than %d elements", maxXMLElements)
	}
	if len(r.stack) >= maxXMLDepth {
		return r.fail("more than %d elements within each other", maxXMLDepth)
	}
	if len(token.Attr) > maxXMLNames {
		return r.fail("<%s> has more than %d attributes", e.name, maxXMLNames)
	}
	if len(r.stack) == 0 && r.doc.root != nil {
		return r.fail("<%s> comes after the end of <%s>; a file holds one element at its top", e.name, r.doc.root.name)
	}
	var prefixes []string
	seen := make(map[string]bool, len(token.Attr))
	for _, a := range token.Attr {
		name := qualified(a.Name)
		if seen[name] {
			return r.fail("<%s> has the attribute %q twice", e.name, name)
		}
		seen[name] = true
		if a.Name.Space == "xmlns" {
			prefixes = append(prefixes, a.Name.Local)
		}
		e.attributes = append(e.attributes, attribute{name, a.Value})
	}
	if len(r.stack) > 0 {
		parent := r.top()
		parent.children = append(parent.children, e)
	} else {
		r.doc.root = e
	}
	r.stack = append(r.stack, openElement{element: e, prefixes: prefixes})
	if !r.declares(token.Name.Space) {
		return r.undeclared(token.Name)
	}
	for _, a := range token.Attr {
		if !r.declares(a.Name.Space) {
			return r.undeclared(a.Name)
		}
	}
	return nil
}

func (r *xmlReader) undeclared(name xml.Name) error {
	return r.fail("the prefix %q of %q is declared nowhere (xmlns:%s=…)", name.Space, qualified(name), name.Space)
}

func (r *xmlReader) declares(prefix string) bool {
	if prefix == "" || prefix == "xml" || prefix == "xmlns" {
		return true
	}
	for i := range r.stack {
		if slices.Contains(r.stack[i].prefixes, prefix) {
			return true
		}
	}
	return false
}

func (r *xmlReader) close(name string) error {
	if len(r.stack) == 0 {
		return r.fail("</%s> closes nothing", name)
	}
	open := r.top()
	if open.name != name {
		return r.fail("</%s> closes <%s> of line %d", name, open.name, open.line)
	}
	open.element.text, open.element.rest = string(open.text), string(open.rest)
	r.stack = r.stack[:len(r.stack)-1]
	return nil
}

func (r *xmlReader) characters(data xml.CharData) error {
	if len(r.stack) == 0 {
		if len(bytes.TrimSpace(data)) > 0 {
			return r.fail("text stands outside of the file's element")
		}
		return nil
	}
	open := r.top()
	if len(open.children) == 0 {
		open.text = append(open.text, data...)
	} else if len(bytes.TrimSpace(data)) > 0 {
		open.rest = append(open.rest, data...)
	}
	return nil
}

var declaration = regexp.MustCompile(`^<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)

// decodeXML returns the text as UTF-8 without a byte order mark.
func decodeXML(content []byte) ([]byte, error) {
	var from encoding.Encoding
	switch {
	case bytes.HasPrefix(content, []byte("\xef\xbb\xbf")):
		content = content[3:]
	case bytes.HasPrefix(content, []byte("\xff\xfe")), bytes.HasPrefix(content, []byte("\xfe\xff")):
		from = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	default:
		match := declaration.FindSubmatch(content[:min(len(content), 256)])
		if match == nil || strings.EqualFold(string(match[1]), "utf-8") {
			break
		}
		var err error
		if from, err = htmlindex.Get(string(match[1])); err != nil {
			return nil, &xmlError{1, fmt.Sprintf("the encoding %q is not known", match[1])}
		}
	}
	if from != nil {
		decoded, err := from.NewDecoder().Bytes(content)
		if err != nil {
			return nil, &xmlError{1, fmt.Sprintf("decoding it: %v", err)}
		}
		content = decoded
	}
	if !utf8.Valid(content) {
		line := 1
		for rest := content; len(rest) > 0; {
			c, size := utf8.DecodeRune(rest)
			if c == utf8.RuneError && size == 1 {
				break
			}
			if c == '\n' {
				line++
			}
			rest = rest[size:]
		}
		return nil, &xmlError{line, "it is not UTF-8"}
	}
	return content, nil
}

var entity = regexp.MustCompile(`<!ENTITY\s+(%\s+)?([\w.-]+)\s+(?:(SYSTEM|PUBLIC)\b|"([^"]*)"|'([^']*)')?`)

// readEntities returns the entities that a document type declares. Those that stand for others, or
// for a file, are refused: they serve attacks, and no module needs them.
func readEntities(text []byte) (map[string]string, error) {
	if !bytes.Contains(text, []byte("<!ENTITY")) {
		return nil, nil
	}
	entities := map[string]string{}
	longest := 0
	for _, match := range entity.FindAllSubmatchIndex(text, maxXMLEntities+1) {
		line := bytes.Count(text[:match[0]], []byte("\n")) + 1
		group := func(i int) string {
			if match[2*i] < 0 {
				return ""
			}
			return string(text[match[2*i]:match[2*i+1]])
		}
		value := group(4) + group(5)
		switch {
		case len(entities) >= maxXMLEntities:
			return nil, &xmlError{line, fmt.Sprintf("it declares more than %d entities", maxXMLEntities)}
		case group(1) != "" || group(3) != "":
			return nil, &xmlError{line, fmt.Sprintf("the entity %q stands for something outside of the file, which is not read", group(2))}
		case strings.ContainsAny(value, "<%"):
			return nil, &xmlError{line, fmt.Sprintf("the entity %q stands for more than plain text, which is not read", group(2))}
		}
		plain, ok := characterReferences(value)
		if !ok {
			return nil, &xmlError{line, fmt.Sprintf("the entity %q stands for other entities, which is not read: such files can grow without bound", group(2))}
		}
		entities[group(2)] = plain
		longest = max(longest, len(plain))
	}
	if n := bytes.Count(text, []byte("&")); n*longest > maxXMLExpanded {
		return nil, &xmlError{1, fmt.Sprintf("its %d entities could stand for more than %d MB", n, maxXMLExpanded>>20)}
	}
	return entities, nil
}

var characterReference = regexp.MustCompile(`&(#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6}|lt|gt|amp|quot|apos);`)

// characterReferences replaces what needs no declaration; it fails where something else is left.
func characterReferences(value string) (string, bool) {
	if strings.Contains(characterReference.ReplaceAllString(value, ""), "&") {
		return "", false
	}
	var decoded struct {
		Text string `xml:",chardata"`
	}
	if err := xml.Unmarshal([]byte("<x>"+value+"</x>"), &decoded); err != nil {
		return "", false
	}
	return decoded.Text, true
}
