package check

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// Limits of a report. What is beyond them is counted, not shown.
const (
	maxFindings = 200 // of one check
	maxMessage  = 500 // bytes
)

// IDs of what Run itself finds, about exceptions.
const (
	ExceptionExpired = "exception-expired"
	exceptionUnused  = "exception-unused"
)

// Run runs every check that is not switched off, and applies levels and exceptions. The report is
// the same however the checks are scheduled.
func Run(in *Input, policy Policy) Report { return run(Checks(), in, policy) }

func run(checks []Check, in *Input, policy Policy) Report {
	r := Report{Findings: []Finding{}, Checks: []string{}, NotChecked: slices.Clone(in.Unread), Modules: len(in.Modules)}
	for _, m := range in.Modules {
		r.Files += len(m.Files)
	}
	if in.Base != nil {
		r.Base = in.Base.Digest
	}
	var mu sync.Mutex
	var found []Finding
	ran := map[string]bool{}
	var group errgroup.Group
	group.SetLimit(max(runtime.GOMAXPROCS(0), 2))
	for _, c := range checks {
		level := policy.level(c)
		if level == Off {
			r.NotChecked = append(r.NotChecked, NotChecked{Check: c.ID, Why: "the estate switches it off"})
			continue
		}
		ran[c.ID] = true
		r.Checks = append(r.Checks, c.ID)
		if why := missing(c.Needs, in); why != "" {
			// It runs all the same: a part of it may need less.
			r.NotChecked = append(r.NotChecked, NotChecked{Check: c.ID, Why: why})
		}
		_, set := policy.Levels[c.ID]
		group.Go(func() error {
			of := c.Find(in)
			for i := range of {
				of[i] = complete(of[i], c, level, set)
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, of...)
			return nil
		})
	}
	_ = group.Wait() // no check returns an error
	slices.SortFunc(found, compare)
	found = slices.CompactFunc(found, func(a, b Finding) bool { return compare(a, b) == 0 })
	found = append(found, except(found, policy.Exceptions, ran, in)...)
	slices.SortFunc(found, compare)
	slices.Sort(r.Checks)
	slices.SortStableFunc(r.NotChecked, func(a, b NotChecked) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Check, b.Check), strings.Compare(a.Why, b.Why))
	})
	r.take(found)
	return r
}

// missing says which part of an Input a check lacks.
func missing(needs Needs, in *Input) string {
	switch {
	case needs.Base && in.Base == nil:
		return "it needs the base image, and none is at hand"
	case needs.Python && lacksPython(in):
		return "it needs the base's own Python interpreter, and none could be run"
	case needs.Running && len(in.Running) == 0:
		return "it compares with what runs, and that is not known"
	}
	return ""
}

// lacksPython says that there are Python sources, and that none of them was parsed.
func lacksPython(in *Input) bool {
	sources := false
	for _, m := range in.Modules {
		for _, f := range m.Files {
			if f.Python != nil {
				return false
			}
			sources = sources || strings.HasSuffix(f.Path, ".py") && len(f.Content) > 0
		}
	}
	return sources
}

// complete fills in what a check may leave out. A severity of the finding's own is kept where the
// estate says nothing: a check may hold one of its findings to be milder than the others.
func complete(f Finding, c Check, level Severity, set bool) Finding {
	f.Check = c.ID
	if set || f.Severity == "" {
		f.Severity = level
	}
	f.Message, f.Fix = oneLine(f.Message), oneLine(f.Fix)
	return f
}

// oneLine makes sure of what a terminal, an editor and a CI log need: one line, printable, bounded.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func compare(a, b Finding) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Check, b.Check),
		strings.Compare(a.Module, b.Module), strings.Compare(a.Message, b.Message), strings.Compare(string(a.Severity), string(b.Severity)), strings.Compare(a.Fix, b.Fix))
}

// except marks the findings that an exception lets pass, and returns what is to be said of the
// exceptions themselves.
func except(found []Finding, exceptions []Exception, ran map[string]bool, in *Input) []Finding {
	var about []Finding
	for _, x := range exceptions {
		expired := !in.Now.Before(x.Expires)
		used := false
		for i := range found {
			if !x.covers(found[i]) {
				continue
			}
			used = true
			if !expired && found[i].Accepted == "" {
				found[i].Accepted = oneLine(x.Reason)
			}
		}
		of := "the exception for " + x.Check
		if x.Place != "" {
			of += " at " + x.Place
		}
		switch {
		case expired:
			about = append(about, Finding{Check: ExceptionExpired, Severity: Warning,
				Message: oneLine(fmt.Sprintf("%s has expired: it held until %s (%s)", of, x.Expires.AddDate(0, 0, -1).Format("2006-01-02"), x.Reason)),
				Fix:     "repair what it let pass, or give it a new date and say why"})
		case !used && ran[x.Check]:
			about = append(about, Finding{Check: exceptionUnused, Severity: Note,
				Message: oneLine(of + " lets nothing pass: no finding fits it"),
				Fix:     "remove it from the estate"})
		}
	}
	return about
}
