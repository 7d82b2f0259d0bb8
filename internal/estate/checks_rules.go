package estate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// levels are what a check may mean.
var levels = []string{"error", "warning", "note", "off"}

var dayRule = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

func (*Checks) fill(func(string) bool) {}

// checks checks a Checks by itself. Whether the checks that it names exist is not known here.
func (d *document) checks(c *Checks) {
	c.file, c.places = d.file, d.where
	if len(c.Levels) > maxList {
		d.problem("levels", fmt.Sprintf("has %d entries; at most %d are possible", len(c.Levels), maxList), "")
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.Levels)) {
		d.oneOf("levels."+id, c.Levels[id], levels)
	}
	if len(c.Exceptions) > maxList {
		d.problem("exceptions", fmt.Sprintf("has %d entries; at most %d are possible", len(c.Exceptions), maxList), "")
		return
	}
	for i := range c.Exceptions {
		d.exception(fmt.Sprintf("exceptions[%d]", i), &c.Exceptions[i])
	}
}

func (d *document) exception(at string, x *CheckException) {
	if d.unread(at) {
		return
	}
	d.need(at+".check", "the ID of a check")
	if x.Check == "" && d.given(at+".check") && !d.unread(at+".check") {
		d.problem(at+".check", "is empty; the ID of a check expected", "see: waybill check --list")
	}
	for _, p := range []struct{ field, value string }{{"module", x.Module}, {"file", x.File}} {
		field := at + "." + p.field
		switch {
		case d.given(field) && !d.unread(field) && p.value == "":
			d.problem(field, "is empty; a name or a pattern expected", "")
		case len(p.value) > maxText || !doublestar.ValidatePattern(p.value):
			d.problem(field, shorten(p.value)+" is no pattern", `for example "acme_*", "addons/acme_lane/**"`)
		case strings.HasPrefix(p.value, "/"):
			d.problem(field, "is an absolute path; one from the source's root expected", "")
		}
	}
	if !d.given(at+".module") && !d.given(at+".file") {
		d.problem(at, "lets the check pass everywhere; module or file expected", "to switch a check off: levels: {"+shortenBare(x.Check)+": off}")
	}
	d.reasoned(at+".reason", x.Reason)
	d.day(at+".expires", x.Expires)
}

// reasoned checks a reason that others will rely on.
func (d *document) reasoned(field, reason string) {
	d.need(field, "why this may pass")
	switch {
	case d.given(field) && !d.unread(field) && strings.TrimSpace(reason) == "":
		d.problem(field, "is empty; say why this may pass", "")
	case len(reason) > maxText:
		d.problem(field, fmt.Sprintf("is longer than %d characters", maxText), "")
	}
}

// day checks a date.
func (d *document) day(field, value string) {
	d.need(field, "a date, like 2027-03-31,")
	if !d.given(field) || d.unread(field) {
		return
	}
	if _, err := time.Parse(dateForm, value); err != nil {
		d.problem(field, shorten(value)+" is no date; one like 2027-03-31 expected", "")
	}
}

// oneChecks reports a second Checks.
func (all *declarations) oneChecks() {
	for i, second := range all.checks {
		if i == 0 {
			continue
		}
		first := all.checks[0].doc
		second.doc.problem("", fmt.Sprintf("is a second Checks; at most one expected; see %s:%d", first.file, first.at.line), "")
	}
}
