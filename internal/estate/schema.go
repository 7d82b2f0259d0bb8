package estate

import (
	"embed" // the files with the types, whose comments describe the fields
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/secret"
)

//go:generate go run ./gen -out ../../docs/schemas

//go:embed types.go checks.go vulnerabilities.go trust.go signals.go policy.go access.go calendar.go notifications.go gitops.go emergency.go rings.go isolation.go limits.go resources.go drift.go scale.go template.go
var typesSources embed.FS

// schemaBase makes the identifiers of the schemas unique; nothing is fetched from there.
const schemaBase = "urn:waybill:estate:"

// Schemas returns the JSON Schemas (2020-12) of the kinds by file name without .json: "product",
// "environment", "tenant", "tenanttemplate", "classification", "checks", "vulnerabilities", "trust", "access", and "estate" for a document of any kind. They come
// from the types, their comments and the rules that Parse follows.
func Schemas() map[string][]byte { return builtSchemas() }

var builtSchemas = sync.OnceValue(func() map[string][]byte {
	texts := comments(typesSources)
	out := map[string][]byte{}
	var all []*schema
	for _, kind := range []struct {
		name     string
		value    any
		required []string
	}{
		{"Product", filled((*Product).fill, Product{}), []string{"name", "series", "environments"}},
		{"Environment", filled((*Environment).fill, Environment{}), []string{"name", "runtime"}},
		{"Tenant", filled((*Tenant).fill, Tenant{}), []string{"name", "environment", "hosts"}},
		{"TenantTemplate", filled((*TenantTemplate).fill, TenantTemplate{}), []string{"name", "environments", "hosts"}},
		{"Classification", filled((*Classification).fill, Classification{}), []string{"release", "class", "reason"}},
		{"Checks", filled((*Checks).fill, Checks{}), nil},
		{"Vulnerabilities", filled((*Vulnerabilities).fill, Vulnerabilities{}), []string{"databases"}},
		{"Trust", filled((*Trust).fill, Trust{}), nil},
		{"Policy", filled((*Policy).fill, Policy{}), []string{"name", "rules"}},
		{"Access", filled((*Access).fill, Access{}), nil},
		{"Calendar", filled((*Calendar).fill, Calendar{}), []string{"name", "timezone"}},
		{"Notifications", filled((*Notifications).fill, Notifications{}), []string{"targets"}},
		{"Repository", filled((*Repository).fill, Repository{}), []string{"remote"}},
		{"Target", filled((*Target).fill, Target{}), []string{"environment", "release"}},
	} {
		b := schemaBuilder{kind: kind.name, texts: texts}
		s := b.object(kind.value, "")
		s.Properties["kind"] = &schema{Const: kind.name}
		s.Required = append([]string{"kind"}, kind.required...)
		all = append(all, s)
		alone := *s
		alone.Schema, alone.ID = "https://json-schema.org/draft/2020-12/schema", schemaBase+strings.ToLower(kind.name)
		alone.Title = "Waybill: " + kind.name
		out[strings.ToLower(kind.name)] = encode(&alone)
	}
	out["estate"] = encode(anyKind(all))
	return out
})

// anyKind is the schema of a document of any kind: the kind decides which one holds, so that an
// editor complains about the field that is wrong and not about every kind there is.
func anyKind(all []*schema) *schema {
	s := &schema{
		Schema: "https://json-schema.org/draft/2020-12/schema", ID: schemaBase + "any", Title: "Waybill: a document of an estate",
		Type: "object", Required: []string{"kind"},
		Properties: map[string]*schema{"kind": {Enum: words(kinds), Description: "What the document declares."}},
	}
	for i, kind := range kinds {
		s.AllOf = append(s.AllOf, &schema{
			If:   &schema{Required: []string{"kind"}, Properties: map[string]*schema{"kind": {Const: kind}}},
			Then: all[i],
		})
	}
	return s
}

// schema is the part of JSON Schema that is used here, in the order in which it reads best.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"`
	Const       any                `json:"const,omitempty"`
	Enum        []any              `json:"enum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	MaxLength   int                `json:"maxLength,omitempty"`
	Minimum     any                `json:"minimum,omitempty"`
	Maximum     any                `json:"maximum,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`
	AllOf       []*schema          `json:"allOf,omitempty"`
	Not         *schema            `json:"not,omitempty"`
	If          *schema            `json:"if,omitempty"`
	Then        *schema            `json:"then,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	MaxItems    int                `json:"maxItems,omitempty"`
	Unique      bool               `json:"uniqueItems,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Names       *schema            `json:"propertyNames,omitempty"`
	Additional  any                `json:"additionalProperties,omitempty"`
}

type schemaBuilder struct {
	kind  string
	texts map[string]string
}

// object is the schema of a struct; the values in it are the defaults.
func (b schemaBuilder) object(value any, path string) *schema {
	v := reflect.ValueOf(value)
	s := &schema{Type: "object", Description: b.texts[v.Type().Name()], Properties: map[string]*schema{}, Additional: false}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			break
		}
		name := field.Tag.Get("yaml")
		full := join(path, name)
		p := b.value(v.Field(i), full)
		if text := b.texts[v.Type().Name()+"."+field.Name]; text != "" {
			p.Description = text
		}
		b.narrow(p, full)
		s.Properties[name] = p
	}
	return s
}

// value is the schema of a field by its type.
func (b schemaBuilder) value(v reflect.Value, path string) *schema {
	switch {
	case v.Type() == durationType:
		s := &schema{Type: "string", Pattern: durationRule.String()}
		s.Default = show(time.Duration(v.Int()))
		return s
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		return b.object(reflect.Zero(v.Type().Elem()).Interface(), path)
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Float64:
		s := b.value(reflect.Zero(v.Type().Elem()), path)
		s.Default = nil
		return s
	case v.Kind() == reflect.Pointer:
		return &schema{Type: "boolean", Default: v.Elem().Interface()}
	case v.Kind() == reflect.Struct:
		return b.object(v.Interface(), path)
	case v.Kind() == reflect.Slice:
		s := &schema{Type: "array", Items: b.value(reflect.Zero(v.Type().Elem()), path+"[]"), MaxItems: maxList, Unique: true}
		s.Items.Default = nil
		if v.Len() > 0 {
			s.Default = v.Interface()
		}
		return s
	case v.Kind() == reflect.Map:
		return &schema{Type: "object", Additional: &schema{Type: []string{"string", "number", "boolean"}}}
	case v.Kind() == reflect.Bool:
		return &schema{Type: "boolean", Default: v.Bool()}
	case v.Kind() == reflect.Int:
		return &schema{Type: "integer", Default: v.Interface()}
	case v.Kind() == reflect.Float64:
		return &schema{Default: v.Interface(), AnyOf: []*schema{
			{Type: "number", Minimum: errorSpan.least, Maximum: errorSpan.most},
			{Type: "string", Pattern: percentRule.String()},
		}}
	}
	s := &schema{Type: "string"}
	if text := v.String(); text != "" {
		s.Default = text
	}
	return s
}

// narrow adds the rules that a type does not tell.
func (b schemaBuilder) narrow(s *schema, path string) {
	name := func(s *schema) { s.Pattern, s.MaxLength = nameRule.String(), maxName }
	switch b.kind + "." + path {
	case "Product.name", "Environment.name", "Tenant.name", "Tenant.environment", "TenantTemplate.name":
		name(s)
	case "Product.environments":
		s.MinItems = 1
		name(s.Items)
	case "Product.addons":
		s.MinItems = 1
		s.Items.MinLength = 1
	case "Product.series":
		s.Pattern = seriesRule.String()
	case "Environment.runtime":
		s.Required = []string{"docker"}
	case "Environment.runtime.docker":
		s.Required = []string{"http"}
	case "Environment.workers":
		s.Minimum, s.Maximum = workersSpan.least, workersSpan.most
	case "Environment.rollout.requests":
		s.Minimum, s.Maximum = requestsSpan.least, requestsSpan.most
	case "Environment.rollout.steps":
		s.MaxItems = maxSteps
		s.Items = &schema{AnyOf: []*schema{{Type: "integer", Minimum: stepSpan.least, Maximum: stepSpan.most}, {Type: "string", Pattern: `^[1-9][0-9]?%$`}}}
	case "Environment.rollout.events":
		s.Minimum, s.Maximum = requestsSpan.least, requestsSpan.most
	case "Environment.rollout.at_deadline":
		s.Enum = words(deadlines)
	case "Environment.rollout.alpha":
		s.Default = DefaultAlpha
		s.AnyOf[0].Minimum, s.AnyOf[0].Maximum = alphaSpan.least, alphaSpan.most
	case "Environment.rollout.signals":
		s.MaxItems = maxSignalRules
		s.Items.Required = []string{"signal"}
	case "Environment.rollout.signals[].signal":
		s.Pattern = signalRule.String()
	case "Environment.rollout.signals[].role":
		s.Enum = words(signalRoles)
	case "Environment.rollout.signals[].tolerance":
		s.AnyOf[0].Minimum, s.AnyOf[0].Maximum = toleranceSpan.least, toleranceSpan.most
	case "Environment.rollout.signals[].importance":
		s.Default = 1
		s.AnyOf[0].Minimum, s.AnyOf[0].Maximum = importanceSpan.least, importanceSpan.most
	case "Environment.rings":
		s.MaxItems = maxRings
		s.Items.Required = []string{"name"}
	case "Environment.rings[].name":
		name(s)
	case "Environment.rings[].tenants", "Environment.rings[].after":
		name(s.Items)
	case "Environment.rings[].labels":
		s.Names = &schema{Pattern: nameRule.String(), MaxLength: maxName}
		s.Additional = &schema{Type: "string", Pattern: labelValueRule.String()}
	case "Environment.rings[].at_once":
		s.Default, s.Minimum, s.Maximum = 1, atOnceSpan.least, atOnceSpan.most
	case "Environment.rings[].failures":
		s.Minimum, s.Maximum = failuresSpan.least, failuresSpan.most
	case "Environment.settings":
		s.Names = &schema{Pattern: settingRule.String(), Not: &schema{Enum: words(slices.Sorted(maps.Keys(reserved)))}}
	case "TenantTemplate.admin_password", "Environment.database.password", "Environment.redis.password":
		s.Pattern = secret.Pattern
	case "Environment.class", "Classification.class":
		s.Enum = words(classes)
	case "Environment.rehearsal":
		s.Enum = words(rehearsals)
	case "Environment.resources.memory_gib":
		number(s, memorySpan)
	case "Environment.resources.cpus":
		number(s, cpusSpan)
	case "Environment.limits.storage_gib", "Tenant.limits.storage_gib", "TenantTemplate.limits.storage_gib":
		number(s, storageSpan)
	case "Environment.limits.connections", "Tenant.limits.connections", "TenantTemplate.limits.connections":
		s.Default, s.Minimum, s.Maximum = nil, connectionsSpan.least, connectionsSpan.most
	case "Environment.scale.web.min":
		s.Default, s.Minimum, s.Maximum = 1, podsSpan.least, podsSpan.most
	case "Environment.scale.web.max", "Environment.scale.floors[].web":
		s.Default, s.Minimum, s.Maximum = nil, podsSpan.least, podsSpan.most
	case "Environment.scale.web.cpu":
		s.Default, s.Minimum, s.Maximum = defaultPodCPU, podCPUSpan.least, podCPUSpan.most
	case "Environment.scale.floors":
		s.Items.Required = []string{"name", "timezone", "web"}
	case "Environment.scale.floors[].name":
		s.MinLength, s.MaxLength = 1, maxText
	case "Environment.scale.floors[].starting":
		s.Pattern = dayRule.String()
	case "Environment.scale.floors[].duration":
		s.Default = nil
	case "Environment.drift":
		s.Enum = words(drifts)
	case "Tenant.hosting", "TenantTemplate.hosting":
		s.Enum = words(hostings)
	case "Tenant.database":
		s.Pattern, s.MaxLength = databaseRule.String(), maxDatabase
	case "Tenant.hosts", "TenantTemplate.hosts":
		s.MinItems = 1
		s.Items.MaxLength = maxHost
	case "Tenant.ring", "TenantTemplate.ring", "Policy.name", "Policy.rules[].id":
		name(s)
	case "TenantTemplate.environments", "Policy.environments", "Policy.rings":
		name(s.Items)
	case "Policy.classes":
		s.Items.Enum = words(classes)
	case "Policy.tenants":
		s.Names = &schema{Pattern: nameRule.String(), MaxLength: maxName}
		s.Additional = &schema{Type: "string", Pattern: labelValueRule.String()}
	case "Policy.rules":
		s.MinItems, s.MaxItems = 1, maxRules
	case "Policy.rules[].expr":
		s.MaxLength = maxExpr
	case "Policy.rules[].message", "Policy.rules[].why", "Policy.rules[].exceptions[].reason":
		s.MaxLength = maxText
	case "Policy.rules[].severity":
		s.Enum = words(severities)
	case "Policy.rules[].emergency":
		s.Enum = words(emergencies)
	case "Policy.rules[].exceptions":
		s.Items.Required = []string{"reason", "expires"}
	case "Policy.rules[].exceptions[].expires":
		s.Pattern = dayRule.String()
	case "Tenant.labels", "TenantTemplate.labels":
		s.Names = &schema{Pattern: nameRule.String(), MaxLength: maxName}
		s.Additional = &schema{Type: "string", Pattern: labelValueRule.String()}
	case "Tenant.modules", "TenantTemplate.modules":
		s.Items.Pattern = moduleRule.String()
	case "Tenant.languages", "TenantTemplate.languages":
		s.Items.Pattern = languageRule.String()
	case "Checks.levels":
		s.Additional = &schema{Enum: words(levels)}
	case "Checks.exceptions":
		s.Items.Required = []string{"check", "reason", "expires"}
	case "Checks.exceptions[].expires":
		s.Pattern = dayRule.String()
	case "Trust.require":
		s.MinItems = 1
		s.Items.Enum = words(attestations)
	case "Trust.keys":
		s.Items.Required = []string{"name"}
	case "Trust.environments":
		name(s.Items)
	case "Trust.sources", "Trust.builders":
		s.Items.MinLength, s.Items.MaxLength = 1, maxText
	case "Trust.keys[].name":
		s.MinLength, s.MaxLength = 1, maxText
	case "Trust.keys[].not_before", "Trust.keys[].not_after":
		s.Pattern = dayRule.String()
	case "Environment.approvals.required", "Environment.approvals.breaking", "Environment.approvals.infrastructure.required":
		s.Default, s.Minimum, s.Maximum = nil, peopleSpan.least, peopleSpan.most
	case "Environment.approvals.expires":
		s.Default = nil
	case "Environment.approvals.roles", "Environment.approvals.infrastructure.roles":
		s.MinItems = 1
		s.Items.Enum = words(names(ApprovingRoles))
	case "Environment.emergency.confirm":
		s.Default = nil
	case "Environment.emergency.skips":
		s.Items.Enum = words(EmergencySkips)
	case "Access.users", "Access.groups":
		s.Items.Required = []string{"name"}
	case "Access.users[].roles", "Access.groups[].roles":
		s.Items.Required = []string{"role"}
	case "Access.users[].name", "Access.groups[].name":
		name(s)
	case "Access.users[].groups", "Access.users[].roles[].environments", "Access.groups[].roles[].environments":
		name(s.Items)
	case "Access.users[].roles[].role", "Access.groups[].roles[].role":
		s.Enum = words(names(Roles))
	case "Notifications.targets":
		s.MinItems, s.MaxItems = 1, maxTargets
		s.Items.Required = []string{"name", "url"}
	case "Notifications.targets[].name":
		name(s)
	case "Notifications.targets[].url":
		s.Pattern = secret.Pattern
	case "Notifications.targets[].events":
		s.Items.Enum = words(notificationEvents)
	case "Notifications.targets[].environments":
		name(s.Items)
	case "Repository.remote":
		s.MinLength, s.MaxLength = 1, maxText
	case "Repository.branch":
		s.Pattern = branchRule.String()
	case "Repository.password", "Repository.webhook":
		s.Pattern = secret.Pattern
	case "Repository.propose":
		s.Enum = words(proposes)
	case "Repository.signed":
		s.Default, s.Enum = nil, words(signeds)
	case "Repository.signers":
		s.Items.Required = []string{"name"}
	case "Repository.signers[].name":
		name(s)
	case "Repository.signers[].ssh":
		s.Items.MinLength, s.Items.MaxLength = 1, maxSSHKey
	case "Repository.signers[].openpgp":
		s.MaxLength = maxText
	case "Repository.protected":
		s.Items.Required = []string{"paths", "signers"}
	case "Repository.protected[].paths", "Repository.protected[].signers":
		s.MinItems = 1
		s.Items.MinLength, s.Items.MaxLength = 1, maxText
	case "Target.environment":
		name(s)
	case "Target.release":
		s.Pattern = digestRule.String()
	case "Calendar.name":
		name(s)
	case "Calendar.windows", "Calendar.freezes":
		s.Items.Required = []string{"name"}
		if path == "freezes" {
			s.Items.Required = []string{"name", "reason"}
		}
	case "Calendar.windows[].duration", "Calendar.freezes[].duration":
		s.Default = nil
	case "Calendar.windows[].starting", "Calendar.freezes[].starting":
		s.Pattern = dayRule.String()
	case "Calendar.windows[].name", "Calendar.freezes[].name", "Calendar.freezes[].reason":
		s.MinLength, s.MaxLength = 1, maxText
	case "Calendar.windows[].applies_to.labels", "Calendar.freezes[].applies_to.labels":
		s.Names = &schema{Pattern: nameRule.String(), MaxLength: maxName}
		s.Additional = &schema{Type: "string", Pattern: labelValueRule.String()}
	case "Vulnerabilities.databases":
		s.MinItems = 1
		s.Items.MinLength = 1
	case "Vulnerabilities.refuse":
		s.Enum = words(refusals)
	case "Vulnerabilities.unfixed", "Vulnerabilities.unrated":
		s.Enum = words(leniences)
	case "Vulnerabilities.accept":
		s.Items.Required = []string{"id", "reason", "expires"}
	case "Vulnerabilities.accept[].id":
		s.Pattern, s.MaxLength = advisoryRule.String(), maxText
	case "Vulnerabilities.accept[].expires":
		s.Pattern = dayRule.String()
	case "Classification.release", "Classification.reason", "Checks.exceptions[].check", "Checks.exceptions[].reason", "Vulnerabilities.accept[].reason":
		s.MinLength, s.MaxLength = 1, maxText
	}
}

// number makes a figure of what else is a share.
func number(s *schema, in span[float64]) {
	s.Type, s.AnyOf, s.Default, s.Minimum, s.Maximum = "number", nil, nil, in.least, in.most
}

func words(list []string) []any {
	var out []any
	for _, w := range list {
		out = append(out, w)
	}
	return out
}

// filled is a value with all its defaults.
func filled[T any](fill func(*T, func(string) bool), value T) any {
	fill(&value, func(string) bool { return false })
	return value
}

func encode(s *schema) []byte {
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("estate: encode a schema: %v", err)) // only plain values are in it
	}
	return append(out, '\n')
}

// comments are the comments of types and fields by "Type" and "Type.Field", on one line each.
func comments(sources embed.FS) map[string]string {
	found := map[string]string{}
	files, err := sources.ReadDir(".")
	for _, f := range files {
		var source []byte
		if source, err = sources.ReadFile(f.Name()); err != nil {
			break
		}
		var file *ast.File
		if file, err = parser.ParseFile(token.NewFileSet(), f.Name(), source, parser.ParseComments); err != nil {
			break
		}
		commentsOf(file, found)
	}
	if err != nil {
		panic(fmt.Sprintf("estate: read the comments of the types: %v", err)) // they were compiled, so they parse
	}
	return found
}

func commentsOf(file *ast.File, found map[string]string) {
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			found[t.Name.Name] = oneLine(g.Doc)
			s, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					text := oneLine(f.Doc)
					if text == "" {
						text = oneLine(f.Comment)
					}
					if text != "" {
						found[t.Name.Name+"."+name.Name] = strings.ToUpper(text[:1]) + text[1:]
					}
				}
			}
		}
	}
}

func oneLine(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	return strings.Join(strings.Fields(g.Text()), " ")
}
