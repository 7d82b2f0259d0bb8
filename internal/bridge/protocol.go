// Package bridge talks to waybill_probe, the Odoo server-wide module that every image carries.
// Its Python side is in the folder bridge/; both sides are described by the types here.
package bridge

import "strings"

// Protocol is the version of everything in this file. An image says which one it speaks.
const Protocol = 1

// Where things are inside a container.
const (
	AddonsPath   = "/opt/waybill/addons" // the product's own modules
	BridgePath   = "/opt/waybill/bridge" // holds waybill_probe
	ConfigDir    = "/etc/waybill"        // odoo.conf, pool.json, bridge.key, sessions.json, files.json, job.json
	DataDir      = "/var/lib/odoo"       // filestore and sessions, shared by the pools of a group
	OutDir       = "/run/waybill/out"    // where a job writes result.json
	PostgresDir  = "/run/waybill/pg"     // socket folder of the tenants' server, where it is on this machine
	PoolFile     = "pool.json"
	KeyFile      = "bridge.key"
	OdooConfFile = "odoo.conf"
	SessionsFile = "sessions.json" // only where sessions are kept in Redis
	FilesFile    = "files.json"    // only where files of attachments are in object storage
	JobFile      = "job.json"
	ResultFile   = "result.json"
)

// SignatureHeader carries "v1:<unix seconds>:<nonce>:<hex>" where hex is HMAC-SHA256, with the
// environment's bridge key, over
//
//	"waybill-bridge-v1\n" seconds "\n" nonce "\n" METHOD "\n" path[?query] "\n" hex(sha256(body))
//
// The router strips every X-Waybill-* header from outside.
const SignatureHeader = "X-Waybill-Signature"

// PoolConfig is pool.json: what a pool may do. The bridge reads it again when the file changes.
type PoolConfig struct {
	Protocol    int          `json:"protocol"`
	Generation  int64        `json:"generation"`
	Environment string       `json:"environment"`
	Pool        string       `json:"pool"`
	Release     string       `json:"release"` // digest
	Drain       bool         `json:"drain"`   // readiness says no
	KeepAssets  bool         `json:"keep_assets"`
	Tenants     []PoolTenant `json:"tenants"`
}

// PoolTenant is one tenant that the pool serves. A database that is not listed is not served:
// not over HTTP, not over WebSocket, not by cron.
type PoolTenant struct {
	Name       string            `json:"name"`
	Database   string            `json:"database"`
	Hosts      []string          `json:"hosts"`
	Cron       bool              `json:"cron"`
	PruneViews bool              `json:"prune_views"` // drop from views the fields that this pool's registry does not know
	GCHold     bool              `json:"gc_hold"`     // a checkpoint copies the filestore: no file is collected
	Modules    map[string]string `json:"modules"`     // versions that the release has on disk; readiness compares
}

// SessionsConfig is sessions.json: where sessions are kept, if not in files. It holds the password. A process reads it once.
type SessionsConfig struct {
	Protocol int    `json:"protocol"`
	URL      string `json:"url"` // redis:// or rediss://, without a password
	Password string `json:"password,omitempty"`
	Prefix   string `json:"prefix"` // of all keys; the database's name follows
}

// FilesConfig is files.json: where files of attachments are, if not in a folder. It holds the token. A process reads it once. DataDir
// holds nothing but copies of them then, and Odoo's sessions.
type FilesConfig struct {
	Protocol int    `json:"protocol"`
	URL      string `json:"url"`   // of the gateway, http:// or https://
	Token    string `json:"token"` // of the group
	Cache    int64  `json:"cache"` // bytes of copies that a pod keeps; what was used in the last ten minutes is kept beyond it
}

// Readiness is the answer to GET /waybill/v1/ready?db=NAME.
type Readiness struct {
	Ready      bool     `json:"ready"`
	Reason     string   `json:"reason,omitempty"`
	Release    string   `json:"release"`
	Generation int64    `json:"generation"` // of the pool.json in force
	Mismatches []string `json:"mismatches,omitempty"`
	Seconds    float64  `json:"seconds"` // to open the registry
}

// FlowOutcome says how a flow ended.
type FlowOutcome string

// The outcomes of a flow.
const (
	FlowPassed        FlowOutcome = "passed"
	FlowFailed        FlowOutcome = "failed"
	FlowNotApplicable FlowOutcome = "not_applicable" // a module that it needs is not installed, or a chart of accounts
)

// FlowsRequest is the body of POST /waybill/v1/flows; the answer is {"flows": […Flow], "left": […]} with the
// names of the flows for which one request has no time.
type FlowsRequest struct {
	Database string   `json:"database"`
	Flows    []string `json:"flows,omitempty"` // all when empty, the addons' own among them
	Quick    bool     `json:"quick,omitempty"` // without those that take long, unless named
	Round    int      `json:"round,omitempty"` // counted from 1: quick, and of those that cost more only one, in turn
	Limit    float64  `json:"limit,omitempty"` // seconds, 1 to 60, after which a flow is ended; 0: 60
}

// Flow is the result of one business transaction that was run and rolled back.
type Flow struct {
	Name    string      `json:"name"` // ship, receive, …; of an addon MODULE.FILE
	Outcome FlowOutcome `json:"outcome"`
	Error   string      `json:"error,omitempty"` // one line: why it failed, or does not apply
	Trace   string      `json:"trace,omitempty"`
	Seconds float64     `json:"seconds"`
	Stages  []Stage     `json:"stages"`
}

// Stage is one timed part of a flow. Where the flow failed, the last one is where.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Job is job.json of the command "odoo waybill_update".
type Job struct {
	Protocol    int      `json:"protocol"`
	Promotion   string   `json:"promotion"`
	Release     string   `json:"release"`
	Database    string   `json:"database"`
	Create      bool     `json:"create,omitempty"` // initialise an empty database that exists; else one without Odoo is refused
	Update      []string `json:"update"`           // modules
	Install     []string `json:"install"`
	Transaction bool     `json:"transaction"` // all in one transaction; else plain "-u"
	Flows       []string `json:"flows"`       // run before the commit (or at the end); empty: all that apply
	SkipFlows   bool     `json:"skip_flows,omitempty"`
	Deadline    float64  `json:"deadline"` // unix seconds; past it nothing is committed. 0: none
	// Checksums are written to ir_config_parameter module_auto_update.installed_checksums in the same transaction.
	Checksums map[string]string `json:"checksums"`
	// Trace marks in the database server's log, as lines "waybill-mark {JSON}", where modules and scripts
	// begin and end. For a rehearsal, which reads that log.
	Trace bool `json:"trace,omitempty"`
}

// Exit codes of waybill_update.
const (
	ExitCommitted     = 0
	ExitFailed        = 10 // a script or Odoo itself raised, or logged what must not be overlooked
	ExitFlowFailed    = 11 // flows or invariants
	ExitDeadline      = 12
	ExitBusy          = 13 // another update holds the advisory lock
	ExitConflict      = 14 // serialisation failure or deadlock: nothing happened, try again
	ExitOwnCommit     = 15 // a script commits by itself or opened its own connection: not one transaction
	ExitNoDatabase    = 16
	ExitNotAnOdooBase = 17
)

// LockClass and LockKey are the advisory lock (two-int form) that an update holds in the tenant's database.
const (
	LockClass = 0x5742 // "WB"
	LockKey   = 1
)

// MarkerParameter is the ir_config_parameter that proves what became of an update: a Marker as
// JSON, written in the update's own transaction. Without a transaction it is written
// committed first with State "started", then "done".
const MarkerParameter = "waybill.update"

// Marker is the value of MarkerParameter.
type Marker struct {
	Promotion string  `json:"promotion"`
	Release   string  `json:"release"`
	State     string  `json:"state"` // started, done
	At        float64 `json:"at"`    // unix seconds
}

// JobResult is result.json.
type JobResult struct {
	Outcome         string       `json:"outcome"`          // committed, rolled_back, partial (plain -u that failed half-way)
	Error           string       `json:"error,omitempty"`  // one line
	Module          string       `json:"module,omitempty"` // where it failed
	Script          string       `json:"script,omitempty"` // migration script where it failed
	Trace           string       `json:"trace,omitempty"`
	Seconds         float64      `json:"seconds"`
	DeferredCommits int          `json:"deferred_commits"`
	Modules         []ModuleTime `json:"modules"` // in the order updated
	LogErrors       []string     `json:"log_errors"`
	LogWarnings     []string     `json:"log_warnings"`
	Invariants      []Invariant  `json:"invariants"`
	Flows           []Flow       `json:"flows"`
}

// ModuleTime is how long a module's update took.
type ModuleTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Invariant compares a figure before and after the update, inside the transaction.
type Invariant struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
	Held   bool   `json:"held"`
}

// UpdateCommand is the command line of an update job. Odoo finds the command in the addons path;
// that must be named before the configuration is read.
func UpdateCommand(addonsPaths []string) []string {
	return []string{"odoo", "--addons-path=" + strings.Join(append([]string{BridgePath}, addonsPaths...), ","), "waybill_update"}
}
