package impact

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// maxRows is how many tenants and how many conflicts are printed; JSON has all.
const maxRows = 100

// WriteText writes an assessment for a terminal: first what can be read aloud, then the rings, then a row a tenant.
func WriteText(w io.Writer, a *Assessment) {
	estateIs := ""
	if a.EstateCommit != "" {
		estateIs = fmt.Sprintf(", estate %.12s", a.EstateCommit)
		if a.EstateDirty {
			estateIs += " with uncommitted changes"
		}
	}
	by := ""
	if a.By != "" {
		by = ", signed for " + a.By
	}
	fmt.Fprintf(w, "%s (%.19s) into %s%s, as of %s%s\n\n", a.ReleaseName, a.Release, a.Environment, estateIs, a.At.UTC().Format("2006-01-02 15:04:05 UTC"), by)
	for _, sentence := range a.Sentences() {
		fmt.Fprintln(w, sentence)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(a.Summary.Through.Rings) > 0 {
		fmt.Fprintln(t, "\nRING\tTENANTS\tAT ONCE\tBEGINS AFTER\tTAKES\tSOAKS")
		for _, r := range a.Summary.Through.Rings {
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\n", r.Name, r.Tenants, r.AtOnce, Span(r.Begins), atLeast(r.AtLeast)+Span(r.Ends-r.Begins), Span(r.Soak))
		}
	}
	fmt.Fprintln(t, "\nTENANT\tRING\tHAS\tCLASS\tPEOPLE WAIT\tRESTORE\tMAY GO\tDATABASE\tFILES\tAGAINST")
	for i, x := range a.Tenants {
		if i == maxRows {
			fmt.Fprintf(t, "… and %d more; name some with --tenant, or see them all with -o json\n", len(a.Tenants)-i)
			break
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, dash(x.Ring), dash(x.Serving), x.classWords(), x.Pause.words(), x.Recovery.words(), x.Window.words(a.At), bytesOf(x.DatabaseBytes), bytesOf(x.FileBytes), x.againstWords())
	}
	_ = t.Flush()
	a.writeChanges(w)
	a.writeConflicts(w)
}

// Sentences are the summary.
func (a *Assessment) Sentences() []string {
	s := &a.Summary
	said := []string{}
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	who := "the tenant"
	if s.Tenants != 1 {
		who = fmt.Sprintf("the %d tenants", s.Tenants)
	}
	if s.Rings > 1 {
		who += fmt.Sprintf(" in %d rings", s.Rings)
	}
	var classes []string
	for _, class := range []estate.Class{estate.Swap, estate.Compatible, estate.Breaking} {
		if n := s.Classes[class]; n > 0 {
			classes = append(classes, fmt.Sprintf("%s at %d", class, n))
		}
	}
	if len(classes) == 0 {
		classes = []string{"of a class that nobody knows"}
	}
	line := fmt.Sprintf("For %s, %s is %s.", who, a.ReleaseName, and(classes))
	if s.Assumed > 0 {
		line += fmt.Sprintf(" At %d of them that is assumed: nobody has rehearsed it on their data, or on that of tenants with the same modules.", s.Assumed)
	}
	said = append(said, line)
	switch {
	case s.Pause == nil:
		say("How long people will wait is not known.")
	case s.Pause.Seconds == 0 && len(s.NoPause) == 0:
		say("Nobody will have to wait.")
	case s.Pause.Seconds > 0:
		say("People wait longest at %s: %s (%s).", s.Pause.Tenant, Span(s.Pause.Seconds), s.Pause.From)
	}
	if s.Recovery == nil {
		say("How long a restore takes is not known: none has been measured.")
	} else {
		say("The longest restore is that of %s: %s (%s).", s.Recovery.Tenant, Span(s.Recovery.Seconds), s.Recovery.From)
	}
	if s.Pause != nil && len(s.NoPause) > 0 {
		say("Not known is how long people wait at %s.", names(s.NoPause))
	}
	if s.Recovery != nil && len(s.NoRecovery) > 0 {
		say("Not known is how long a restore takes of %s.", names(s.NoRecovery))
	}
	through := "All of them at once take"
	if s.Rings > 0 {
		through = "Through the rings it takes"
	}
	if s.Tenants == 1 {
		through = "It takes"
	}
	say("%s %s, soaking included; what windows and approvals add is not.", through, about(s.Through.AtLeast)+Span(s.Through.Seconds))
	if s.Rehearsals > 0 {
		say("Before that, a promotion rehearses it on %s.", count(s.Rehearsals, "tenant", "tenants"))
	}
	if len(s.Approvals) > 0 {
		say("It needs %s.", strings.Join(s.Approvals, ", or "))
	}
	if len(s.Closed) > 0 {
		say("The window is closed now for %s.", names(s.Closed))
	}
	if len(s.Unknown) > 0 {
		say("Could not be looked at: %s.", names(s.Unknown))
	}
	for _, why := range a.Refusals {
		say("It would not be let in: %s", why)
	}
	var weigh []string
	for _, x := range s.Against {
		if !x.Stops {
			weigh = append(weigh, fmt.Sprintf("%s (%s)", x.Kind, names(x.Tenants)))
		}
	}
	if len(s.Stopped) > 0 {
		say("It would not be let in at %s.", names(s.Stopped))
	}
	if len(weigh) > 0 {
		say("To be weighed: %s.", strings.Join(weigh, ", "))
	}
	if len(a.Refusals)+len(s.Stopped)+len(weigh) == 0 {
		say("Nothing stands against it.")
	}
	return said
}

func (a *Assessment) writeChanges(w io.Writer) {
	if len(a.Between) == 0 {
		return
	}
	fmt.Fprintln(w, "\nWhat changes")
	for _, b := range a.Between {
		var parts []string
		base := 0
		for _, group := range []struct {
			word    string
			modules []odoo.ModuleChange
		}{{"changed", b.Changed}, {"added", b.Added}, {"removed", b.Removed}} {
			var own []string
			for _, m := range group.modules {
				if m.Base {
					base++
					continue
				}
				own = append(own, m.Name)
			}
			if len(own) > 0 {
				parts = append(parts, group.word+" "+strings.Join(own, ", "))
			}
		}
		if base > 0 {
			parts = append(parts, count(base, "module", "modules")+" of the base image")
		}
		if len(parts) == 0 {
			parts = []string{"no module"}
		}
		fmt.Fprintf(w, "  from %s (%s): %s\n", b.ReleaseName, count(b.Tenants, "tenant", "tenants"), strings.Join(parts, "; "))
	}
}

func (a *Assessment) writeConflicts(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	shown := 0
	for _, stops := range []bool{true, false} {
		for _, x := range a.Tenants {
			for _, c := range x.Conflicts {
				if c.Stops != stops {
					continue
				}
				if shown == 0 {
					fmt.Fprintln(t, "\nWhat stands against it")
				}
				if shown++; shown > maxRows {
					continue
				}
				word := "to be weighed"
				if stops {
					word = "stops it"
				}
				fmt.Fprintf(t, "  %s\t%s\t%s\n", x.Name, word, c.Says)
			}
		}
	}
	if shown > maxRows {
		fmt.Fprintf(t, "  … and %d more; -o json has them all\n", shown-maxRows)
	}
	_ = t.Flush()
}

func (t Tenant) classWords() string {
	switch {
	case t.Class == "":
		return "-"
	case t.Source == Nothing:
		return string(t.Class) + ", " + string(Nothing)
	case t.Source == Rehearsed && t.RehearsedOn != t.Name:
		return string(t.Class) + ", rehearsed on " + t.RehearsedOn
	}
	return string(t.Class) + ", " + string(t.Source)
}

func (t Tenant) againstWords() string {
	if len(t.Conflicts) == 0 {
		return "nothing"
	}
	kinds := map[string]bool{}
	for _, c := range t.Conflicts {
		kinds[c.Kind] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
}

func (e Estimate) words() string {
	if e.Seconds == nil {
		return "unknown: " + strings.TrimPrefix(e.From, "not known: ")
	}
	if *e.Seconds == 0 {
		return "no"
	}
	return atLeast(e.AtLeast) + Span(*e.Seconds)
}

func (w Window) words(now time.Time) string {
	switch {
	case w.Open && w.Until != nil:
		return "now, until " + moment(*w.Until, now)
	case w.Open:
		return "now"
	case w.Next != nil:
		return moment(*w.Next, now)
	}
	return "never"
}

func moment(t, now time.Time) string {
	if t.Sub(now) < 20*time.Hour {
		return t.UTC().Format("15:04 UTC")
	}
	return t.UTC().Format("Mon 2 Jan 15:04 UTC")
}

func atLeast(yes bool) string {
	if yes {
		return "at least "
	}
	return ""
}

func about(atLeastSo bool) string {
	if atLeastSo {
		return "at least "
	}
	return "about "
}

// Span says a number of seconds as people do.
func Span(seconds float64) string {
	switch {
	case seconds == 0:
		return "0 s"
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	minutes := int(seconds/60 + 0.5)
	if minutes%60 == 0 {
		return fmt.Sprintf("%d h", minutes/60)
	}
	return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
}

func bytesOf(n *int64) string {
	switch {
	case n == nil:
		return "-"
	case *n < 1<<20:
		return fmt.Sprintf("%d KiB", (*n+1023)>>10)
	case *n < 1<<30:
		return fmt.Sprintf("%d MiB", *n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(*n)/(1<<30))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func and(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// names are a few of a list, and how many more there are.
func names(list []string) string {
	if len(list) > 6 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:6], ", "), len(list)-6)
	}
	return and(list)
}
