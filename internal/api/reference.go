package api

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// The reference page is one HTML file and one style sheet, made from the document: no script, nothing from elsewhere.

//go:embed reference
var referenceFiles embed.FS

// referencePolicy lets the page load its style sheet, and nothing else.
const referencePolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// reference answers what is open to anybody: the page at /api, its style sheet, and the document.
func reference(document *huma.OpenAPI, api http.Handler) http.Handler {
	page, err := referencePage(document)
	if err != nil {
		panic(err) // a template that does not fit the document; the tests find it
	}
	text, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	style, err := referenceFiles.ReadFile("reference/reference.css")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	file := func(pattern, kind string, content []byte) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", referencePolicy)
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(content)
		})
	}
	file("/api", "text/html; charset=utf-8", page)
	file("/api/{$}", "text/html; charset=utf-8", page)
	file("/api/reference.css", "text/css; charset=utf-8", style)
	file("/api/openapi.json", "application/openapi+json", text)
	return mux
}

// The page, as its template has it.
type (
	referenceView struct {
		Title, Version, Says string
		Groups               []referenceGroup
		Kinds                []kind
		Schemas              []referenceSchema
	}
	referenceGroup struct {
		Name, Says string
		Operations []referenceOperation
	}
	referenceOperation struct {
		ID, Method, Path, Summary string
		Paragraphs                []string
		Parameters                []referenceField
		Body                      []referenceField
		Answers                   []referenceAnswer
	}
	referenceField struct {
		Name, In, Type, Link, Says string
		Required                   bool
	}
	referenceAnswer struct{ Status, Type, Link, Says string }
	referenceSchema struct {
		Name   string
		Says   string
		Fields []referenceField
	}
)

func referencePage(document *huma.OpenAPI) ([]byte, error) {
	view := referenceView{Title: document.Info.Title, Version: document.Info.Version, Says: document.Info.Description, Kinds: problemKinds}
	for _, t := range document.Tags {
		group := referenceGroup{Name: t.Name, Says: t.Description}
		for _, p := range slices.Sorted(maps.Keys(document.Paths)) {
			item := document.Paths[p]
			for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
				if o != nil && slices.Contains(o.Tags, t.Name) {
					group.Operations = append(group.Operations, operationView(o))
				}
			}
		}
		if len(group.Operations) > 0 {
			view.Groups = append(view.Groups, group)
		}
	}
	schemas := document.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		view.Schemas = append(view.Schemas, referenceSchema{Name: name, Says: schemas[name].Description, Fields: fieldsOf(schemas[name])})
	}
	t, err := template.ParseFS(referenceFiles, "reference/reference.html")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, view)
	return out.Bytes(), err
}

func operationView(o *huma.Operation) referenceOperation {
	v := referenceOperation{ID: o.OperationID, Method: o.Method, Path: o.Path, Summary: o.Summary, Paragraphs: strings.Split(o.Description, "\n\n")}
	for _, p := range o.Parameters {
		kind, link := typeAndLink(p.Schema)
		v.Parameters = append(v.Parameters, referenceField{Name: p.Name, In: p.In, Type: kind, Link: link, Says: saysOf(p.Description, p.Schema), Required: p.Required})
	}
	if o.RequestBody != nil {
		for _, m := range o.RequestBody.Content {
			kind, link := typeAndLink(m.Schema)
			v.Body = append(v.Body, referenceField{Name: "body", Type: kind, Link: link, Required: o.RequestBody.Required})
		}
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		r := o.Responses[status]
		a := referenceAnswer{Status: status, Says: r.Description}
		for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
			if n, _ := strconv.Atoi(status); n < 300 && r.Content[kind].Schema != nil {
				a.Type, a.Link = typeAndLink(r.Content[kind].Schema)
			}
		}
		v.Answers = append(v.Answers, a)
	}
	return v
}

func fieldsOf(s *huma.Schema) []referenceField {
	var fields []referenceField
	for _, name := range slices.SortedFunc(maps.Keys(s.Properties), func(a, b string) int {
		return cmp.Or(-cmp.Compare(btoi(slices.Contains(s.Required, a)), btoi(slices.Contains(s.Required, b))), cmp.Compare(a, b))
	}) {
		if name == "$schema" {
			continue
		}
		kind, link := typeAndLink(s.Properties[name])
		fields = append(fields, referenceField{Name: name, Type: kind, Link: link, Says: saysOf(s.Properties[name].Description, s.Properties[name]), Required: slices.Contains(s.Required, name)})
	}
	return fields
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// typeAndLink is what a schema is called, and where it is explained.
func typeAndLink(s *huma.Schema) (kind, link string) {
	switch {
	case s == nil:
		return "anything", ""
	case s.Ref != "":
		name := path.Base(s.Ref)
		return name, "#schema-" + name
	case s.Type == huma.TypeArray:
		kind, link = typeAndLink(s.Items)
		return "list of " + kind, link
	case s.Type == "":
		return "anything", ""
	case s.Format != "":
		return s.Type + " (" + s.Format + ")", ""
	}
	return s.Type, ""
}

func saysOf(description string, s *huma.Schema) string {
	says := []string{}
	if description != "" {
		says = append(says, description)
	}
	if s != nil && len(s.Enum) > 0 {
		var words []string
		for _, e := range s.Enum {
			if text, err := json.Marshal(e); err == nil {
				words = append(words, strings.Trim(string(text), `"`))
			}
		}
		says = append(says, "One of: "+strings.Join(words, ", "))
	}
	if s != nil && s.Default != nil {
		if text, err := json.Marshal(s.Default); err == nil {
			says = append(says, "Default: "+string(text))
		}
	}
	return strings.Join(says, ". ")
}
