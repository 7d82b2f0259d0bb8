// Package waybill makes the document of one promotion: what changed, where it came from, what spoke for
// it, who said yes, how it went, how it can be reversed; cut from the store and the ledger, signed,
// and readable by whoever has the public key and nothing else. It decides nothing.
package waybill

import (
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// PredicateType is that of a waybill as an in-toto statement; its subject is the release's image.
const PredicateType = "https://github.com/waybill-dev/waybill/blob/main/docs/waybill.md#waybill-v1"

// Document is the predicate. Its fields mean the same for ever; new ones may come.
type Document struct {
	Issued    time.Time    `json:"issued" doc:"When it was cut; what it says of the present is of then"`
	IssuedBy  string       `json:"issued_by" doc:"Version of Waybill"`
	Promotion Promotion    `json:"promotion"`
	Release   Release      `json:"release"`
	Changes   []Changes    `json:"changes" doc:"Against each release that served before"`
	Origin    Origin       `json:"origin"`
	Rollouts  []Rollout    `json:"rollouts" doc:"One for each tenant"`
	Approvals []Decision   `json:"approvals" doc:"Who approved or rejected, from the ledger"`
	Emergency *Emergency   `json:"emergency,omitempty" doc:"Somebody broke the glass for it"`
	Reverse   Reverse      `json:"reverse"`
	Ledger    ledger.Proof `json:"ledger"`
}

// Promotion is what was asked and what came of it.
type Promotion struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind" enum:"promote,configuration,rollback,restore,create,suspend,resume,delete,undelete,purge,checkpoint,rotate,move,rename,restore_beside,drop_beside"`
	Environment  string     `json:"environment"`
	RequestedBy  string     `json:"requested_by"`
	EstateCommit string     `json:"estate_commit,omitempty" doc:"Of the declared state that it was asked under"`
	Forced       bool       `json:"forced,omitempty" doc:"Although the environment before had not had the release"`
	Of           string     `json:"of,omitempty" doc:"The promotion that this one takes back"`
	Created      time.Time  `json:"created"`
	Finished     *time.Time `json:"finished,omitempty" doc:"Absent while it runs: the waybill is not final then"`
	Outcome      string     `json:"outcome" doc:"promoted, rolled_back, halted, waiting; empty while it runs"`
	Class        string     `json:"class,omitempty"`
}

// Release is the image, and the source that it was built from.
type Release struct {
	Name       string    `json:"name"`
	Digest     string    `json:"digest"`
	Repository string    `json:"repository,omitempty"`
	Series     string    `json:"series,omitempty"`
	Source     string    `json:"source,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Dirty      bool      `json:"dirty,omitempty" doc:"Built from uncommitted changes: nobody can build it again"`
	Committed  time.Time `json:"committed,omitzero"`
	Base       string    `json:"base,omitempty"`
	BaseDigest string    `json:"base_digest,omitempty"`
	BuiltWith  string    `json:"built_with,omitempty" doc:"Version of Waybill"`
}

// Changes are what lies between a release that served before and this one.
type Changes struct {
	From    Release          `json:"from"`
	Modules *odoo.Difference `json:"modules,omitempty"`
	Unknown string           `json:"unknown,omitempty" doc:"Why it is not known"`
}

// Origin is what was signed of the image, held against the trust that the estate declares for the environment.
type Origin struct {
	Statements []Statement    `json:"statements"`
	Checks     map[string]int `json:"checks,omitempty" doc:"What the checks of the release found at its build, by level"`
	Passed     *bool          `json:"checks_passed,omitempty"`
	Unknown    string         `json:"unknown,omitempty" doc:"Why it is not known"`
}

// Statement is one signed statement about the image.
type Statement struct {
	Type    string `json:"type" doc:"provenance, checks, sbom, vulnerabilities, or a URI"`
	Digest  string `json:"digest" doc:"Of the attestation in the registry"`
	Holds   bool   `json:"holds"`
	Key     string `json:"key,omitempty"`
	KeyID   string `json:"key_id,omitempty"`
	Builder string `json:"builder,omitempty"`
	Source  string `json:"source,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Refused string `json:"refused,omitempty" doc:"Why it does not hold"`
}

// Rollout is one tenant's part.
type Rollout struct {
	Tenant           string       `json:"tenant"`
	Before           string       `json:"before,omitempty" doc:"Digest of the release that served before"`
	Outcome          string       `json:"outcome"`
	Reason           string       `json:"reason,omitempty"`
	Class            string       `json:"class,omitempty"`
	ClassReason      string       `json:"class_reason,omitempty"`
	Update           []string     `json:"update,omitempty" doc:"Modules"`
	Install          []string     `json:"install,omitempty" doc:"Modules"`
	OneTransaction   bool         `json:"one_transaction"`
	HeldSeconds      float64      `json:"held_seconds" doc:"How long people waited"`
	PredictedSeconds float64      `json:"predicted_seconds,omitempty"`
	Rehearsal        *Rehearsal   `json:"rehearsal,omitempty"`
	Checkpoints      []Checkpoint `json:"checkpoints"`
	Traffic          []Traffic    `json:"traffic" doc:"Steps of the shift, each with its verdict"`
	Steps            []Step       `json:"steps"`
}

// Rehearsal is the evidence that the class comes from.
type Rehearsal struct {
	ID               string         `json:"id"`
	Outcome          string         `json:"outcome"`
	Class            string         `json:"class,omitempty"`
	Cause            string         `json:"cause,omitempty"`
	Checkpoint       string         `json:"checkpoint"`
	RecoveryPoint    time.Time      `json:"recovery_point" doc:"Of the data that it was rehearsed on"`
	PredictedSeconds float64        `json:"predicted_seconds"`
	RecoverySeconds  float64        `json:"recovery_seconds" doc:"Of a restore, as it was measured"`
	Tables           int            `json:"tables" doc:"Whose rows were counted after the restore and compared with the checkpoint"`
	Rows             int64          `json:"rows"`
	OldWorks         *bool          `json:"old_works,omitempty" doc:"Whether the release before works on the changed database"`
	Schema           []SchemaChange `json:"schema" doc:"What the update changes in the database"`
	SchemaLeftOut    int            `json:"schema_left_out,omitempty"`
}

// SchemaChange is one thing that is new, gone or different. It holds names and types, no values.
type SchemaChange struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Checkpoint is one that this rollout took.
type Checkpoint struct {
	ID              string    `json:"id"`
	InFence         bool      `json:"in_fence,omitempty" doc:"Taken while nobody could write: going back to it loses nothing"`
	RecoveryPoint   time.Time `json:"recovery_point,omitzero"`
	Verified        time.Time `json:"verified,omitzero" doc:"When it was last read back"`
	Seconds         float64   `json:"seconds,omitempty" doc:"That taking it took"`
	Bytes           int64     `json:"bytes,omitempty" doc:"Stored for it alone"`
	Files           int       `json:"files,omitempty"`
	RecoverySeconds float64   `json:"recovery_seconds,omitempty" doc:"Of a restore of this tenant, measured by the rehearsal"`
	Missing         string    `json:"missing,omitempty" doc:"Why it cannot be read now"`
}

// Traffic is a step of the shift.
type Traffic struct {
	Step     string   `json:"step" doc:"shift or bake"`
	Weight   string   `json:"weight,omitempty" doc:"Share of the traffic"`
	Outcome  string   `json:"outcome,omitempty" doc:"PASS, FAIL or INCONCLUSIVE"`
	Evidence string   `json:"evidence"`
	Signals  []Signal `json:"signals,omitempty" doc:"What the business did meanwhile, as far as it was seen"`
}

// Signal is what one business signal said at a step of the shift.
type Signal struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Says    string `json:"says"`
	Chart   *Chart `json:"chart,omitempty" doc:"Its course in both releases; of signals that decided"`
}

// Chart is the course of a signal: a mean for each slice of time, null where nothing was seen.
type Chart struct {
	Since time.Time  `json:"since"`
	Slice float64    `json:"slice" doc:"Seconds"`
	Unit  string     `json:"unit" enum:"share,seconds"`
	New   []*float64 `json:"new" doc:"The release of this promotion"`
	Old   []*float64 `json:"old" doc:"The one that served before"`
}

// Step is one try at one step.
type Step struct {
	Name     string     `json:"name"`
	Undo     bool       `json:"undo,omitempty"`
	Outcome  string     `json:"outcome"`
	Detail   string     `json:"detail,omitempty"`
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished,omitempty"`
}

// Emergency says who broke the glass and why, who confirmed it, what was not asked, and what its review found.
type Emergency struct {
	AskedBy   string     `json:"asked_by"`
	Reason    string     `json:"reason"`
	Asked     time.Time  `json:"asked"`
	Second    string     `json:"second" doc:"Who was to confirm it"`
	ConfirmBy time.Time  `json:"confirm_by"`
	Confirmed *time.Time `json:"confirmed,omitempty" doc:"Absent where nobody had confirmed it: nothing was begun then"`
	Skipped   []string   `json:"skipped" doc:"What was not asked of it, and would have been of an ordinary promotion"`
	Review    *Review    `json:"review,omitempty" doc:"Absent while it is open, and where there was nothing to review"`
}

// Review is what somebody else found afterwards.
type Review struct {
	By     string    `json:"by"`
	Closed time.Time `json:"closed"`
	Note   string    `json:"note"`
}

// Decision is what a person decided.
type Decision struct {
	Sequence int64     `json:"sequence" doc:"Of the ledger's entry"`
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	Kind     string    `json:"kind"`
	Detail   string    `json:"detail,omitempty"`
}

// Reverse is how the promotion could be taken back when the waybill was cut.
type Reverse struct {
	Way     string `json:"way" enum:"route,restore,undo,none" doc:"none: nothing is there to reverse, or it cannot be"`
	Command string `json:"command,omitempty"`
	Says    string `json:"says"`
}

// Final says that nothing of the promotion goes on.
func (d *Document) Final() bool { return d.Promotion.Finished != nil }
