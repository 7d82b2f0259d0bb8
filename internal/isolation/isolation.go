// Package isolation looks whether tenants are apart: it tries to reach from inside each pool, over real connections, what belongs
// to others. An attempt that succeeds is an incident. Whatever was refused counts only where the same attempt at the pool's own
// things succeeded in the same run, and where what was tried is known to be there: otherwise nothing is proven.
//
// It decides what to try (plan.go), tries it (run.go, door_*.go) and says what that means. It stores nothing and tells nobody.
package isolation

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// Prober has a pool try things from inside.
type Prober interface {
	Isolation(ctx context.Context, database string, attempts []bridge.IsolationAttempt) ([]bridge.IsolationResult, error)
}

// Tenant is one whose things are its own.
type Tenant struct {
	Environment, Name string
	Database          string
	Server            string // of its database, as Pool.Server
	Group             string // of pools: "shared", or its own name
	Hosts             []string
	Serves            []string // pools that have it on their list
	May               []string // pools that may connect to its database
	Still             bool     // nothing moves it: no hold, no canary, no update
}

func (t Tenant) String() string { return t.Environment + "/" + t.Name }

// Pool is the processes of a release, from which others' things are tried.
type Pool struct {
	Environment, Name, Group string
	Login, Owner             string // roles at its database server
	Server                   string // the same for pools whose databases are in one server
	Base                     string // URL of its web process, for the server; empty: it does not run
	Prober                   Prober
	Keys                     func(context.Context) ([][]byte, error) // of its bridge, the likeliest first
}

func (p Pool) String() string { return p.Environment + "/" + p.Name }

// World is all that there is at one moment.
type World struct {
	Environment string // whose pools are examined; the others' things are tried from there
	Pools       []Pool
	Tenants     []Tenant
	Databases   map[string][]string // by server: all that there are, those of no tenant too
	Admins      map[string]string   // by server: the role of its administrator
	Router      string              // host:port of the environment's router; empty: none that is known
	Folders     map[string]string   // by "environment/group": the data folder's name on this machine
	Secret      []string            // folders on this machine that no pool may see
	Port        int                 // of Waybill's own API on this machine
	TLS         bool                // that it speaks
	Pages       []string            // that it must not give away without a token
	Unseen      []string            // what could not be looked at, and is not tried
}

// owns says whether a tenant belongs to a pool: on its list, or at least in its reach by right.
func (p Pool) owns(t Tenant) bool {
	return t.Environment == p.Environment && (slices.Contains(t.Serves, p.Name) || slices.Contains(t.May, p.Name))
}

// near says whether a tenant's files are in the same data folder by design.
func (p Pool) near(t Tenant) bool { return t.Environment == p.Environment && t.Group == p.Group }

// Attempt is one thing that was tried.
type Attempt struct {
	Pool    string       `json:"pool"`
	Door    string       `json:"door"`
	Target  string       `json:"target"`           // whose, or what
	Tenant  string       `json:"tenant,omitempty"` // ENVIRONMENT/NAME of whom it belongs to, where it is a tenant
	Control bool         `json:"control,omitempty"`
	Outcome bridge.Reach `json:"outcome"`
	Detail  string       `json:"detail,omitempty"`
}

// Wrong says whether the attempt keeps the run from passing: a control that did not succeed, or anything else that was not refused.
func (a Attempt) Wrong() bool {
	if a.Control {
		return a.Outcome != bridge.Reached
	}
	return a.Outcome != bridge.Refused
}

// Breach says whether something was reached that must not be.
func (a Attempt) Breach() bool { return !a.Control && a.Outcome == bridge.Reached }

// Verdict is what a run says.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "PASS"
	Fail         Verdict = "FAIL"
	Inconclusive Verdict = "INCONCLUSIVE"
)

// Tally is how the attempts at one kind of door ended. Those of controls are not in it.
type Tally struct {
	Door    string `json:"door"`
	Tried   int    `json:"tried"`
	Refused int    `json:"refused"`
	Reached int    `json:"reached"`
	Unknown int    `json:"unknown"`
}

// Examination is what one run found.
type Examination struct {
	Verdict  Verdict   `json:"verdict" enum:"PASS,FAIL,INCONCLUSIVE"`
	Says     string    `json:"says"`
	Pools    []string  `json:"pools"`    // from which it was tried
	Doors    []Tally   `json:"doors"`    // in the order of Doors
	Controls int       `json:"controls"` // attempts at own things that succeeded, as they must
	Findings []Attempt `json:"findings"` // what keeps it from passing, breaches first
	Left     int       `json:"left"`     // attempts that have their turn in a later run
}

// maxFindings bounds what is kept of a run that goes wrong altogether.
const maxFindings = 200

// Judge says what attempts mean.
func Judge(pools []string, attempts []Attempt, left int) Examination {
	r := Examination{Pools: pools, Left: left, Findings: []Attempt{}, Doors: []Tally{}}
	counts := map[string]*Tally{}
	tried, breaches, unproven := 0, 0, 0
	for _, a := range attempts {
		if a.Wrong() {
			r.Findings = append(r.Findings, a)
		}
		if a.Control {
			if a.Outcome == bridge.Reached {
				r.Controls++
			} else {
				unproven++
			}
			continue
		}
		tried++
		c := counts[a.Door]
		if c == nil {
			c = &Tally{Door: a.Door}
			counts[a.Door] = c
		}
		c.Tried++
		switch a.Outcome {
		case bridge.Refused:
			c.Refused++
		case bridge.Reached:
			c.Reached++
			breaches++
		default:
			c.Unknown++
			unproven++
		}
	}
	for _, door := range Doors {
		if c := counts[door.Name]; c != nil {
			r.Doors = append(r.Doors, *c)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Attempt) int { return rank(a) - rank(b) })
	r.Findings = r.Findings[:min(len(r.Findings), maxFindings)]
	switch {
	case breaches > 0:
		r.Verdict, r.Says = Fail, fmt.Sprintf("%d of %d attempts reached what belongs to others", breaches, tried)
	case len(pools) == 0:
		r.Verdict, r.Says = Inconclusive, "no pool serves here, so that nothing could be tried"
	case unproven > 0:
		r.Verdict, r.Says = Inconclusive, fmt.Sprintf("nothing was reached, but %d attempts prove nothing", unproven)
	case r.Controls == 0 || tried == 0:
		r.Verdict, r.Says = Inconclusive, "nothing was tried"
	default:
		r.Verdict, r.Says = Pass, fmt.Sprintf("%d attempts from %s, all refused", tried, pieces(len(pools), "pool"))
	}
	return r
}

func rank(a Attempt) int {
	switch {
	case a.Breach():
		return 0
	case a.Control:
		return 1
	}
	return 2
}

func pieces(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Door is a kind of attempt, for people.
type Door struct{ Name, Says string }

// Doors are all kinds, in the order in which they are shown.
var Doors = []Door{
	{bridge.DoorConnect, "a database, with the pool's login"},
	{bridge.DoorLogin, "another login of the database server"},
	{bridge.DoorRole, "the rights of another owner"},
	{bridge.DoorCursor, "a database, through Odoo's own connections"},
	{bridge.DoorRegistry, "a database's registry, as an addon gets it"},
	{bridge.DoorFilestore, "a database's files"},
	{bridge.DoorFolder, "folders of the machine"},
	{bridge.DoorTCP, "the network of another group's pool"},
	{bridge.DoorHTTP, "Waybill's own API, without a token"},
	{DoorHost, "a host that is another pool's"},
	{DoorDatabase, "a database named in a request (?db=)"},
	{DoorHeader, "a database named in a header (X-Odoo-Database)"},
	{DoorSession, "a session of one tenant at another's host"},
	{DoorService, "a database named in a remote call"},
	{DoorList, "the list of databases and its manager"},
	{DoorForwarded, "a host forged in X-Forwarded-Host, through the router"},
	{DoorSigned, "the bridge, through the router"},
	{DoorNobody, "a host that is nobody's, through the router"},
}
