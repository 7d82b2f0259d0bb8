package api

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
)

var update = flag.Bool("update", false, "write docs/schemas/openapi.json")

// described is what the document says of an operation.
type described struct {
	OperationID string   `json:"operationId"`
	Summary     string   `json:"summary"`
	Tags        []string `json:"tags"`
	Operation   string   `json:"x-waybill-operation"`
	Security    *[]any   `json:"security"`
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   schema
	}
	RequestBody struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}

	method, path string
}

// schema is as much of JSON Schema as the document has.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Format               string
	Pattern              string
	Enum                 []any
	Properties           map[string]schema
	AdditionalProperties any `json:"additionalProperties"`
	Required             []string
	Items                *schema
	MinLength, MaxLength *int
	MinItems, MaxItems   *int
	Minimum, Maximum     *float64
}

func (s schema) kind() string {
	if list, ok := s.Type.([]any); ok { // ["array", "null"]
		kind, _ := list[0].(string)
		return kind
	}
	kind, _ := s.Type.(string)
	return kind
}

// document is what the API says of itself.
type document struct {
	operations []described
	schemas    map[string]schema
}

func (b *bench) document() document {
	b.t.Helper()
	var read struct {
		Paths      map[string]map[string]described
		Components struct{ Schemas map[string]schema }
	}
	b.ask("the-owner's", "GET", "/api/v1/openapi.json", nil).into(b.t, &read)
	d := document{schemas: read.Components.Schemas}
	for _, path := range slices.Sorted(maps.Keys(read.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(read.Paths[path])) {
			o := read.Paths[path][method]
			o.method, o.path = strings.ToUpper(method), path
			d.operations = append(d.operations, o)
		}
	}
	return d
}

func (d document) of(s schema) schema {
	if s.Ref != "" {
		return d.schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	return s
}

func (o described) open() bool { return o.Security != nil && len(*o.Security) == 0 }

// values are those of parameters and fields that must name something which is there.
func values(x things, o described, name string) (any, bool) {
	switch name {
	case "environment":
		return "production", true
	case "tenant":
		return "acme", true
	case "release", "ref":
		return x.release, true
	case "user":
		return x.user, true
	case "run", "sequence":
		return 1, true
	case "limit":
		return 1, true
	case "commit":
		return strings.Repeat("0", 40), true
	case "after", "Last-Event-ID", "wait", "cursor", "before":
		return nil, false
	case "name":
		if strings.Contains(o.path, "/users/") {
			return x.user, true
		}
		return "look", true
	case "id":
		switch first, _, _ := strings.Cut(strings.TrimPrefix(o.path, "/api/v1/"), "/"); first {
		case "releases", "quarantine":
			return x.release, true
		case "rehearsals":
			return x.rehearsal, true
		case "tokens":
			return x.token, true
		default:
			return x.promotion, true
		}
	}
	return nil, false
}

// maker makes requests from the document.
type maker struct {
	document
	x       things
	rand    *rand.Rand // nil: as little as will do
	mutated bool       // some of it is not as the document says
}

func (m *maker) chance(n int) bool { return m.rand != nil && m.rand.IntN(n) == 0 }

// request is one for an operation: all that is needed, and by chance some of what is not.
func (m *maker) request(o described) (path string, body any) {
	path = o.path
	query := url.Values{}
	for _, p := range o.Parameters {
		known, has := values(m.x, o, p.Name)
		var v any
		switch {
		case has && !m.chance(4):
			v = known
		case p.In == "query" && !p.Required && !m.chance(2):
			continue
		default:
			v = m.value(p.Schema, 0)
		}
		text := fmt.Sprint(v)
		switch p.In {
		case "path":
			if text == "" || text == "." || text == ".." {
				text = "x"
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(text))
		case "query":
			query.Set(p.Name, text)
		}
	}
	if o.path == "/api/v1/events" {
		query.Set("limit", "1")
	}
	if n, err := strconv.Atoi(query.Get("wait")); err == nil && n > 1 && n <= 30 {
		query.Set("wait", "1") // seconds; nothing more comes of waiting longer
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	if c, has := o.RequestBody.Content["application/json"]; has {
		body = m.body(o, m.of(c.Schema), 0)
	}
	return path, body
}

func (m *maker) body(o described, s schema, depth int) any {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if name == "$schema" || !slices.Contains(s.Required, name) && !m.chance(2) {
			continue
		}
		if v, known := values(m.x, o, name); known && name != "id" && !m.chance(4) {
			object[name] = v
			continue
		}
		object[name] = m.value(s.Properties[name], depth+1)
	}
	if m.mutated {
		switch m.rand.IntN(8) {
		case 0:
			object["unknown\x00field"] = 1
		case 1:
			for name := range object {
				delete(object, name)
				break
			}
		case 2:
			return []any{object}
		case 3:
			return nil
		}
	}
	return object
}

// strange are strings that break what is not careful.
var strange = []string{"", "\x00", "a\x00b", "'; drop table promotions; --", "%00", "../../etc/passwd", strings.Repeat("x", 100_000), "\u202eevil", "ﷺ", "{{.}}", "-1", "null", "\r\nX: y", "日本"}

func (m *maker) value(s schema, depth int) any {
	s = m.of(s)
	if m.mutated && m.rand.IntN(4) == 0 {
		return []any{nil, -1, 1e300, true, []any{}, map[string]any{}, strange[m.rand.IntN(len(strange))]}[m.rand.IntN(7)]
	}
	if len(s.Enum) > 0 {
		i := 0
		if m.rand != nil {
			i = m.rand.IntN(len(s.Enum))
		}
		return s.Enum[i]
	}
	switch s.kind() {
	case "object":
		object := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if name != "$schema" && depth < 6 && (slices.Contains(s.Required, name) || m.chance(3)) {
				object[name] = m.value(s.Properties[name], depth+1)
			}
		}
		return object
	case "array":
		n := 0
		if s.MinItems != nil {
			n = *s.MinItems
		}
		if m.rand != nil {
			n += m.rand.IntN(3)
		}
		list := make([]any, n)
		for i := range list {
			list[i] = m.value(*s.Items, depth+1)
		}
		return list
	case "integer", "number":
		low, high := 1.0, 100.0
		if s.Minimum != nil {
			low = *s.Minimum
		}
		if s.Maximum != nil {
			high = *s.Maximum
		}
		if m.rand == nil || high <= low {
			return int64(low)
		}
		return int64(low) + m.rand.Int64N(int64(high-low)+1)
	case "boolean":
		return m.chance(2)
	}
	switch {
	case s.Format == "date-time":
		return "2026-11-22T19:00:00Z"
	case strings.HasPrefix(s.Pattern, "^([0-9a-f]{40}"):
		return strings.Repeat("0", 40)
	}
	low, high := 1, 20
	if s.MinLength != nil {
		low = *s.MinLength
	}
	if s.MaxLength != nil {
		high = *s.MaxLength
	}
	n := low
	if m.rand != nil && high > low {
		n += m.rand.IntN(min(high-low, 40) + 1)
	}
	if m.chance(3) {
		if text := []rune(strange[m.rand.IntN(len(strange))]); len(text) >= low && len(text) <= high {
			return string(text)
		}
	}
	return strings.Repeat("a", n)
}

func TestEveryKindOfPromotionIsDocumented(t *testing.T) {
	b := setup(t)
	var known []string
	for _, kind := range b.document().schemas["Promotion"].Properties["kind"].Enum {
		known = append(known, fmt.Sprint(kind))
	}
	require.ElementsMatch(t, promotion.Kinds(), known)
}

func TestDocumentIsWhole(t *testing.T) {
	b := setup(t)
	seen := map[string]string{}
	for _, o := range b.document().operations {
		what := o.method + " " + o.path
		require.NotEmpty(t, o.OperationID, what)
		require.Empty(t, seen[o.OperationID], "%s and %s are both called %s", what, seen[o.OperationID], o.OperationID)
		seen[o.OperationID] = what
		require.Len(t, o.Tags, 1, what)
		require.NotContains(t, o.Summary, "api v1", "%s says nothing of itself", what)
		require.NotEmpty(t, o.Summary, what)
		for status, r := range o.Responses {
			if _, page := r.Content["text/html"]; page && strings.HasPrefix(o.path, openIDPath) {
				continue // for people, in the middle of a login
			}
			if status >= "400" {
				require.Contains(t, r.Content, "application/problem+json", "%s %s", what, status)
			}
		}
		if !o.open() {
			for _, status := range []string{"401", "403", "422", "429", "500", "503"} {
				require.Contains(t, o.Responses, status, what)
			}
		}
	}
	now, err := Document()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("../../docs/schemas/openapi.json", now, 0o644))
	}
	kept, err := os.ReadFile("../../docs/schemas/openapi.json")
	require.NoError(t, err)
	require.Equal(t, string(kept), string(now), "docs/schemas/openapi.json is out of date; run: make generate")
}

// Whoever asks gets an answer that the document has: 401 without a login, 403 where the table of roles says no, and never else.
func TestEveryOperationAnswersAsDocumented(t *testing.T) {
	b := setup(t)
	users := []estate.User{user("somebody", estate.RoleViewer)}
	for _, role := range estate.Roles {
		users = append(users, user("docs-here-"+string(role), role, "production"), user("docs-elsewhere-"+string(role), role, "test"))
	}
	b.declare(users...)
	d := b.document()
	asked := 0
	for i, u := range users[1:] {
		token := b.token(u.Name)
		m := &maker{document: d, x: b.made("somebody", fmt.Sprintf("doc%02d", i))}
		for _, o := range d.operations {
			what := fmt.Sprintf("%s %s by %s", o.method, o.path, u.Name)
			path, body := m.request(o)
			if o.open() {
				said := b.ask("", o.method, path, body)
				require.Contains(t, o.Responses, fmt.Sprint(said.status), "%s: %s", what, said.text)
				continue
			}
			if i == 0 {
				said := b.ask("", o.method, path, body)
				require.Equal(t, http.StatusUnauthorized, said.status, what)
				require.Contains(t, said.text, `"type":"/api#problem-not-logged-in"`, what)
			}
			said := b.ask(token, o.method, path, body)
			asked++
			may := expected(u, identity.Operation(o.Operation), false, slices.Contains(lists, o.method+" "+o.path))
			require.Contains(t, o.Responses, fmt.Sprint(said.status), "%s: the document knows no such answer: %s", what, said.text)
			require.Less(t, said.status, 500, "%s: %s", what, said.text)
			require.Equal(t, may, said.status != http.StatusForbidden, "%s: %d %s", what, said.status, said.text)
			if said.status >= 400 {
				require.Equal(t, "application/problem+json", said.header.Get("Content-Type"), what)
				var p struct{ Type string }
				require.NoError(t, json.Unmarshal([]byte(said.text), &p))
				require.True(t, slices.ContainsFunc(problemKinds, func(k kind) bool { return problemsAt+k.Name == p.Type && k.Status == said.status }), "%s: %s", what, said.text)
			}
		}
	}
	t.Logf("%d operations, %d requests", len(d.operations), asked)
}

// bombard sends requests, valid ones and mutated ones, of everything there is: no answer is the server's own failure.
func (b *bench) bombard(d document, x things, seed uint64, rounds int) int {
	b.t.Helper()
	asked := 0
	for round := range rounds {
		for i, o := range d.operations {
			m := &maker{document: d, x: x, rand: rand.New(rand.NewPCG(seed, uint64(round*len(d.operations)+i)))}
			m.mutated = m.rand.IntN(2) == 0
			path, body := m.request(o)
			said := b.ask("the-owner's", o.method, path, body)
			asked++
			shown := path
			if len(shown) > 300 {
				shown = shown[:300]
			}
			if said.status >= 500 {
				text, _ := json.Marshal(body)
				b.t.Fatalf("%s %s (seed %d, round %d): %d %s\n%.500s", o.method, shown, seed, round, said.status, said.text, text)
			}
			if said.status != 404 && said.status != 400 && said.status != 414 && said.status != 431 { // of the HTTP server itself, before the API
				if _, known := o.Responses[fmt.Sprint(said.status)]; !known {
					b.t.Fatalf("%s %s: the document has no answer %d: %s", o.method, shown, said.status, said.text)
				}
			}
		}
	}
	return asked
}

func TestGeneratedRequests(t *testing.T) {
	long.Test(t)
	b := setup(t)
	t.Logf("%d requests", b.bombard(b.document(), b.made("somebody", "generated"), 9, 8))
}

func FuzzRequests(f *testing.F) {
	long.Test(f)
	b := setup(f)
	d, x := b.document(), b.made("somebody", "fuzzed")
	f.Add(uint64(1))
	f.Add(uint64(20261122))
	f.Fuzz(func(t *testing.T, seed uint64) {
		b.t = t // one at a time
		b.bombard(d, x, seed, 1)
	})
}
