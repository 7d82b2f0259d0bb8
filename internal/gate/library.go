package gate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
)

// ReadyRule is one that an estate asks for by its name (use:) and parameters (with:).
type ReadyRule struct {
	Name       string      `json:"name"`
	Expr       string      `json:"expr"` // {parameter} stands for a parameter's value
	Message    string      `json:"message"`
	Why        string      `json:"why"`
	Parameters []Parameter `json:"parameters,omitempty"`
}

// Parameter is one of a ready rule. Its value goes into the expression as a literal of its kind, never as text.
type Parameter struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`              // duration, number, word or words (with commas between)
	Default string `json:"default,omitempty"` // empty: it must be given
	Doc     string `json:"doc"`
}

// Library lists the ready rules in the order in which the docs explain them.
func Library() []ReadyRule { return slices.Clone(library) }

var library = []ReadyRule{
	{Name: "soak", Expr: `previous.soaked >= {for}`,
		Message:    "it must have run long enough in the environment before",
		Why:        "what nobody has used for a while is not known to work",
		Parameters: []Parameter{{"for", "duration", "24h", "how long"}}},
	{Name: "same-digest", Expr: `previous.same && previous.outcome == "promoted"`,
		Message: "the very same image must have passed the environment before",
		Why:     "what was tested is what shall run; a rebuild is another release"},
	{Name: "fresh-rehearsal", Expr: `rehearsal.subject == release.digest && rehearsal.age <= {within}`,
		Message:    "it must have been rehearsed on recent data",
		Why:        "a rehearsal on old data says little about today's",
		Parameters: []Parameter{{"within", "duration", "24h", "how old the rehearsed data may be"}}},
	{Name: "short-pause", Expr: `rehearsal.predicted <= {most}`,
		Message:    "people must not wait long",
		Why:        "a long pause stops the warehouse",
		Parameters: []Parameter{{"most", "duration", "30s", "how long people may wait"}}},
	{Name: "quick-recovery", Expr: `rehearsal.recovery <= {most}`,
		Message:    "a restore must be quick enough",
		Why:        "the way back must be as short as what was promised",
		Parameters: []Parameter{{"most", "duration", "15m", "how long a restore may take"}}},
	{Name: "verified-checkpoint", Expr: `checkpoint.verified && checkpoint.age <= {within}`,
		Message:    "there must be a recent checkpoint that was read back",
		Why:        "a backup that nobody has read is a hope",
		Parameters: []Parameter{{"within", "duration", "24h", "how old it may be"}}},
	{Name: "no-critical-vulnerabilities", Expr: `vulnerabilities.critical == 0`,
		Message: "it must have no critical vulnerability",
		Why:     "what is known and grave is exploited soon"},
	{Name: "no-high-vulnerabilities", Expr: `vulnerabilities.critical == 0 && vulnerabilities.high == 0`,
		Message: "it must have no high or critical vulnerability",
		Why:     "what is known and grave is exploited soon"},
	{Name: "recent-vulnerability-database", Expr: `vulnerabilities.database_age <= {within}`,
		Message:    "it must have been compared with recent advisories",
		Why:        "an old database finds nothing new",
		Parameters: []Parameter{{"within", "duration", "168h", "how old the newest advisory may be"}}},
	{Name: "signed", Expr: `release.signed`,
		Message: "it must be signed with a key that is trusted",
		Why:     "who built it must be known"},
	{Name: "signed-by", Expr: `{keys}.exists(k, k in release.signed_by)`,
		Message:    "it must be signed by one of the named keys",
		Why:        "only these builders may release here",
		Parameters: []Parameter{{"keys", "words", "", "names of keys of the estate's Trust"}}},
	{Name: "committed", Expr: `!release.dirty`,
		Message: "it must be built from what was committed",
		Why:     "uncommitted changes can be found nowhere again"},
	{Name: "no-check-errors", Expr: `checks.errors == 0 && checks.expired_exceptions == 0`,
		Message: "its checks must have passed, without exceptions that have expired",
		Why:     "an exception is for a while"},
	{Name: "approved", Expr: `approvals.filter(a, a.roles.exists(r, r in {roles})).size() >= {count}`,
		Message:    "it must be approved",
		Why:        "somebody must have looked at it",
		Parameters: []Parameter{{"roles", "words", "approver", "roles of those who may approve"}, {"count", "number", "1", "how many"}}},
	{Name: "four-eyes-for-breaking", Expr: `promotion.class != "breaking" || approvals.filter(a, a.roles.exists(r, r in {roles}) && a.by != promotion.author).size() >= 2`,
		Message:    "a breaking release must be approved by two people besides its author",
		Why:        "going back from it may lose what was written since",
		Parameters: []Parameter{{"roles", "words", "approver", "roles of those who may approve"}}},
	{Name: "security-approves", Expr: `vulnerabilities.worst in ["none", "low", "medium"] || approvals.exists(a, {role} in a.roles)`,
		Message:    "known high or critical vulnerabilities must be approved by security",
		Why:        "somebody who can judge the risk must take it",
		Parameters: []Parameter{{"role", "word", "security", "role of those who may approve"}}},
	{Name: "within-window", Expr: `calendar.open`,
		Message: "it must fit into a window",
		Why:     "the business says when it can bear a change"},
	{Name: "not-on", Expr: `!(now.getDayOfWeek({zone}) in {days})`,
		Message:    "not on these days",
		Why:        "nobody is there to help afterwards",
		Parameters: []Parameter{{"days", "weekdays", "friday,saturday,sunday", "days of the week"}, {"zone", "word", "UTC", "time zone, like Europe/Berlin"}}},
	{Name: "no-breaking-on", Expr: `promotion.class != "breaking" || !(now.getDayOfWeek({zone}) in {days})`,
		Message:    "no breaking release on these days",
		Why:        "nobody is there to help afterwards",
		Parameters: []Parameter{{"days", "weekdays", "friday,saturday,sunday", "days of the week"}, {"zone", "word", "UTC", "time zone, like Europe/Berlin"}}},
}

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// readyRule fills in the parameters of the ready rule that is asked for.
func readyRule(p estate.Policy, at string, declared estate.PolicyRule) (ReadyRule, []*estate.Problem) {
	var names []string
	for _, r := range library {
		names = append(names, r.Name)
	}
	i := slices.Index(names, declared.Use)
	if i < 0 {
		hint := "see: waybill policy list --library"
		if near, ok := estate.Nearest(declared.Use, names); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return ReadyRule{}, []*estate.Problem{p.Problem(at+".use", 0, 0, fmt.Sprintf("there is no ready rule %q", declared.Use), hint)}
	}
	r := library[i]
	var problems []*estate.Problem
	var known []string
	for _, parameter := range r.Parameters {
		known = append(known, parameter.Name)
		text, given := declared.With[parameter.Name]
		if !given {
			text = parameter.Default
		}
		if text == "" {
			problems = append(problems, p.Problem(at+".with", 0, 0, "lacks "+parameter.Name+": "+parameter.Doc, ""))
			continue
		}
		literal, err := literalOf(parameter.Kind, text)
		if err != nil {
			problems = append(problems, p.Problem(at+".with."+parameter.Name, 0, 0, err.Error(), ""))
			continue
		}
		r.Expr = strings.ReplaceAll(r.Expr, "{"+parameter.Name+"}", literal)
	}
	for _, name := range slices.Sorted(maps.Keys(declared.With)) {
		if !slices.Contains(known, name) {
			hint := "it has none"
			if len(known) > 0 {
				hint = "it has " + strings.Join(known, ", ")
			}
			problems = append(problems, p.Problem(at+".with."+name, 0, 0, fmt.Sprintf("%s has no parameter %q", r.Name, name), hint))
		}
	}
	return r, problems
}

// literalOf is a parameter's value as CEL writes it.
func literalOf(kind, text string) (string, error) {
	text = strings.TrimSpace(text)
	var words []string
	for word := range strings.SplitSeq(text, ",") {
		words = append(words, strings.TrimSpace(word))
	}
	switch kind {
	case "duration":
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return "", fmt.Errorf("%q is no duration; one like 24h or 30m expected", text)
		}
		return fmt.Sprintf("duration(%q)", text), nil
	case "number":
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", fmt.Errorf("%q is no whole number", text)
		}
		return strconv.Itoa(n), nil
	case "words":
		var quoted []string
		for _, word := range words {
			if word == "" {
				return "", fmt.Errorf("%q has an empty word; words with commas between them expected", text)
			}
			quoted = append(quoted, strconv.Quote(word))
		}
		return "[" + strings.Join(quoted, ", ") + "]", nil
	case "weekdays":
		var days []string
		for _, word := range words {
			day := slices.IndexFunc(weekdays, func(d string) bool {
				return d == strings.ToLower(word) || len(word) == 3 && strings.HasPrefix(d, strings.ToLower(word))
			})
			if day < 0 {
				return "", fmt.Errorf("%q is no day of the week; one of %s expected", word, strings.Join(weekdays, ", "))
			}
			days = append(days, strconv.Itoa(day))
		}
		return "[" + strings.Join(days, ", ") + "]", nil
	}
	return strconv.Quote(text), nil
}
