package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Limits of a file of cases.
const (
	maxCaseFile = 1 << 20
	maxCases    = 1000
)

// CasesFile is what waybill policy test reads: facts that all cases share, and cases.
type CasesFile struct {
	Facts map[string]any `yaml:"facts"` // by group and name; a case's own come over them
	Cases []Case         `yaml:"cases"`
}

// Case gives facts and says what the policies shall answer. Facts that are not given are unknown.
type Case struct {
	Name    string         `yaml:"name" json:"name"`
	Facts   map[string]any `yaml:"facts" json:"-"`
	Expect  Verdict        `yaml:"expect" json:"expect"`             // allow, wait or deny
	Failing []string       `yaml:"failing" json:"failing,omitempty"` // rules, as policy/rule or rule, that shall keep it; no others may. Not given: any
	Warning []string       `yaml:"warning" json:"warning,omitempty"` // rules that shall warn. Not given: any
	Says    string         `yaml:"says" json:"says,omitempty"`       // words that the explanation shall hold
}

// CaseResult is what came of a case.
type CaseResult struct {
	Case     Case     `json:"case"`
	Passed   bool     `json:"passed"`
	Problems []string `json:"problems,omitempty"`
	Result   Result   `json:"result"`
}

// ReadCases reads a file of cases.
func ReadCases(content []byte) (CasesFile, error) {
	var file CasesFile
	if len(content) > maxCaseFile {
		return file, fmt.Errorf("is larger than %d bytes; split it", maxCaseFile)
	}
	if err := estate.Guard(content); err != nil { // the decoder beneath recurses without a limit
		return file, err
	}
	if err := yaml.NewDecoder(bytes.NewReader(content), yaml.Strict()).Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return file, errors.New(yaml.FormatError(err, false, true))
	}
	if len(file.Cases) == 0 {
		return file, errors.New("has no cases: {cases: [{name: …, facts: {…}, expect: allow|wait|deny}]} expected")
	}
	if len(file.Cases) > maxCases {
		return file, fmt.Errorf("has %d cases; at most %d are read", len(file.Cases), maxCases)
	}
	return file, nil
}

// ReadFacts reads facts alone, by group and name.
func ReadFacts(content []byte) (*Facts, error) {
	if len(content) > maxCaseFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxCaseFile)
	}
	if err := estate.Guard(content); err != nil {
		return nil, err
	}
	var given map[string]any
	if err := yaml.Unmarshal(content, &given); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, true))
	}
	return FactsOf(given)
}

// Run tries all cases of a file.
func (s *Set) Run(file CasesFile) []CaseResult {
	var results []CaseResult
	for _, c := range file.Cases {
		results = append(results, s.run(file.Facts, c))
	}
	return results
}

func (s *Set) run(shared map[string]any, c Case) CaseResult {
	r := CaseResult{Case: c}
	complain := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	facts, err := FactsOf(shared, c.Facts)
	if err != nil {
		complain("%v", err)
		return r
	}
	if !slices.Contains([]Verdict{Allowed, Waits, Denied}, c.Expect) {
		complain("expect is %q; allow, wait or deny expected", c.Expect)
		return r
	}
	r.Result = s.Evaluate(facts)
	if r.Result.Verdict != c.Expect {
		complain("expected %s, got %s", c.Expect, r.Result.Verdict)
	}
	for _, list := range []struct {
		what     string
		expected []string
		got      []RuleResult
	}{{"keep it", c.Failing, r.Result.Keeps()}, {"warn", c.Warning, r.Result.Warnings()}} {
		if list.expected == nil {
			continue
		}
		for _, name := range list.expected {
			if !s.has(name) {
				complain("there is no rule %s", name)
			} else if !slices.ContainsFunc(list.got, func(r RuleResult) bool { return r.named(name) }) {
				complain("expected rule %s to %s, and it does not", name, list.what)
			}
		}
		for _, rule := range list.got {
			if !slices.ContainsFunc(list.expected, rule.named) {
				complain("rule %s/%s does not hold either", rule.Policy, rule.Rule)
			}
		}
	}
	if text := r.Result.Text(); !strings.Contains(text, c.Says) {
		complain("the explanation does not say %q", c.Says)
	}
	r.Passed = len(r.Problems) == 0
	return r
}

func (r RuleResult) named(name string) bool { return name == r.Rule || name == r.Policy+"/"+r.Rule }

func (s *Set) has(name string) bool {
	return slices.ContainsFunc(s.rules, func(r rule) bool { return name == r.id || name == r.policy.Name+"/"+r.id })
}

// Untested names the rules that no result saw failing, as policy/rule.
func (s *Set) Untested(results []CaseResult) []string {
	var names []string
	for i := range s.rules {
		r := &s.rules[i]
		if !slices.ContainsFunc(results, func(c CaseResult) bool {
			return slices.ContainsFunc(c.Result.Rules, func(a RuleResult) bool { return a.Policy == r.policy.Name && a.Rule == r.id && a.Verdict != Allowed })
		}) {
			names = append(names, r.policy.Name+"/"+r.id)
		}
	}
	return names
}

// FactsOf makes facts of groups of names and values, as a person writes them; later ones come over earlier
// ones. What is not given is unknown, but for the time, which is then 2026-01-05 12:00 UTC, a Monday.
func FactsOf(given ...map[string]any) (*Facts, error) {
	flat := map[string]any{}
	var errs []error
	for _, groups := range given {
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			if _, isFact := factsByName()[group]; isFact { // now, approvals
				flat[group] = groups[group]
				continue
			}
			fields, ok := groups[group].(map[string]any)
			if !ok {
				errs = append(errs, unknownGroup(group))
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(fields)) {
				full := group + "." + name
				if _, known := factsByName()[full]; !known {
					errs = append(errs, unknownName(full))
					continue
				}
				flat[full] = fields[name]
			}
		}
	}
	f := &Facts{Now: time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC), Unknown: map[string]string{}}
	into := reflect.ValueOf(f).Elem()
	for _, fact := range catalogue() {
		value, ok := flat[fact.Name]
		if !ok {
			if fact.Name != "now" {
				f.Unknown[fact.Name] = ""
			}
			continue
		}
		if err := put(into.FieldByIndex(fact.index), value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", fact.Name, err))
		}
	}
	if _, given := flat["environment.name"]; !given {
		errs = append(errs, errors.New("environment.name is needed: it decides which policies are asked"))
	}
	return f, errors.Join(errs...)
}

func unknownGroup(group string) error {
	var groups []string
	for _, f := range catalogue() {
		if !slices.Contains(groups, f.Group()) {
			groups = append(groups, f.Group())
		}
	}
	return fmt.Errorf("facts %s: a group of facts expected, one of %s", group, strings.Join(groups, ", "))
}

func unknownName(name string) error {
	var names []string
	for _, f := range catalogue() {
		names = append(names, f.Name)
	}
	if near, ok := estate.Nearest(name, names); ok {
		return fmt.Errorf("there is no fact %s (did you mean %s?)", name, near)
	}
	return fmt.Errorf("there is no fact %s", name)
}

// put puts a value as YAML gives it into a fact's field.
func put(into reflect.Value, value any) error {
	text, isText := value.(string)
	switch {
	case into.Type() == durationType:
		d, err := time.ParseDuration(text)
		if !isText || err != nil {
			return fmt.Errorf("%v is no duration; one like 24h or 30m expected", value)
		}
		into.SetInt(int64(d))
	case into.Type() == timeType:
		t, isTime := value.(time.Time)
		for _, form := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02"} {
			if parsed, err := time.Parse(form, text); err == nil && isText {
				t, isTime = parsed, true
			}
		}
		if !isTime {
			return fmt.Errorf("%v is no time; one like 2026-11-23T04:10:00Z expected", value)
		}
		into.Set(reflect.ValueOf(t))
	case into.Kind() == reflect.String && isText:
		into.SetString(text)
	case into.Kind() == reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%v is neither true nor false", value)
		}
		into.SetBool(b)
	case into.Kind() == reflect.Int:
		switch n := value.(type) {
		case uint64:
			into.SetInt(int64(min(n, 1<<40)))
		case int64:
			into.SetInt(n)
		default:
			return fmt.Errorf("%v is no whole number", value)
		}
	case into.Kind() == reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%v is no list", value)
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, element := range list {
			if err := put(into.Index(i), element); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case into.Kind() == reflect.Map:
		group, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is no group of names and values", value)
		}
		into.Set(reflect.MakeMap(into.Type()))
		for key, element := range group {
			into.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(fmt.Sprint(element)))
		}
	case into.Kind() == reflect.Struct: // an approval
		group, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%v: {by: …, roles: […], at: …} expected", value)
		}
		for key, element := range group {
			i := fieldNamed(into.Type(), key)
			if i < 0 {
				return fmt.Errorf("there is no %s; by, roles and at expected", key)
			}
			if err := put(into.Field(i), element); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	default:
		return fmt.Errorf("%v is no text", value)
	}
	return nil
}

func fieldNamed(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("cel") == name {
			return i
		}
	}
	return -1
}

// Text explains a result, a line for each rule: those that keep it first.
func (r Result) Text() string {
	var b strings.Builder
	word := map[Verdict]string{Allowed: "may go on", Waits: "waits", Denied: "may not go on"}[r.Verdict]
	fmt.Fprintf(&b, "%s", word)
	if !r.From.IsZero() {
		fmt.Fprintf(&b, "; if nothing else changes, until %s", instant(r.From))
	}
	b.WriteString("\n")
	for _, verdicts := range [][]Verdict{{Denied}, {Waits}, {Warned}, {Excepted}, {Skipped}, {Allowed}} {
		for _, rule := range r.of(verdicts...) {
			fmt.Fprintf(&b, "  %-8s %s\n", rule.Verdict, rule)
			if rule.Why != "" && rule.Verdict != Allowed {
				fmt.Fprintf(&b, "           why: %s\n", rule.Why)
			}
		}
	}
	return b.String()
}
