package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

var today = time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC)

// made is a check that finds what it is told.
func made(id string, severity Severity, found ...Finding) Check {
	return Check{ID: id, Severity: severity, Why: "because", Find: func(*Input) []Finding { return append([]Finding{}, found...) }}
}

func at(file string, line int, message string) Finding {
	module, _, _ := strings.Cut(strings.TrimPrefix(file, "addons/"), "/")
	return Finding{Module: module, File: file, Line: line, Message: message, Fix: "repair it"}
}

func TestRunOrdersAndLevels(t *testing.T) {
	checks := []Check{
		made("zeta", Warning, at("addons/b/x.py", 2, "two"), at("addons/a/x.py", 9, "nine"), at("addons/b/x.py", 2, "two")),
		made("alpha", Error, at("addons/b/x.py", 2, "first"), Finding{Message: "no\nplace\x1b[31m", Severity: Note}),
		made("gone", Error, at("addons/a/x.py", 1, "never seen")),
	}
	in := &Input{Now: today, Unread: []NotChecked{{File: "addons/a/big.py", Why: "it has 50 MB"}}}
	policy := Policy{Levels: map[string]Severity{"gone": Off, "zeta": Error}}
	want := run(checks, in, policy)
	var got []string
	for _, f := range want.Findings {
		got = append(got, fmt.Sprintf("%s:%d %s %s %s", f.File, f.Line, f.Check, f.Severity, f.Message))
	}
	require.Equal(t, []string{
		":0 alpha note no place [31m",
		"addons/a/x.py:9 zeta error nine",
		"addons/b/x.py:2 alpha error first",
		"addons/b/x.py:2 zeta error two",
	}, got)
	require.Equal(t, Counts{Errors: 3, Notes: 1}, want.Counts)
	require.Equal(t, []string{"alpha", "zeta"}, want.Checks)
	require.Equal(t, []NotChecked{{Check: "gone", Why: "the estate switches it off"}, {File: "addons/a/big.py", Why: "it has 50 MB"}}, want.NotChecked)
	require.True(t, want.Failed())
	for range 20 {
		require.Equal(t, want, run(checks, in, policy), "whatever the order in which the checks end")
	}
}

func TestRunIsBounded(t *testing.T) {
	var many []Finding
	for i := range 5000 {
		f := at("addons/a/x.py", 5000-i, strings.Repeat("ü", 2000))
		if i%1000 == 0 {
			f.Severity = Error
		}
		many = append(many, f)
	}
	r := run([]Check{made("loud", Warning, many...), made("quiet", Error, at("addons/a/x.py", 1, "heard"))}, &Input{Now: today}, Policy{})
	require.Len(t, r.Findings, maxFindings+1)
	require.Equal(t, map[string]int{"loud": 4800}, r.More)
	require.Equal(t, Counts{Errors: 6, Warnings: 4995}, r.Counts)
	errors := 0
	for _, f := range r.Findings {
		require.LessOrEqual(t, len(f.Message), maxMessage+len("…"))
		if f.Severity == Error {
			errors++
		}
	}
	require.Equal(t, 6, errors, "the gravest are shown")
}

func TestExceptions(t *testing.T) {
	checks := []Check{made("commits", Error, at("addons/batch/migrations/1.0/pre-a.py", 3, "m"), at("addons/other/migrations/1.0/pre-a.py", 3, "m"))}
	for name, c := range map[string]struct {
		exception Exception
		counts    Counts
		about     string
	}{
		"by module":              {Exception{Module: "batch"}, Counts{Errors: 1, Accepted: 1}, ""},
		"by pattern":             {Exception{Module: "*"}, Counts{Accepted: 2}, ""},
		"by file":                {Exception{File: "addons/*/migrations/**"}, Counts{Accepted: 2}, ""},
		"both must fit":          {Exception{Module: "batch", File: "addons/other/**"}, Counts{Errors: 2, Notes: 1}, exceptionUnused},
		"a star stays in folder": {Exception{File: "addons/*"}, Counts{Errors: 2, Notes: 1}, exceptionUnused},
		"another check":          {Exception{Check: "nothing", Module: "batch"}, Counts{Errors: 2}, ""},
		"expired":                {Exception{Module: "batch", Expires: today}, Counts{Errors: 2, Warnings: 1}, ExceptionExpired},
		"expired and unused":     {Exception{Module: "gone", Expires: today}, Counts{Errors: 2, Warnings: 1}, ExceptionExpired},
	} {
		t.Run(name, func(t *testing.T) {
			x := c.exception
			if x.Check == "" {
				x.Check = "commits"
			}
			if x.Expires.IsZero() {
				x.Expires = today.Add(time.Nanosecond)
			}
			x.Reason, x.Place = "the batch is too large", "checks.yaml:5"
			r := run(checks, &Input{Now: today}, Policy{Exceptions: []Exception{x}})
			require.Equal(t, c.counts, r.Counts)
			about := ""
			for _, f := range r.Findings {
				if f.Check != "commits" {
					about = f.Check
					require.Contains(t, f.Message, "checks.yaml:5")
				} else if f.Accepted != "" {
					require.Equal(t, "the batch is too large", f.Accepted)
				}
			}
			require.Equal(t, c.about, about)
		})
	}
}

func TestNeedsAreNamed(t *testing.T) {
	needy := made("needy", Error)
	needy.Needs = Needs{Base: true, Python: true, Running: true}
	source := &Module{Files: []*File{{Path: "a/x.py", Content: []byte("x")}}}
	for _, c := range []struct {
		in  *Input
		why string
	}{
		{&Input{}, "base image"},
		{&Input{Base: &Base{}, Modules: []*Module{source}}, "interpreter"},
		{&Input{Base: &Base{}, Modules: []*Module{{}}}, "what runs"},
	} {
		r := run([]Check{needy}, c.in, Policy{})
		require.Len(t, r.NotChecked, 1)
		require.Contains(t, r.NotChecked[0].Why, c.why)
	}
}

func TestPolicyOfRefusesWhatIsUnknown(t *testing.T) {
	_, err := PolicyOf(estate.Checks{Levels: map[string]string{"python-sintax": "off"}})
	require.ErrorContains(t, err, `did you mean "python-syntax"?`)
	p, err := PolicyOf(estate.Checks{Levels: map[string]string{"python-syntax": "off"},
		Exceptions: []estate.CheckException{{Check: "script-commits", Module: "a", Reason: "r", Expires: "2027-03-31"}}})
	require.NoError(t, err)
	require.Equal(t, Off, p.Levels["python-syntax"])
	require.Equal(t, time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC), p.Exceptions[0].Expires)
}

// telling is a report with everything that a reader must cope with.
func telling() Report {
	checks := Checks()
	accepted := at("addons/a/b.xml", 0, "whole file")
	accepted.Accepted = "for now"
	found := []Finding{at("addons/a b/ü%:x.py", 7, `it says "<b>"`), at("addons/a/\xff.py", 1, "name"), {Module: "lost", Message: "no file"}, accepted}
	for i := range found {
		found[i].Check, found[i].Severity = checks[i%len(checks)].ID, []Severity{Error, Warning, Note, Error}[i]
	}
	r := Report{Modules: 2, Files: 9, Checks: []string{checks[0].ID, checks[1].ID}, NotChecked: []NotChecked{
		{Check: "x", Why: "it needs the base"}, {Check: "y", Why: "it needs the base"}, {File: "addons/a/big.py", Why: "it has 50 MB"}}}
	r.take(append(found, Finding{Check: ExceptionExpired, Severity: Warning, Message: "the exception has expired"}))
	return r
}

// TestSARIF holds the log to the published schema, and to what another implementation reads in it.
func TestSARIF(t *testing.T) {
	for name, r := range map[string]Report{"telling": telling(), "nothing": {}, "skipped": SkippedReport("the server burns")} {
		t.Run(name, func(t *testing.T) {
			content, err := json.Marshal(r.SARIF("1.2.3", "erp"))
			require.NoError(t, err)
			log, err := sarif.FromBytes(content)
			require.NoError(t, err)
			require.NoError(t, log.Validate(), "the schema of SARIF 2.1.0")
			again, err := json.Marshal(log)
			require.NoError(t, err)
			var ours, theirs any
			require.NoError(t, json.Unmarshal(content, &ours))
			require.NoError(t, json.Unmarshal(again, &theirs))
			understood(t, "", ours, theirs)
			require.Len(t, log.Runs, 1)
			require.Len(t, log.Runs[0].Results, len(r.Findings))
			require.Len(t, log.Runs[0].Tool.Driver.Rules, len(Checks()))
		})
	}
	log, err := json.Marshal(telling().SARIF("", "erp"))
	require.NoError(t, err)
	for _, uri := range []string{`"erp/addons/a%20b/%C3%BC%25%3Ax.py"`, `"erp/addons/a/%FF.py"`, `"startLine":7`, `"justification":"for now"`} {
		// url.PathEscape leaves a colon alone, which is right behind the first part.
		require.Contains(t, strings.ReplaceAll(string(log), "%25:x", "%25%3Ax"), uri)
	}
}

// understood makes sure that all that we wrote was understood: what a reader does not know, it drops.
func understood(t *testing.T, path string, ours, theirs any) {
	t.Helper()
	switch o := ours.(type) {
	case map[string]any:
		other, ok := theirs.(map[string]any)
		require.True(t, ok, path)
		for key, value := range o {
			if list, ok := value.([]any); ok && len(list) == 0 {
				continue
			}
			require.Contains(t, other, key, path)
			understood(t, path+"."+key, value, other[key])
		}
	case []any:
		other, ok := theirs.([]any)
		require.True(t, ok, path)
		require.Len(t, other, len(o), path)
		for i := range o {
			understood(t, fmt.Sprintf("%s[%d]", path, i), o[i], other[i])
		}
	default:
		require.Equal(t, ours, theirs, path)
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	r := telling()
	r.Text(&out, "erp/")
	checks := Checks()
	require.Equal(t, strings.NewReplacer("A]", checks[0].ID+"]", "B]", checks[1].ID+"]", "C]", checks[2].ID+"]", "D:", checks[3].ID+":").Replace(
		`module lost: note: no file [C]
warning: the exception has expired [exception-expired]
erp/addons/a b/ü%:x.py:7: error: it says "<b>" [A]
    repair it
erp/addons/a/\xff.py:1: warning: name [B]
    repair it
accepted: 1 finding of D: for now
not checked: x, y: it needs the base
not checked: addons/a/big.py: it has 50 MB
1 error, 2 warnings, 1 note, 1 accepted in 2 modules, 9 files, 2 checks.
`), out.String())
	out.Reset()
	Report{Modules: 1, Files: 1, Checks: []string{"a"}}.Text(&out, ".")
	require.Equal(t, "Nothing found: 1 module, 1 file, 1 check.\n", out.String())
}

func TestPredicate(t *testing.T) {
	for name, c := range map[string]struct {
		report Report
		passed bool
	}{"errors": {telling(), false}, "nothing": {Report{}, true}, "skipped": {SkippedReport("why"), false}} {
		content, err := c.report.Predicate("1.2.3")
		require.NoError(t, err, name)
		var got struct {
			Passed  *bool
			Version string
			Counts  map[string]int
			Skipped string
		}
		require.NoError(t, json.Unmarshal(content, &got), name)
		require.Equal(t, c.passed, *got.Passed, name)
		require.Equal(t, "1.2.3", got.Version)
		require.Equal(t, c.report.Counts.Errors, got.Counts["errors"])
		require.Equal(t, c.report.Skipped, got.Skipped)
	}
}
