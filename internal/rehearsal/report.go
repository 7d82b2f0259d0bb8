package rehearsal

import (
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
)

// The outcomes of a rehearsal.
const (
	Proven     = "proven"     // Class says what was proven
	Fails      = "fails"      // the update itself fails on this data: the release is not fit
	Unfinished = "unfinished" // nothing is proven; Failure says what was in the way
)

// Report is the evidence. It holds no value of the tenant's data but what a script itself puts into a message. Times of Timeline are seconds since the update
// began; sizes are bytes.
type Report struct {
	ID             string    `json:"id"`
	Environment    string    `json:"environment"`
	Tenant         string    `json:"tenant"`
	Release        string    `json:"release"` // digest
	ReleaseName    string    `json:"release_name"`
	OldRelease     string    `json:"old_release"`
	OldReleaseName string    `json:"old_release_name"`
	Schema         string    `json:"schema"` // digest of the release that the database was last updated to
	Checkpoint     string    `json:"checkpoint"`
	RecoveryPoint  time.Time `json:"recovery_point"` // of the checkpoint
	Started        time.Time `json:"started"`
	Finished       time.Time `json:"finished"`
	Steps          []Timed   `json:"steps"`

	Outcome          string       `json:"outcome"`
	Failure          string       `json:"failure,omitempty"`
	Class            estate.Class `json:"class,omitempty"`
	Cause            string       `json:"cause,omitempty"` // why it is that class, one line
	Transactional    bool         `json:"transactional"`
	OwnCommit        string       `json:"own_commit,omitempty"` // why it cannot be one transaction
	Pause            string       `json:"pause,omitempty"`      // none, hold, freeze
	PredictedSeconds float64      `json:"predicted_seconds"`    // that people wait: ComputedSeconds, calibrated
	ComputedSeconds  float64      `json:"computed_seconds"`     // the same, from this rehearsal alone
	Calibration      Calibration  `json:"calibration"`
	RecoverySeconds  float64      `json:"recovery_seconds"` // of a restore, as it was measured
	Advice           []Advice     `json:"advice"`

	Restore  Restore   `json:"restore"`
	Plan     Plan      `json:"plan"`
	Update   *Update   `json:"update,omitempty"`
	Timeline *Timeline `json:"timeline,omitempty"`
	Effect   *Effect   `json:"effect,omitempty"`
	WayBack  *WayBack  `json:"way_back,omitempty"`
}

// Timed is how long a part of the rehearsal took.
type Timed struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Advice names what makes the update worse than it need be, and the usual mend.
type Advice struct {
	Subject string `json:"subject"` // field, table, index or script
	Problem string `json:"problem"`
	Mend    string `json:"mend"`
}

// Restore is the evidence that the checkpoint can be restored.
type Restore struct {
	Seconds      float64  `json:"seconds"`
	Tables       int      `json:"tables"` // whose rows were counted and compared with the manifest
	Rows         int64    `json:"rows"`
	Bytes        int64    `json:"bytes"` // of the restored database
	Files        int      `json:"files"`
	MissingFiles []string `json:"missing_files,omitempty"` // named by the database, absent from the checkpoint
	Warnings     []string `json:"warnings,omitempty"`
	Server       string   `json:"server"` // version of the scratch server
}

// Plan is what the update was asked to do.
type Plan struct {
	Update  []string          `json:"update"`
	Install []string          `json:"install"`
	Reasons map[string]string `json:"reasons,omitempty"`
}

// Update is how the update itself went.
type Update struct {
	Seconds        float64             `json:"seconds"`          // of the work, in the process
	JobSeconds     float64             `json:"job_seconds"`      // from the container's start to its end
	CPUWaitSeconds float64             `json:"cpu_wait_seconds"` // of these, that it could have gone on and others had the CPU
	ExitCode       int                 `json:"exit_code"`
	Error          string              `json:"error,omitempty"`
	Module         string              `json:"module,omitempty"`
	Script         string              `json:"script,omitempty"`
	WaitedFor      string              `json:"waited_for,omitempty"` // what the database saw it wait for last
	Modules        []bridge.ModuleTime `json:"modules"`
	Errors         []string            `json:"errors"`
	Warnings       []string            `json:"warnings"`
	Invariants     []bridge.Invariant  `json:"invariants"`
	Flows          []bridge.Flow       `json:"flows"` // of the new release, before the commit
	WALBytes       int64               `json:"wal_bytes"`
}

// Timeline is what the update did to the database, in order.
type Timeline struct {
	Seconds    float64     `json:"seconds"`
	Statements []Statement `json:"statements"` // DDL, and what took longer than slowStatement
	Left       int         `json:"left_out"`   // statements beyond the limit, the quickest
	Locks      []Lock      `json:"locks"`      // that keep others out
	Traffic    *Traffic    `json:"traffic,omitempty"`
}

// Traffic is what production did to the tables that the update locks, while the rehearsal ran.
type Traffic struct {
	Source  string          `json:"source"`  // StatementCounters or TableCounters
	Seconds float64         `json:"seconds"` // between the two looks at its counters
	Tables  map[string]Rate `json:"tables"`
}

// Where PostgreSQL's counters come from.
const (
	StatementCounters = "pg_stat_statements"  // how often each statement ran
	TableCounters     = "pg_stat_user_tables" // scans and rows: one statement may count more than once
)

// Rate is how often a table was used, in uses a second: by Traffic.Source, statements, or scans and rows.
type Rate struct {
	Any    float64 `json:"any"`    // statements; else scans and inserted rows
	Writes float64 `json:"writes"` // statements that change rows; else rows inserted, changed, deleted
}

// Statement is one statement. SQL has its values taken out.
type Statement struct {
	At       float64  `json:"at"`
	Seconds  float64  `json:"seconds"`
	Tag      string   `json:"tag"`
	SQL      string   `json:"sql"`
	Objects  []string `json:"objects,omitempty"`
	Rewrites []string `json:"rewrites,omitempty"` // tables written anew
	Dropped  []string `json:"dropped,omitempty"`
	Module   string   `json:"module,omitempty"`
	Script   string   `json:"script,omitempty"`
	DDL      bool     `json:"ddl"`

	locks map[string]string // by table, the mode held when it ended
}

// Lock is a table lock that stronger than row locks, and how long it was held.
type Lock struct {
	Table  string  `json:"table"`
	Mode   string  `json:"mode"`   // as pg_locks names it, without "Lock"
	Blocks string  `json:"blocks"` // whom: "reads and writes", "writes"
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	Module string  `json:"module,omitempty"` // that took it
	Script string  `json:"script,omitempty"`
	SQL    string  `json:"sql,omitempty"` // the statement that took it, where that is known

	HeldSeconds    float64 `json:"held_seconds"`              // To - From, less what the update waited for a CPU meanwhile
	Blocked        float64 `json:"blocked,omitempty"`         // uses of the table that would wait, at production's rate, if nothing held them back
	BlockedSeconds float64 `json:"blocked_seconds,omitempty"` // that they would wait together
}

// Effect is what differs afterwards.
type Effect struct {
	Schema     []Change    `json:"schema"`
	Tables     []TableData `json:"tables"`
	Views      []Change    `json:"views"`
	Crons      []Change    `json:"crons"`
	Parameters []Change    `json:"parameters"` // names only
	Modules    []Change    `json:"modules"`
	Orphans    []Orphan    `json:"orphans"`
}

// Empty says that nothing that counts has changed.
func (e *Effect) Empty() bool {
	for _, t := range e.Tables {
		if t.Changed {
			return false
		}
	}
	return len(e.Schema)+len(e.Views)+len(e.Crons)+len(e.Parameters)+len(e.Modules) == 0
}

// Change is one thing that is there, gone or different.
type Change struct {
	Kind   string `json:"kind"` // table, column, index, constraint, view, cron, parameter, module
	Name   string `json:"name"`
	Before string `json:"before,omitempty"` // empty: it was not there
	After  string `json:"after,omitempty"`  // empty: it is gone
}

// TableData is what was written to one table.
type TableData struct {
	Table       string `json:"table"`
	RowsBefore  int64  `json:"rows_before"`
	RowsAfter   int64  `json:"rows_after"`
	Inserted    int64  `json:"inserted"`
	Updated     int64  `json:"updated"`
	Deleted     int64  `json:"deleted"`
	BytesBefore int64  `json:"bytes_before"`
	BytesAfter  int64  `json:"bytes_after"`
	Changed     bool   `json:"changed"` // the content of columns that were there before, write dates aside
}

// Orphan is a value in the data that the new release no longer knows.
type Orphan struct {
	Field string `json:"field"` // model.field
	Value string `json:"value"` // of the selection, from the old release's code
	Rows  int64  `json:"rows"`
}

// WayBack is how the old release fared on the migrated copy.
type WayBack struct {
	Works           bool             `json:"works"`
	Error           string           `json:"error,omitempty"` // it could not even load
	Seconds         float64          `json:"seconds"`
	RegistrySeconds float64          `json:"registry_seconds"`
	CPUWaitSeconds  float64          `json:"cpu_wait_seconds"` // of Seconds; see Update
	Neutralised     int              `json:"neutralised"`      // modules
	Models          int              `json:"models"`
	Views           int              `json:"views"`
	Problems        []bridge.Problem `json:"problems"`
	Already         []bridge.Problem `json:"already"` // problems that were there before the update
	Flows           []bridge.Flow    `json:"flows"`
	FlowsBefore     []bridge.Flow    `json:"flows_before,omitempty"` // of those that failed: on the copy as it was
}

func newReport(s Subject) *Report {
	return &Report{
		ID: s.ID, Environment: s.Environment.Name, Tenant: s.Tenant.Name,
		Release: s.Release.Digest, ReleaseName: s.Release.Name, OldRelease: s.Old.Digest, OldReleaseName: s.Old.Name, Schema: s.Schema,
		Started: time.Now().UTC(), Transactional: true, Advice: []Advice{}, Steps: []Timed{},
		Plan: Plan{Update: []string{}, Install: []string{}}, Calibration: s.Calibration,
	}
}

func (r *Report) unfinished(err error) {
	r.Outcome, r.Class, r.Failure = Unfinished, "", discreet(oneLine(err.Error()))
}

func (r *Report) fails(reason string) {
	r.Outcome, r.Class, r.Failure = Fails, "", discreet(oneLine(reason))
}

func (r *Report) finish() { r.Finished = time.Now().UTC() }

// Age is how old the data is that the evidence comes from.
func (r *Report) Age(now time.Time) time.Duration { return now.Sub(r.RecoveryPoint) }

// quotedRow is how PostgreSQL quotes values in a message: "Key (code)=(X) is duplicated", "Failing row contains (1, …)".
var quotedRow = regexp.MustCompile(`(\)=|row contains )\((?:[^()]|\([^()]*\))*\)`)

// discreet takes out of a message the values that PostgreSQL quotes. What a script says itself stays: it is what its
// author wanted to be read.
func discreet(message string) string { return quotedRow.ReplaceAllString(message, "${1}(?)") }

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + " …"
	}
	return s
}
