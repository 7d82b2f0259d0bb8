// Package estate is the declared state: what an estate repository says about product,
// environments and tenants. It reads YAML with limits, fills in defaults, and refuses what does
// not hold together with file, line, field and what was expected. It is pure but for reading
// the files it is given.
package estate

import "time"

// Estate is a whole, valid declared state.
type Estate struct {
	Root   string // folder on this machine
	Commit string // Git commit, empty where the folder is no repository
	Dirty  bool   // the folder differs from the commit

	Product         Product
	Environments    []Environment    // in the order of Product.Environments
	Tenants         []Tenant         // sorted by environment and name
	Templates       []TenantTemplate `json:",omitempty"` // sorted by name, see Template
	Classifications []Classification
	Checks          Checks           `json:",omitzero"`  // at most one document; empty where there is none
	Vulnerabilities *Vulnerabilities `json:",omitempty"` // at most one document; nil where there is none: nothing is compared
	Trusts          []Trust          `json:",omitempty"` // see TrustFor
	Calendars       []Calendar       `json:",omitempty"` // in the order of their files, see Calendar
	Notifications   *Notifications   `json:",omitempty"` // at most one document; nil where there is none: nobody is told
	Policies        []Policy         `json:",omitempty"` // sorted by name, see PoliciesFor
	Repository      *Repository      `json:",omitempty"` // at most one document; nil where there is none: the estate is the folder
	Targets         []Target         `json:",omitempty"` // at most one an environment, in their order
	Access          Access           `json:",omitzero"`  // users and groups of all documents; empty: the holder of the data folder's token is alone
}

// Product is what is built and how it travels. kind: Product.
type Product struct {
	Name         string   `yaml:"name" json:"name"`     // also the repository's name in the registry
	Series       string   `yaml:"series" json:"series"` // Odoo series, "19.0"
	Base         string   `yaml:"base" json:"base"`     // image to build on: a reference, "oci:FOLDER" or "rootfs:FILE"; default odoo:SERIES
	Addons       []string `yaml:"addons" json:"addons"` // folders in the source repository; default [addons]
	Environments []string `yaml:"environments" json:"environments"`
	Experimental bool     `yaml:"experimental" json:"experimental,omitempty"` // allow a series Waybill has not been tested with
}

// Environment is a stage of the pipeline. kind: Environment.
type Environment struct {
	Name       string            `yaml:"name" json:"name"`
	Runtime    Runtime           `yaml:"runtime" json:"runtime"`
	Database   Database          `yaml:"database" json:"database"`
	Redis      Redis             `yaml:"redis" json:"redis,omitzero"`            // that keeps sessions, or that an addon uses; it is watched while traffic moves
	Workers    int               `yaml:"workers" json:"workers"`                 // HTTP worker processes of a pool; 0: one threaded process; default 2
	Settings   map[string]string `yaml:"settings" json:"settings,omitempty"`     // further odoo.conf options
	Resources  *Resources        `yaml:"resources" json:"resources,omitempty"`   // of each process of a pool; default: not limited
	Scale      *Scale            `yaml:"scale" json:"scale,omitempty"`           // on Kubernetes, how many pods serve requests in each pool; default: one
	HoldBudget time.Duration     `yaml:"hold_budget" json:"hold_budget"`         // longest time a request may wait; default 20s
	Deadline   time.Duration     `yaml:"update_deadline" json:"update_deadline"` // of an update behind a freeze; default 30m
	DrainLimit time.Duration     `yaml:"drain_limit" json:"drain_limit"`         // for requests in flight before a fence; default 10s
	Class      Class             `yaml:"class" json:"class,omitempty"`           // at least this class, whatever the evidence
	Rehearsal  Rehearsal         `yaml:"rehearsal" json:"rehearsal,omitempty"`   // whether a release's class comes from a rehearsal: off, auto or required; default off
	Rollout    Rollout           `yaml:"rollout" json:"rollout"`
	Approvals  *Approvals        `yaml:"approvals" json:"approvals,omitempty"` // who must agree before a release enters; default: nobody is asked
	Rings      []Ring            `yaml:"rings" json:"rings,omitempty"`         // in which order, and how many at once, the tenants take a release; default: all at once
	Emergency  *Emergency        `yaml:"emergency" json:"emergency,omitempty"` // how a release may enter in an emergency; default: there is no such way
	Isolation  *Isolation        `yaml:"isolation" json:"isolation,omitempty"` // how often it is tried to reach other tenants from inside the pools; default every hour
	Limits     *Limits           `yaml:"limits" json:"limits,omitempty"`       // of each tenant that does not say otherwise; default none
	Drift      Drift             `yaml:"drift" json:"drift,omitempty"`         // on Kubernetes, what becomes of an object that somebody else has changed or deleted: report or heal; default report

	file string
}

// File is where the environment stands, relative to the estate's folder.
func (e Environment) File() string { return e.file }

// Runtime says where an environment runs. Only Docker for now.
type Runtime struct {
	Docker *Docker `yaml:"docker" json:"docker,omitempty"`
}

// Docker is a Docker Engine on this machine with Waybill's router in front.
type Docker struct {
	HTTP        string `yaml:"http" json:"http"`                         // host:port to listen on
	HTTPS       string `yaml:"https" json:"https,omitempty"`             // host:port; needs certificate and key
	Certificate string `yaml:"certificate" json:"certificate,omitempty"` // PEM file, relative to the estate's folder
	Key         string `yaml:"key" json:"key,omitempty"`                 // PEM file
}

// Database is the PostgreSQL server of an environment's tenants.
type Database struct {
	// URL names a server; empty: the one that `waybill up` runs. A password is given by reference:
	// "env:NAME" or "file:PATH" in Password, never in the URL.
	URL      string `yaml:"url" json:"url,omitempty"`
	Password string `yaml:"password" json:"password,omitempty"`
}

// Redis is a Redis server of an environment.
type Redis struct {
	URL      string `yaml:"url" json:"url,omitempty"`           // of the server: redis://HOST:PORT, rediss:// with TLS, or unix:///PATH; without a password
	Password string `yaml:"password" json:"password,omitempty"` // by reference: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY
	Sessions bool   `yaml:"sessions" json:"sessions,omitempty"` // people's sessions are kept there and not in files; default false
	Volatile bool   `yaml:"volatile" json:"volatile,omitempty"` // it may forget them when it is restarted: people then log in again; default false
}

// KeepsSessions is the URL of the server where it keeps people's sessions; empty where they are in files.
func (r Redis) KeepsSessions() string {
	if !r.Sessions {
		return ""
	}
	return r.URL
}

// Rollout says how traffic moves.
type Rollout struct {
	Steps        []int         `yaml:"steps" json:"steps"`                       // weights in percent before 100; default [10, 50]
	Requests     int           `yaml:"requests" json:"requests"`                 // at least so many on the new pool before a step's verdict; default 20
	StepDeadline time.Duration `yaml:"step_deadline" json:"step_deadline"`       // without a verdict by then: back; default 5m
	MaxErrorRate float64       `yaml:"max_error_rate" json:"max_error_rate"`     // share of failed requests above the stable pool's; default 0.01
	Bake         time.Duration `yaml:"bake" json:"bake"`                         // watched at 100 % while the old pool stays; default 1m
	Events       int           `yaml:"events" json:"events,omitempty"`           // at least so many business calls (orders confirmed, deliveries validated …) on the new pool besides, before a step's verdict; default 0
	Synthetic    bool          `yaml:"synthetic" json:"synthetic,omitempty"`     // flows may stand for the requests and business calls that are missing, so that a tenant without traffic goes on; default false
	AtDeadline   AtDeadline    `yaml:"at_deadline" json:"at_deadline,omitempty"` // without a verdict by step_deadline: back, or ask a person; default back
	Alpha        float64       `yaml:"alpha" json:"alpha,omitempty"`             // chance that a release with nothing wrong is taken back in a whole shift; default 0.01
	Signals      []SignalRule  `yaml:"signals" json:"signals,omitempty"`         // how business signals are judged where the defaults do not fit
}

// Hosting says whether a tenant shares pools.
type Hosting string

// The kinds of hosting.
const (
	Shared    Hosting = "shared"
	Dedicated Hosting = "dedicated"
)

// Tenant is one Odoo database with its filestore and host names. kind: Tenant.
type Tenant struct {
	Name        string   `yaml:"name" json:"name"`
	Environment string   `yaml:"environment" json:"environment"`
	Database    string   `yaml:"database" json:"database"` // default <name>_<environment>
	Hosts       []string `yaml:"hosts" json:"hosts"`       // host names without port
	Hosting     Hosting  `yaml:"hosting" json:"hosting"`   // default shared
	Modules     []string `yaml:"modules" json:"modules"`   // installed when the tenant is created, and by a promotion that finds one missing
	Languages   []string `yaml:"languages" json:"languages,omitempty"`

	Ring   string            `yaml:"ring" json:"ring,omitempty"`     // the tenants that take a release together; a name, for policies and calendars to select by
	Labels map[string]string `yaml:"labels" json:"labels,omitempty"` // free words about the tenant, like {country: de, process: inbound}; policies and calendars select by them
	Limits *Limits           `yaml:"limits" json:"limits,omitempty"` // what it may take of what it shares with others; default: as the environment says

	file string
	line int
}

// File is where the tenant stands, relative to the estate's folder.
func (t Tenant) File() string { return t.file }

// Rehearsal says whether the class of a release comes from a rehearsal on a copy of the tenant's data.
type Rehearsal string

// The kinds of rehearsing.
const (
	RehearsalOff      Rehearsal = "off"      // classifications stand, and without one a release is taken as breaking
	RehearsalAuto     Rehearsal = "auto"     // rehearsed where there is a young checkpoint, else as off
	RehearsalRequired Rehearsal = "required" // no promotion without a rehearsal that proves a class
)

// Wanted says whether a promotion looks for evidence.
func (r Rehearsal) Wanted() bool { return r == RehearsalAuto || r == RehearsalRequired }

// Class is how a release may roll.
type Class string

// The classes, from the mildest to the most careful.
const (
	Swap       Class = "swap"       // nothing in the database changes
	Compatible Class = "compatible" // it changes, and the old release works on the result
	Breaking   Class = "breaking"   // it changes, and the old release does not
)

// Classification declares the class of a release while no rehearsal has measured it. kind: Classification.
type Classification struct {
	Release       string `yaml:"release" json:"release"` // name, commit or digest
	Class         Class  `yaml:"class" json:"class"`
	Transactional *bool  `yaml:"transactional" json:"transactional,omitempty"` // default true; false: scripts commit by themselves, so freeze and restore
	Reason        string `yaml:"reason" json:"reason"`                         // required: who found that out, and how
}
