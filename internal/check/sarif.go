package check

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// sarifLog is the part of SARIF 2.1.0 (OASIS standard) that a report fills.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	Bases       map[string]sarifBase `json:"originalUriBaseIds"`
	Results     []sarifResult        `json:"results"`
	Invocations []sarifInvocation    `json:"invocations"`
	ColumnKind  string               `json:"columnKind"`
	Language    string               `json:"language"`
	Newlines    []string             `json:"newlineSequences"`
}

type sarifBase struct {
	Description sarifText `json:"description"`
}

type sarifDriver struct {
	Name     string      `json:"name"`
	Version  string      `json:"version,omitempty"`
	Language string      `json:"language"`
	Rules    []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID      string    `json:"id"`
	Short   sarifText `json:"shortDescription"`
	Full    sarifText `json:"fullDescription"`
	Help    sarifText `json:"help"`
	Default struct {
		Level string `json:"level"`
	} `json:"defaultConfiguration"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	Rule         string             `json:"ruleId"`
	Index        *int               `json:"ruleIndex,omitempty"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	Properties   map[string]string  `json:"properties,omitempty"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
}

type sarifPhysical struct {
	Artifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId"`
	} `json:"artifactLocation"`
	Region *sarifRegion `json:"region,omitempty"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

// sarifRoot is how locations name the source's root; the reader of the log knows where that is.
const sarifRoot = "SRCROOT"

// SARIF returns the report in the form that code hosts and editors read (SARIF 2.1.0), to be encoded
// as JSON. Version is Waybill's own, prefix the source's folder within its repository, with slashes
// ("" where it is the repository itself): locations are relative to the repository's root.
func (r Report) SARIF(version, prefix string) any {
	var run sarifRun
	run.Tool.Driver = sarifDriver{Name: "waybill check", Version: version, Language: "en-US", Rules: []sarifRule{}}
	index := map[string]int{}
	for _, c := range Checks() {
		rule := sarifRule{ID: c.ID, Short: sarifText{strings.ReplaceAll(c.ID, "-", " ")}, Full: sarifText{c.Why}, Help: sarifText{c.Why}}
		rule.Default.Level = sarifLevel(c.Severity)
		index[c.ID] = len(run.Tool.Driver.Rules)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	run.Bases = map[string]sarifBase{sarifRoot: {Description: sarifText{"The root of the source repository."}}}
	run.ColumnKind, run.Language, run.Newlines = "utf16CodeUnits", "en-US", []string{"\r\n", "\n"}
	run.Results = []sarifResult{}
	for _, f := range r.Findings {
		run.Results = append(run.Results, sarifOf(f, index, prefix))
	}
	done := sarifInvocation{Successful: true}
	notify := func(text string) {
		done.Notifications = append(done.Notifications, sarifNotification{"note", sarifText{text}})
	}
	for _, n := range r.NotChecked {
		notify("not checked: " + n.String())
	}
	if r.Skipped != "" {
		notify("the checks were skipped: " + r.Skipped)
	}
	run.Invocations = []sarifInvocation{done}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

func sarifOf(f Finding, index map[string]int, prefix string) sarifResult {
	result := sarifResult{Rule: f.Check, Level: sarifLevel(f.Severity), Message: sarifText{f.Message}, Locations: []sarifLocation{}}
	if f.Fix != "" {
		result.Message.Text += ". To repair it: " + f.Fix
	}
	if i, ok := index[f.Check]; ok {
		result.Index = &i
	}
	if f.Module != "" {
		result.Properties = map[string]string{"module": strings.ToValidUTF8(f.Module, "\ufffd")}
	}
	if f.Accepted != "" {
		result.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: f.Accepted}}
	}
	if f.File == "" {
		return result
	}
	var at sarifPhysical
	at.Artifact.URI, at.Artifact.Base = sarifURI(f.File, prefix), sarifRoot
	if f.Line > 0 {
		at.Region = &sarifRegion{f.Line}
	}
	result.Locations = append(result.Locations, sarifLocation{at})
	return result
}

// sarifURI is a relative reference; bytes that are no UTF-8 are kept, escaped.
func sarifURI(file, prefix string) string {
	if prefix != "" {
		file = strings.TrimSuffix(prefix, "/") + "/" + file
	}
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	// A colon in the first part would make it a scheme.
	parts[0] = strings.ReplaceAll(parts[0], ":", "%3A")
	return strings.Join(parts, "/")
}

func sarifLevel(s Severity) string {
	switch s {
	case Error, Warning, Note:
		return string(s)
	}
	return "none"
}

// String says what was not checked and why, on one line.
func (n NotChecked) String() string {
	var what []string
	for _, s := range []string{printable(n.File), n.Check, oneLine(n.Why)} {
		if s != "" {
			what = append(what, s)
		}
	}
	return strings.Join(what, ": ")
}

// printable is a path as a terminal can show it: a name of other bytes is quoted.
func printable(path string) string {
	if utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return path
	}
	return strings.Trim(strings.ReplaceAll(quote(path), `\"`, `"`), `"`)
}
