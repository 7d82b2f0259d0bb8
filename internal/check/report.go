package check

import (
	"cmp"
	"maps"
	"slices"
)

// NotChecked is something that was not looked at, and why. A check, a file, or both are named.
type NotChecked struct {
	Check string `json:"check,omitempty"`
	File  string `json:"file,omitempty"`
	Why   string `json:"why"`
}

// Report is what came of the checks.
type Report struct {
	Findings   []Finding      `json:"findings"`          // sorted by place; at most 200 of one check
	More       map[string]int `json:"more,omitempty"`    // findings beyond that, by check
	NotChecked []NotChecked   `json:"not_checked"`       // sorted
	Counts     Counts         `json:"counts"`            // of all findings, shown or not
	Modules    int            `json:"modules"`           // that were looked at
	Files      int            `json:"files"`             // that they have
	Checks     []string       `json:"checks"`            // IDs of those that ran, sorted
	Base       string         `json:"base,omitempty"`    // digest of the base image that was looked at
	Skipped    string         `json:"skipped,omitempty"` // the reason why no check ran
}

// Counts are numbers of findings. Those that an exception lets pass count as accepted only.
type Counts struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
	Accepted int `json:"accepted"`
}

// SkippedReport is the report of checks that a person chose not to run.
func SkippedReport(reason string) Report {
	return Report{Findings: []Finding{}, NotChecked: []NotChecked{}, Checks: []string{}, Skipped: oneLine(reason)}
}

// Failed says whether the release is refused.
func (r Report) Failed() bool { return r.FailedAt(Error) }

// FailedAt says whether there is a finding of that severity or a graver one, which no exception
// lets pass.
func (r Report) FailedAt(least Severity) bool {
	switch least {
	case Note:
		return r.Counts.Errors+r.Counts.Warnings+r.Counts.Notes > 0
	case Warning:
		return r.Counts.Errors+r.Counts.Warnings > 0
	default:
		return r.Counts.Errors > 0
	}
}

// take counts all findings and keeps those within the limit: of one check the gravest first, and
// not those that an exception lets pass before those that count.
func (r *Report) take(found []Finding) {
	by := map[string][]Finding{}
	for _, f := range found {
		by[f.Check] = append(by[f.Check], f)
		switch {
		case f.Accepted != "":
			r.Counts.Accepted++
		case f.Severity == Error:
			r.Counts.Errors++
		case f.Severity == Warning:
			r.Counts.Warnings++
		default:
			r.Counts.Notes++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		of := by[id]
		if len(of) > maxFindings {
			slices.SortStableFunc(of, func(a, b Finding) int { return cmp.Compare(weight(a), weight(b)) })
			if r.More == nil {
				r.More = map[string]int{}
			}
			r.More[id] = len(of) - maxFindings
			of = of[:maxFindings]
		}
		r.Findings = append(r.Findings, of...)
	}
	slices.SortFunc(r.Findings, compare)
	if r.NotChecked == nil {
		r.NotChecked = []NotChecked{}
	}
}

func weight(f Finding) int {
	switch {
	case f.Accepted != "":
		return 3
	case f.Severity == Error:
		return 0
	case f.Severity == Warning:
		return 1
	}
	return 2
}
