package estate

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Checks says what the checks of a release mean here: which of them refuse it, and what is let pass
// for a while. kind: Checks.
type Checks struct {
	Levels     map[string]string `yaml:"levels" json:"levels,omitempty"`         // check → error, warning, note or off; what is not named keeps its own severity
	Exceptions []CheckException  `yaml:"exceptions" json:"exceptions,omitempty"` // findings that are let pass until a date

	places map[string]position // of levels and exceptions, for Unknown
	file   string
}

// CheckException lets findings of one check pass until a date, for a module, for files, or for both.
type CheckException struct {
	Check   string `yaml:"check" json:"check"`             // ID of the check, see: waybill check --list
	Module  string `yaml:"module" json:"module,omitempty"` // name or pattern, like "acme_*"; without it any module
	File    string `yaml:"file" json:"file,omitempty"`     // path from the source's root or a pattern, like "addons/acme_lane/data/*.xml"; ** stands for any folders
	Reason  string `yaml:"reason" json:"reason"`           // required: why this may pass, for now
	Expires string `yaml:"expires" json:"expires"`         // required: the last day on which it holds, like 2027-03-31 (UTC)
}

// dateForm is how an estate writes a day.
const dateForm = "2006-01-02"

// Until returns the moment from which the exception no longer holds.
func (x CheckException) Until() time.Time {
	day, err := time.Parse(dateForm, x.Expires)
	if err != nil {
		return time.Time{} // Parse lets no such one through; it has expired
	}
	return day.AddDate(0, 0, 1)
}

// Place returns where in the estate the exception with that index stands, as "file:line".
func (c Checks) Place(exception int) string {
	at := c.places[fmt.Sprintf("exceptions[%d]", exception)]
	return fmt.Sprintf("%s:%d", c.file, at.line)
}

// Unknown names the checks that do not exist, each as a Problem with its place; nil where all do.
// The caller knows the checks; this package does not.
func (c Checks) Unknown(known []string) error {
	var rep report
	add := func(field, id string) {
		if slices.Contains(known, id) {
			return
		}
		at := c.places[field]
		hint := suggest(id, known)
		if hint == "" {
			hint = "see: waybill check --list"
		}
		rep.add(&Problem{File: c.file, Line: at.line, Column: at.column, Field: field, Message: "there is no check " + shorten(id), Hint: hint})
	}
	for _, id := range slices.Sorted(maps.Keys(c.Levels)) {
		add("levels."+id, id)
	}
	for i, x := range c.Exceptions {
		add(fmt.Sprintf("exceptions[%d].check", i), x.Check)
	}
	return rep.err()
}
