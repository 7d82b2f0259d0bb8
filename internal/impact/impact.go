// Package impact says what a release would do to each tenant of an environment before the first one is touched: as rows
// that were found out elsewhere, as a summary that can be read aloud, and as a signed statement. It asks nobody.
package impact

import (
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// Assessment is what is known of a release and the tenants of an environment at one moment.
type Assessment struct {
	Repository   string    `json:"repository"`
	Release      string    `json:"release"` // digest
	ReleaseName  string    `json:"release_name"`
	Environment  string    `json:"environment"`
	EstateCommit string    `json:"estate_commit,omitempty"`
	EstateDirty  bool      `json:"estate_dirty,omitempty"` // the folder differs from the commit
	At           time.Time `json:"at"`
	By           string    `json:"by,omitempty"` // who had it signed; empty: nobody has

	Refusals []string `json:"refusals"` // why the release itself would not be let in, whatever the tenants are
	// Forceable: it would be let in all the same with force, which only passes over the order of environments.
	Forceable bool `json:"forceable,omitempty"`

	Summary Summary   `json:"summary"`
	Between []Between `json:"between"` // what lies between the releases that tenants have, and this one
	Tenants []Tenant  `json:"tenants"` // by ring, then by name
}

// Between is what lies between a release whose schema tenants have and the one that is assessed.
type Between struct {
	Release     string `json:"release"` // digest
	ReleaseName string `json:"release_name"`
	Tenants     int    `json:"tenants"`
	odoo.Difference
}

// Source is where the class of a release comes from.
type Source string

// The sources of a class.
const (
	Nothing   Source = "nothing changes" // in the tenant's database
	Rehearsed Source = "rehearsed"
	Declared  Source = "declared" // by the estate's classification
	Assumed   Source = "assumed"  // nobody knows, so the most careful one
)

// Tenant is what the release would do to one tenant.
type Tenant struct {
	Name     string         `json:"name"`
	Ring     string         `json:"ring,omitempty"`
	Hosting  estate.Hosting `json:"hosting,omitempty"`
	Database string         `json:"database"`
	Serving  string         `json:"serving,omitempty"` // name of the release; empty: nothing serves
	Schema   string         `json:"schema,omitempty"`  // name of the release that the database was updated to
	// Unknown says why the database could not be asked. What follows is then not known either, but what Waybill itself knows.
	Unknown string `json:"unknown,omitempty"`

	Modules []Module `json:"modules"`        // of the product's own, that are updated, installed or gone in this database
	Base    int      `json:"base"`           // how many modules of the base image change in it besides
	Touched int      `json:"touched"`        // modules that Odoo loads anew, those that depend on a changed one among them
	Plan    []string `json:"plan,omitempty"` // modules that the update is asked for: "update a", "install b"

	Class       estate.Class `json:"class,omitempty"`
	Source      Source       `json:"source,omitempty"`
	Why         string       `json:"why,omitempty"`          // it is of that class
	Rehearsal   string       `json:"rehearsal,omitempty"`    // that the class and the times come from
	RehearsedOn string       `json:"rehearsed_on,omitempty"` // the tenant on whose data that was
	RehearsedBy string       `json:"rehearsed_by,omitempty"` // the tenant whose rehearsal a promotion would ask for; empty: none is needed, or none is made
	Pause       Estimate     `json:"pause"`                  // that people wait
	Recovery    Estimate     `json:"recovery"`               // of a restore
	Rollout     Estimate     `json:"rollout"`                // from its turn to its end

	Window    Window   `json:"window"`
	Approvals []string `json:"approvals"` // who must agree, in words
	Policies  []string `json:"policies"`  // that are asked when it comes to it

	DatabaseBytes *int64     `json:"database_bytes,omitempty"`
	FileBytes     *int64     `json:"file_bytes,omitempty"`
	Customised    string     `json:"customised,omitempty"` // what people have made by hand, in words
	OnlyHere      []string   `json:"only_here"`            // modules that no other tenant of the environment has installed
	Conflicts     []Conflict `json:"conflicts"`
	Set           string     `json:"set,omitempty"` // tenants with the same one have the same modules, and the same update before them
}

// Module is one module of a tenant's that changes.
type Module struct {
	Name   string `json:"name"`
	Change string `json:"change" enum:"added,changed,removed"`
	From   string `json:"from,omitempty"` // version in the database
	To     string `json:"to,omitempty"`   // version in the release
	Reason string `json:"reason"`
}

// Estimate is a time with where it comes from. Seconds is nil where nobody knows: From then says why.
type Estimate struct {
	Seconds *float64 `json:"seconds,omitempty"`
	AtLeast bool     `json:"at_least,omitempty"` // not all of it is known
	From    string   `json:"from"`
}

// Known makes an estimate.
func Known(seconds float64, from string) Estimate { return Estimate{Seconds: &seconds, From: from} }

// NotKnown says why there is no estimate.
func NotKnown(why string) Estimate { return Estimate{From: why} }

// Window is when a tenant's calendar lets it go.
type Window struct {
	Open  bool       `json:"open"`
	Next  *time.Time `json:"next,omitempty"`  // not open: when it next is, long enough; nil: not within calendar.Horizon
	Until *time.Time `json:"until,omitempty"` // open: when it closes; nil: nothing closes it
	Why   string     `json:"why,omitempty"`
}

// Conflict is something that stands against the release at a tenant now.
type Conflict struct {
	Kind  string `json:"kind"`
	Stops bool   `json:"stops"` // a promotion would not be let in; otherwise it is for people to weigh
	Says  string `json:"says"`
}

// The kinds of conflicts.
const (
	Unreachable = "unreachable" // its database
	NotServed   = "not served"
	Busy        = "busy"    // another promotion is under way
	Refused     = "refused" // the release cannot be planned for this database
	Fails       = "fails"   // a rehearsal of it did
	Drifted     = "drifted"
	Held        = "held" // or frozen
	Customised  = "customised"
	Tills       = "tills"
	Imports     = "imports"
	Jobs        = "jobs"
	Long        = "long transactions"
	Updating    = "updating"
)

// Stops says whether a promotion would not be let in at this tenant.
func (t Tenant) Stops() bool {
	for _, c := range t.Conflicts {
		if c.Stops {
			return true
		}
	}
	return false
}

// Whole says whether every tenant could be looked at.
func (a *Assessment) Whole() bool { return len(a.Summary.Unknown) == 0 }
