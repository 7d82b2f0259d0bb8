package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waybill-dev/waybill/internal/identity"
)

//go:generate go run ./gen -out ../../docs/schemas/openapi.json

// Document is the OpenAPI 3.1 document of the API, as docs/schemas/openapi.json.
func Document() ([]byte, error) {
	_, document, _ := Backend{Version: "v1", Events: NewEvents(nil, nil)}.mux()
	text, err := json.MarshalIndent(document, "", "  ")
	return append(text, '\n'), err
}

// mux has all routes, describes them, and says which requests are open to anybody.
func (b Backend) mux() (mux *http.ServeMux, document *huma.OpenAPI, open func(*http.Request) bool) {
	mux = http.NewServeMux()
	config := huma.DefaultConfig("Waybill", b.Version)
	config.Formats = formats()
	config.Info.Description = "Release reliability for ERP. The command line and the console use nothing else. See docs/api.md."
	config.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	config.OpenAPIPath = "/api/v1/openapi"
	config.DocsPath = ""
	config.SchemasPath = "/api/v1/schemas"
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "A user's token, or that of the data folder; see docs/access.md"},
		"session": {Type: "apiKey", In: "cookie", Name: plainCookie, Description: "Opened by POST /api/v1/login; with TLS its name is " + secureCookie + ". What changes anything is refused from pages of other sites."},
	}
	config.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	api := humago.New(mux, config)
	api.UseMiddleware(countedAs, b.gate(api))
	b.routes(api)
	mux.HandleFunc("/", nothingHere(mux))
	open = openRoutes(mux, api.OpenAPI())
	finish(api.OpenAPI())
	return mux, api.OpenAPI(), open
}

// nothingHere answers what no route does, as a problem.
func nothingHere(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var other []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			try := r.Clone(r.Context())
			try.Method = method
			if _, pattern := mux.Handler(try); pattern != "/" && pattern != "" {
				other = append(other, method)
			}
		}
		if len(other) > 0 {
			w.Header().Set("Allow", strings.Join(other, ", "))
			refuse(w, http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed), "This path takes "+strings.Join(other, ", ")+".")
			return
		}
		refuse(w, http.StatusNotFound, http.StatusText(http.StatusNotFound), "There is no such path. The reference is at /api.")
	}
}

// tags are the groups of operations, by the first word of their path.
var tags = []struct{ Name, Words, Says string }{
	{"Promotions", "promotions configurations quarantine", "Releases on their way into environments"},
	{"Emergencies", "reviews", "Promotions for which somebody broke the glass"},
	{"Releases", "releases impact vulnerabilities", "What can be promoted, what it would do, and what is known of it"},
	{"Rehearsals", "rehearsals", "Updates that were tried on a copy"},
	{"Tenants", "tenants checkpoints restores neighbours", "Databases, their checkpoints and where these are restored"},
	{"Environments", "status isolation drift secrets runbooks", "What runs where, and whether it is well"},
	{"Estate", "estate", "The declared state in Git"},
	{"Ledger", "ledger", "The record of everything that was decided and done"},
	{"People", "whoami me users tokens login logout sessions session passwords password oidc", "Who asks, and what they may"},
	{"Events", "events", "Changes as they happen"},
	{"Reports", "reports calendar metrics", "Figures over time"},
	{"Server", "doctor", "The installation itself"},
}

// finish says what the routes themselves leave out: names, groups, and every answer that may come.
func finish(document *huma.OpenAPI) {
	for _, t := range tags {
		document.Tags = append(document.Tags, &huma.Tag{Name: t.Name, Description: t.Says})
	}
	problem := document.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")
	named := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) { // the shorter of two goes first
		item := document.Paths[path]
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if o == nil {
				continue
			}
			complete(o, path, problem)
			if words := strings.Split(path, "/"); named[o.OperationID] {
				o.OperationID += "By" + camel(strings.Trim(words[len(words)-1], "{}"))
			}
			named[o.OperationID] = true
		}
	}
}

var shortest, longest = 1, maxOnceKey // of an Idempotency-Key

func complete(o *huma.Operation, path string, problem *huma.Schema) {
	words := strings.Split(strings.TrimPrefix(path, "/api/v1/"), "/")
	o.Tags = []string{"Server"}
	for _, t := range tags {
		if slices.Contains(strings.Fields(t.Words), words[0]) {
			o.Tags = []string{t.Name}
		}
	}
	o.OperationID = operationID(o, words)
	if op, _ := o.Metadata["operation"].(identity.Operation); op != "" {
		if rule, ok := identity.RuleOf(op); ok {
			if _, nobodySaid := o.Metadata["_convenience_summary"]; nobodySaid { // see huma.GenerateSummary
				o.Summary = strings.ToUpper(rule.Does[:1]) + rule.Does[1:]
			}
			if o.Description != "" {
				o.Description = strings.TrimSuffix(o.Description, ".") + ".\n\n"
			}
			o.Description += "Takes " + rolesOf(rule) + ", " + string(rule.Reach) + "; see operation `" + string(op) + "` in docs/roles.md."
		}
	}
	if (o.Method == http.MethodPost || o.Method == http.MethodDelete) && words[0] != "login" && words[len(words)-1] != "password" {
		o.Parameters = append(o.Parameters, &huma.Param{Name: onceHeader, In: "header", Description: "Chosen at random by the client. The same key with the same request is answered as the first time, for 24 hours, and has no second effect.",
			Schema: &huma.Schema{Type: huma.TypeString, MinLength: &shortest, MaxLength: &longest}})
	}
	delete(o.Responses, "default")
	for _, status := range statuses(o) {
		code := strconv.Itoa(status)
		if _, said := o.Responses[code]; said { // by the route itself
			continue
		}
		var kinds []string
		says := ""
		for _, k := range problemKinds {
			if k.Status == status {
				kinds = append(kinds, k.Name)
				if says == "" {
					says = k.Says
				}
			}
		}
		o.Responses[code] = &huma.Response{Description: says, Content: map[string]*huma.MediaType{"application/problem+json": {
			Schema: problem, Examples: map[string]*huma.Example{kinds[0]: {Summary: says, Value: map[string]any{
				"type": problemsAt + kinds[0], "title": http.StatusText(status), "status": status, "detail": says}}},
		}}}
	}
}

func rolesOf(rule identity.Rule) string {
	roles := slices.Clone(rule.Others)
	for _, r := range rule.Own {
		if !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return "the role " + strings.Join(words, " or ")
}

// statuses are the problems that an operation may answer with.
func statuses(o *huma.Operation) []int {
	list := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusUnprocessableEntity}
	for _, p := range o.Parameters {
		if p.In == "path" {
			list = append(list, http.StatusNotFound)
		}
	}
	if o.RequestBody != nil {
		list = append(list, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusRequestTimeout)
	}
	if o.Method != http.MethodGet {
		list = append(list, http.StatusConflict, http.StatusRequestEntityTooLarge)
	}
	more, _ := o.Metadata["answers"].([]int)
	list = append(list, more...)
	slices.Sort(list)
	return slices.Compact(list)
}

// answers says with which problems a route answers beside those that every one of its kind may.
func answers(statuses ...int) func(*huma.Operation) {
	return func(o *huma.Operation) {
		if o.Metadata == nil {
			o.Metadata = map[string]any{}
		}
		o.Metadata["answers"] = statuses
	}
}

// operationID is a name for an operation in code that is made from the document: listPromotions, getPromotion,
// approvePromotion, createToken.
func operationID(o *huma.Operation, words []string) string {
	var things []string // the static words; each that a parameter follows names one thing
	ends := ""          // the last one, where it follows a parameter
	for i, w := range words {
		if strings.HasPrefix(w, "{") {
			continue
		}
		after := i+1 < len(words) && strings.HasPrefix(words[i+1], "{") && (o.Method != http.MethodGet || !isList(o) || slices.ContainsFunc(words[i+1:], func(w string) bool { return !strings.HasPrefix(w, "{") }))
		if i > 0 && i == len(words)-1 {
			ends = w
		}
		if after {
			w = singular(w)
		}
		things = append(things, camel(w))
	}
	name := strings.Join(things, "")
	switch o.Method {
	case http.MethodGet:
		if isList(o) {
			return "list" + name
		}
		return "get" + name
	case http.MethodDelete:
		return "delete" + name
	case http.MethodPut:
		return "set" + name
	}
	switch {
	case words[0] == "login" || words[0] == "logout":
		return words[0]
	case ends == "database" || ends == "bridge":
		return "rotate" + camel(ends) + strings.Join(things[:len(things)-1], "")
	case ends != "":
		return ends + strings.Join(things[:len(things)-1], "")
	}
	return "create" + singular(name)
}

func isList(o *huma.Operation) bool {
	r := o.Responses["200"]
	if r == nil || r.Content["application/json"] == nil {
		return false
	}
	s := r.Content["application/json"].Schema
	return s != nil && s.Type == huma.TypeArray
}

func singular(w string) string {
	switch {
	case strings.HasSuffix(w, "ies"):
		return strings.TrimSuffix(w, "ies") + "y"
	case strings.HasSuffix(w, "ss"), strings.HasSuffix(w, "us"), w == "whoami":
		return w
	}
	return strings.TrimSuffix(w, "s")
}

func camel(w string) string {
	var b strings.Builder
	up := true
	for _, r := range w {
		switch {
		case r == '-' || r == '_' || r == '.':
			up = true
			continue
		case up:
			r = unicode.ToUpper(r)
		}
		up = false
		b.WriteRune(r)
	}
	return b.String()
}
