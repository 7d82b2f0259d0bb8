package vuln

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Level is what something means for a release.
type Level string

// The levels, the gravest first.
const (
	Refuse   Level = "refuse"   // the release may not enter
	Warn     Level = "warn"     // somebody should look
	Accepted Level = "accepted" // the estate lets it pass until a date
	Note     Level = "note"     // below every threshold
)

// Reason is one thing that a verdict rests on, in words for a person.
type Reason struct {
	Level   Level    `json:"level"`
	Text    string   `json:"text"`              // what, where, and why it has this level
	Fix     string   `json:"fix,omitempty"`     // what to do; with a finding there is also AcceptIt
	Finding *Finding `json:"finding,omitempty"` // nil where it is about the databases or the estate
}

// Verdict says whether a release may enter.
type Verdict struct {
	Refused bool     `json:"refused"`
	Reasons []Reason `json:"reasons"` // the gravest first
}

// Evaluate judges a report by the estate's rules. It looks at nothing else: the same report, rules and
// time give the same verdict.
func Evaluate(r Report, rules estate.Vulnerabilities, now time.Time) Verdict {
	v := Verdict{Reasons: []Reason{}}
	for _, c := range r.Compared {
		v.Reasons = append(v.Reasons, databases(c, rules, now)...)
	}
	used := make([]bool, len(rules.Accept))
	for i := range r.Findings {
		v.Reasons = append(v.Reasons, judge(&r.Findings[i], rules, now, used))
	}
	for i, a := range rules.Accept {
		if !used[i] {
			v.Reasons = append(v.Reasons, Reason{Level: Note, Text: fmt.Sprintf("the estate accepts %s%s, and this release does not have it", a.ID, in(a.Component)),
				Fix: "remove it from the estate (kind: Vulnerabilities, accept) where no other release needs it"})
		}
	}
	order := []Level{Refuse, Warn, Accepted, Note}
	slices.SortStableFunc(v.Reasons, func(a, b Reason) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	v.Refused = len(v.Reasons) > 0 && v.Reasons[0].Level == Refuse
	return v
}

// Refused says that a release may not enter.
type Refused struct{ Verdict Verdict }

// Error names the gravest reasons, with the way out of the first.
func (r *Refused) Error() string {
	const shown = 3
	var parts []string
	n := 0
	for _, reason := range r.Verdict.Reasons {
		if reason.Level != Refuse {
			continue
		}
		if n++; n == 1 {
			fix := reason.Fix
			if reason.Finding != nil && fix != AcceptIt {
				fix += "; or " + AcceptIt
			}
			parts = append(parts, reason.Text+" ("+fix+")")
		} else if n <= shown {
			parts = append(parts, reason.Text)
		}
	}
	if n > shown {
		parts = append(parts, fmt.Sprintf("and %d more", n-shown))
	}
	return strings.Join(parts, "; ")
}

// Err is a *Refused where the release may not enter, else nil.
func (v Verdict) Err() error {
	if !v.Refused {
		return nil
	}
	return &Refused{v}
}

// clockSlack is how far ahead of us the clock of those who write advisories may be.
const clockSlack = 24 * time.Hour

// databases refuses where advisories are missing or old: what was not compared is not known to be good.
func databases(c Compare, rules estate.Vulnerabilities, now time.Time) []Reason {
	name := baseOf(c.Ecosystem)
	const fetch = "renew the database: fetch OSV's all.zip of %s anew (https://osv-vulnerabilities.storage.googleapis.com/%s/all.zip) and put it where the estate names it (kind: Vulnerabilities, databases)"
	refuse := func(text string, args ...any) []Reason {
		return []Reason{{Level: Refuse, Text: fmt.Sprintf(text, args...), Fix: fmt.Sprintf(fetch, name, name)}}
	}
	switch age := now.Sub(c.Newest); {
	case !c.public():
		return nil
	case c.Components == 0:
		return []Reason{{Level: Refuse, Text: fmt.Sprintf("the image has no list of its packages that is understood here (%s, no var/lib/dpkg/status), so they cannot be compared", c.Ecosystem),
			Fix: "build on a base made of Debian or Ubuntu, with its list of packages"}}
	case strings.HasSuffix(c.Ecosystem, ":"):
		return []Reason{{Level: Refuse, Text: fmt.Sprintf("%s of %s: the image does not say which release of it they are from, so nothing can be compared", plural(c.Components, "package"), name),
			Fix: "build on a base whose /etc/os-release has a VERSION_ID"}}
	case orderOf(name) == nil:
		return []Reason{{Level: Refuse, Text: fmt.Sprintf("%s of %s cannot be compared: Waybill knows the versions of Debian, Ubuntu, PyPI and Odoo's modules", plural(c.Components, "package"), name),
			Fix: "build on a base made of Debian or Ubuntu"}}
	case c.Advisories == 0:
		return refuse("the databases hold no advisory of %s: %s could not be compared", c.Ecosystem, plural(c.Components, "component"))
	case age < -clockSlack:
		return refuse("the newest advisory of %s is of %s, which is yet to come: a clock is wrong, or the database is", name, c.Newest.UTC().Format(time.DateOnly))
	case age > rules.MaxAge:
		return refuse("the newest advisory of %s in the databases is of %s, %s ago; the estate allows %s (max_age)", name, c.Newest.UTC().Format(time.DateOnly), days(age), days(rules.MaxAge))
	}
	return nil
}

// judge says what a finding means.
func judge(f *Finding, rules estate.Vulnerabilities, now time.Time, used []bool) Reason {
	what := f.String()
	r := Reason{Level: Note, Finding: f, Text: what, Fix: f.remedy()}
	expired := ""
	for i, a := range rules.Accept {
		if !f.isCalled(a.ID) || a.Component != "" && !f.Component.isCalled(a.Component) {
			continue
		}
		used[i] = true
		if now.Before(a.Until()) {
			return Reason{Level: Accepted, Finding: f, Text: fmt.Sprintf("%s. Accepted until %s: %s", what, a.Expires, a.Reason)}
		}
		expired = fmt.Sprintf(". It was accepted until %s, which has passed", a.Expires)
	}
	grave := rules.Refuse != "never" && f.Severity.Rank() >= Severity(rules.Refuse).Rank()
	because := fmt.Sprintf("The estate refuses from %s on", rules.Refuse)
	if f.Severity == Unrated {
		grave = rules.Refuse != "never" && rules.Unrated != "ignore"
		because = "Nobody has rated it yet, which the estate refuses (unrated)"
	}
	switch {
	case !grave:
	case f.Fixed == "" && rules.Unfixed == "ignore":
	case f.Fixed == "" && rules.Unfixed == "warn":
		r.Level, because = Warn, "No version mends it yet, of which the estate warns (unfixed)"
	case f.Severity == Unrated && rules.Unrated == "warn":
		r.Level, because = Warn, "Nobody has rated it yet, of which the estate warns (unrated)"
	default:
		r.Level = Refuse
	}
	if r.Level != Note {
		r.Text += ". " + because
	}
	r.Text += expired
	return r
}

// String tells what it is, and where: "CVE-2026-1 (high, 8.1) in glibc 2.41-12 (libc6): fixed in 2.41-13".
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s", f.ID, f.Severity)
	if f.Vector != "" {
		fmt.Fprintf(&b, ", %.1f", f.Score)
	}
	fmt.Fprintf(&b, ") in %s %s", f.Component.Name, f.Component.Version)
	if p := f.Component.Parts; len(p) > 0 && (len(p) > 1 || p[0] != f.Component.Name) {
		b.WriteString(" (" + few(p) + ")")
	}
	switch {
	case f.Fixed == "":
		b.WriteString(": no version mends it yet")
	case strings.HasPrefix(f.Fixed, "above "):
		b.WriteString(": mended in versions " + f.Fixed)
	default:
		b.WriteString(": fixed in " + f.Fixed)
	}
	if f.Doubt != "" {
		b.WriteString("; taken as affected, for " + f.Doubt)
	}
	return b.String()
}

// AcceptIt is the way out that every finding has.
const AcceptIt = "accept it for a while in the estate (kind: Vulnerabilities, accept), with a reason"

// remedy is what to do about a finding.
func (f Finding) remedy() string {
	to := f.Fixed
	if rest, ok := strings.CutPrefix(to, "above "); ok {
		to = "a version above " + rest
	}
	switch {
	case f.Fixed == "":
		return AcceptIt
	case f.Component.base() == PyPI:
		return fmt.Sprintf("install %s %s in the base image and build again", f.Component.Name, to)
	case f.Component.base() == Odoo:
		return fmt.Sprintf("bring module %s to %s and build again", f.Component.Name, to)
	}
	return fmt.Sprintf("build again on a base image with %s %s", f.Component.Name, to)
}

// isCalled says whether the vulnerability has this name.
func (f Finding) isCalled(id string) bool {
	same := func(name string) bool { return strings.EqualFold(name, id) }
	return same(f.ID) || slices.ContainsFunc(f.Names, same)
}

func (c Component) isCalled(name string) bool {
	return c.Name == name || c.base() == PyPI && c.Name == normal(name) || slices.Contains(c.Parts, name)
}

func in(component string) string {
	if component == "" {
		return ""
	}
	return " in " + component
}

func few(list []string) string {
	if len(list) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
	}
	return strings.Join(list, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// days tells a length of time in days, or in hours where it is short.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return plural(int(math.Round(d.Hours())), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}
