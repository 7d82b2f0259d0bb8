package gate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
)

// How a fact may change while a promotion waits.
const (
	changesNever = "never"
	changesEvent = "event"
	changesClock = "clock" // it grows by itself, and no event changes it
	changesTime  = "time"  // it grows by itself, and events change it too
)

// Fact describes one fact that rules may read.
type Fact struct {
	Name    string   // "previous.soaked"
	Type    string   // in CEL's words
	Changes string   // never, event, clock or time
	Of      []string // the only words it may be; empty: any
	Doc     string

	label, short string
	index        []int // of the field in Facts
	kind         reflect.Type
	celType      *cel.Type
}

// Group is the part of the name before the dot; all facts of a group become known and change together.
func (f Fact) Group() string { return groupOf(f.Name) }

// grows says whether it becomes larger as time goes by.
func (f Fact) grows() bool { return f.Changes == changesClock || f.Changes == changesTime }

func groupOf(name string) string {
	group, _, _ := strings.Cut(name, ".")
	return group
}

// Catalogue lists all facts in the order of their declaration.
func Catalogue() []Fact { return slices.Clone(catalogue()) }

var catalogue = sync.OnceValue(func() []Fact {
	var facts []Fact
	t := reflect.TypeFor[Facts]()
	for i := range t.NumField() {
		group := t.Field(i)
		name := group.Tag.Get("cel")
		if name == "" { // Unknown
			continue
		}
		if group.Type.Kind() != reflect.Struct || group.Type == timeType {
			facts = append(facts, newFact(group, name, []int{i}))
			continue
		}
		for j := range group.Type.NumField() {
			field := group.Type.Field(j)
			facts = append(facts, newFact(field, name+"."+field.Tag.Get("cel"), []int{i, j}))
		}
	}
	return facts
})

var factsByName = sync.OnceValue(func() map[string]Fact {
	known := map[string]Fact{}
	for _, f := range catalogue() {
		known[f.Name] = f
	}
	return known
})

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

func newFact(field reflect.StructField, name string, index []int) Fact {
	tag := field.Tag
	f := Fact{Name: name, Changes: tag.Get("changes"), Doc: tag.Get("doc"), label: tag.Get("label"), short: tag.Get("short"), index: index, kind: field.Type}
	if of := tag.Get("of"); of != "" {
		f.Of = strings.Split(of, ",")
	}
	f.celType = celTypeOf(field.Type)
	f.Type = f.celType.String()
	if name == "approvals" {
		f.Type = "list of approvals"
	}
	return f
}

func celTypeOf(t reflect.Type) *cel.Type {
	switch {
	case t == timeType:
		return cel.TimestampType
	case t == durationType:
		return cel.DurationType
	case t.Kind() == reflect.String:
		return cel.StringType
	case t.Kind() == reflect.Bool:
		return cel.BoolType
	case t.Kind() == reflect.Int:
		return cel.IntType
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return cel.ListType(cel.ObjectType("gate." + t.Elem().Name()))
	case t.Kind() == reflect.Slice:
		return cel.ListType(celTypeOf(t.Elem()))
	case t.Kind() == reflect.Map:
		return cel.MapType(cel.StringType, celTypeOf(t.Elem()))
	}
	panic(fmt.Sprintf("gate: a fact of type %s", t)) // Facts is declared beside this
}

// values are facts by name, as Go values. What is not in it is unknown.
type values struct {
	known   map[string]any
	missing map[string]string // why not, by name or group
	final   map[string]bool   // groups that do not change any more
	vars    any               // all of it, as CEL takes it
}

func (f *Facts) values() values {
	v := values{known: make(map[string]any, len(catalogue())), missing: f.Unknown, final: f.Final}
	from := reflect.ValueOf(f).Elem()
	for _, fact := range catalogue() {
		if _, unknown := f.why(fact.Name); !unknown {
			v.known[fact.Name] = from.FieldByIndex(fact.index).Interface()
		}
	}
	v.vars = activation(v.known)
	return v
}

func (f *Facts) why(name string) (string, bool) {
	for _, key := range []string{name, groupOf(name)} {
		if why, unknown := f.Unknown[key]; unknown {
			return why, true
		}
	}
	return "", false
}

// why says why a fact is not known.
func (v values) why(name string) string {
	for _, key := range []string{name, groupOf(name)} {
		if why := v.missing[key]; why != "" {
			return why
		}
	}
	return ""
}

// may says whether a fact may still change while a promotion waits.
func (v values) may(name string) bool {
	return factsByName()[name].Changes != changesNever && !v.final[groupOf(name)]
}

// at are the same facts at another time, as far as that can be told: what grows by itself has grown, and a
// calendar's next edge has come.
func (v values) at(t time.Time) values {
	now, ok := v.known["now"].(time.Time)
	if !ok || t.Equal(now) {
		return v
	}
	later := values{known: make(map[string]any, len(v.known)), missing: v.missing, final: v.final}
	for name, value := range v.known {
		if age, isDuration := value.(time.Duration); isDuration && factsByName()[name].grows() {
			value = age + t.Sub(now)
		}
		later.known[name] = value
	}
	later.known["now"] = t
	if open, ok := v.known["calendar.open"].(bool); ok {
		next, _ := v.known["calendar.next"].(time.Time)
		until, _ := v.known["calendar.until"].(time.Time)
		switch {
		case !open && !next.IsZero() && !t.Before(next):
			later.known["calendar.open"] = true
		case open && !until.IsZero() && !t.Before(until):
			later.known["calendar.open"] = false
		}
	}
	later.vars = activation(later.known)
	return later
}
