package estate

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The words of a Vulnerabilities.
var (
	refusals  = []string{"critical", "high", "medium", "low", "never"}
	leniences = []string{"ignore", "warn", "refuse"}
)

var (
	advisoryRule = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._:-]*$`)
	ageSpan      = span[time.Duration]{time.Hour, 8760 * time.Hour}
)

// vulnerabilities checks a Vulnerabilities by itself. Whether the databases are there is a matter of
// the scan: a renewal may be under way.
func (d *document) vulnerabilities(v *Vulnerabilities) {
	d.need("databases", "folders or zip files with OSV advisories")
	if d.given("databases") && len(v.Databases) == 0 && !d.unread("databases") {
		d.problem("databases", "is empty; at least one folder or zip file expected", "without databases nothing is compared; remove the document")
	}
	d.once("databases", v.Databases)
	for i, file := range v.Databases {
		field := fmt.Sprintf("databases[%d]", i)
		switch {
		case d.unread(field):
		case strings.Contains(file, "://"):
			d.problem(field, shorten(file)+" is an address; a folder or a zip file of this machine expected", "scans work offline: let a timer fetch the file")
		case strings.TrimSpace(file) == "", strings.ContainsRune(file, 0):
			d.problem(field, shorten(file)+" names no file", "")
		}
	}
	within(d, "max_age", v.MaxAge, ageSpan, "")
	for _, f := range []struct {
		field, value string
		known        []string
	}{{"refuse", v.Refuse, refusals}, {"unfixed", v.Unfixed, leniences}, {"unrated", v.Unrated, leniences}} {
		if !d.unread(f.field) {
			d.oneOf(f.field, f.value, f.known)
		}
	}
	if len(v.Accept) > maxList {
		d.problem("accept", fmt.Sprintf("has %d entries; at most %d are possible", len(v.Accept), maxList), "")
		return
	}
	for i, a := range v.Accept {
		d.accepted(fmt.Sprintf("accept[%d]", i), a)
	}
}

func (d *document) accepted(at string, a AcceptedVulnerability) {
	if d.unread(at) {
		return
	}
	d.need(at+".id", "the ID of a vulnerability, like CVE-2026-1234,")
	if d.given(at+".id") && !d.unread(at+".id") && (!advisoryRule.MatchString(a.ID) || len(a.ID) > maxText) {
		d.problem(at+".id", shorten(a.ID)+" is no ID of a vulnerability; one like CVE-2026-1234 expected", "")
	}
	if d.given(at+".component") && !d.unread(at+".component") && strings.TrimSpace(a.Component) == "" {
		d.problem(at+".component", "is empty; the name of a package, distribution or module expected", "remove the line for any component")
	}
	d.reasoned(at+".reason", a.Reason)
	d.day(at+".expires", a.Expires)
}

// oneVulnerabilities reports a second Vulnerabilities.
func (all *declarations) oneVulnerabilities() {
	for i, second := range all.vulnerabilities {
		if i > 0 {
			first := all.vulnerabilities[0].doc
			second.doc.problem("", fmt.Sprintf("is a second Vulnerabilities; at most one expected; see %s:%d", first.file, first.at.line), "")
		}
	}
}
