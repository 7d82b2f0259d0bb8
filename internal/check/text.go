package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func quote(s string) string { return strconv.QuoteToASCII(s) }

// Text writes the report for people: one line a finding that starts with its place, as compilers
// do, so that editors and terminals find it; the way out below; at the end what was not looked at,
// and a sum. Prefix comes before each path: the folder that was checked, as it was named.
func (r Report) Text(w io.Writer, prefix string) {
	if prefix != "" && prefix != "." {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	} else {
		prefix = ""
	}
	for _, f := range r.Findings {
		if f.Accepted != "" {
			continue
		}
		place := ""
		if f.File != "" {
			place = printable(prefix + f.File)
			if f.Line > 0 {
				place += fmt.Sprintf(":%d", f.Line)
			}
			place += ": "
		} else if f.Module != "" {
			place = "module " + printable(f.Module) + ": "
		}
		fmt.Fprintf(w, "%s%s: %s [%s]\n", place, f.Severity, f.Message, f.Check)
		if f.Fix != "" {
			fmt.Fprintf(w, "    %s\n", f.Fix)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.More)) {
		fmt.Fprintf(w, "%s: %s of this check are not shown\n", id, count(r.More[id], "further finding"))
	}
	r.accepted(w)
	r.notChecked(w)
	fmt.Fprintln(w, r.Summary())
}

// accepted tells what exceptions let pass, by check and reason.
func (r Report) accepted(w io.Writer) {
	by := map[string]int{}
	for _, f := range r.Findings {
		if f.Accepted != "" {
			by[f.Check+": "+f.Accepted]++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(w, "accepted: %s of %s\n", count(by[key], "finding"), key)
	}
}

// notChecked tells each reason once, with all the checks that it concerns.
func (r Report) notChecked(w io.Writer) {
	checks := map[string][]string{}
	var reasons []string
	for _, n := range r.NotChecked {
		key := n.Why
		if n.File != "" || n.Check == "" {
			key = NotChecked{File: n.File, Why: n.Why}.String()
		}
		if _, ok := checks[key]; !ok {
			reasons = append(reasons, key)
			checks[key] = nil
		}
		if n.Check != "" {
			checks[key] = append(checks[key], n.Check)
		}
	}
	const most = 20
	for i, key := range reasons {
		if i == most {
			fmt.Fprintf(w, "not checked: and %d more; -o json names all\n", len(reasons)-most)
			break
		}
		if of := checks[key]; len(of) > 0 {
			fmt.Fprintf(w, "not checked: %s: %s\n", strings.Join(of, ", "), oneLine(key))
			continue
		}
		fmt.Fprintf(w, "not checked: %s\n", oneLine(key))
	}
}

// Summary is the report on one line.
func (r Report) Summary() string {
	if r.Skipped != "" {
		return "The checks were skipped: " + r.Skipped
	}
	looked := fmt.Sprintf("%s, %s, %s", count(r.Modules, "module"), count(r.Files, "file"), count(len(r.Checks), "check"))
	if r.Counts == (Counts{}) {
		return "Nothing found: " + looked + "."
	}
	var found []string
	for _, c := range []struct {
		n    int
		what string
	}{{r.Counts.Errors, "error"}, {r.Counts.Warnings, "warning"}, {r.Counts.Notes, "note"}} {
		if c.n > 0 {
			found = append(found, count(c.n, c.what))
		}
	}
	if r.Counts.Accepted > 0 {
		found = append(found, fmt.Sprintf("%d accepted", r.Counts.Accepted))
	}
	return strings.Join(found, ", ") + " in " + looked + "."
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
