package bridge

import "strings"

// TryJob is job.json of the command "odoo waybill_try": whether a release works on a database as it is. It changes
// the database (it may neutralise it), so it is for copies.
type TryJob struct {
	Protocol   int      `json:"protocol"`
	Database   string   `json:"database"`
	Neutralise bool     `json:"neutralise"`  // by Odoo's own means: mail, crons, carriers, payments off
	CheckViews bool     `json:"check_views"` // every view compiles and, pruned, names only what the release knows
	Views      []int64  `json:"views"`       // only these ids and those that they belong to; empty: all
	Flows      []string `json:"flows"`       // empty: all that apply
	SkipFlows  bool     `json:"skip_flows,omitempty"`
	Deadline   float64  `json:"deadline"` // unix seconds; 0: none
}

// TryResult is result.json of "odoo waybill_try". Its exit codes are those of waybill_update; ExitFlowFailed means
// that there are problems or flows that failed.
type TryResult struct {
	Outcome         string    `json:"outcome"`         // passed, failed
	Error           string    `json:"error,omitempty"` // why it could not even begin: the registry does not load
	Trace           string    `json:"trace,omitempty"`
	Seconds         float64   `json:"seconds"`
	RegistrySeconds float64   `json:"registry_seconds"`
	Neutralised     int       `json:"neutralised"` // modules that had something to neutralise
	Models          int       `json:"models"`      // looked at
	Views           int       `json:"views"`
	Problems        []Problem `json:"problems"`
	Flows           []Flow    `json:"flows"`
	LogErrors       []string  `json:"log_errors"`
	LogWarnings     []string  `json:"log_warnings"`
}

// Problem is one thing that does not work.
type Problem struct {
	Kind      string `json:"kind"` // model, or ProblemView
	Model     string `json:"model"`
	Name      string `json:"name"` // field or view
	ID        int64  `json:"id,omitempty"`
	Error     string `json:"error"`
	Statement string `json:"statement,omitempty"` // that fails, without values
}

// ProblemView is the kind of a view's problem.
const ProblemView = "view"

// TryCommand is the command line of a trial.
func TryCommand(addonsPaths []string) []string {
	return []string{"odoo", "--addons-path=" + strings.Join(append([]string{BridgePath}, addonsPaths...), ","), "waybill_try"}
}
