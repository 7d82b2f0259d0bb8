// Package approval is what people decide about promotions: who must agree, who may not, what an approval is of,
// and when it no longer counts.
//
// An approval is of one release, one environment, and the plan of each tenant with the rehearsal that it stands
// on. Nothing of that is ever changed in the record: each time, it is computed anew which approvals count. So
// an approval lapses by itself when the plan changes, its time runs out, or whoever gave it loses the role.
package approval

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

// Engine carries the promotions; *promotion.Engine is one.
type Engine interface {
	// Gates is the index of the step of a procedure at which it waits for people; below zero where it has none.
	Gates(kind string) int
	// Decided says, in the transaction that writes it down, that somebody has decided about a promotion.
	Decided(ctx context.Context, tx pgx.Tx, promotion string) error
}

// Recorder keeps what was decided and what was refused.
type Recorder interface {
	Record(ctx context.Context, e identity.Entry)
}

// Room is where decisions are made.
type Room struct {
	Store    *store.Store
	Engine   Engine
	Access   func(context.Context) (*estate.Access, error) // who may do what today
	Recorder Recorder
	Now      func() time.Time

	// One decision at a time: each holds a connection and reads through others, and a pool of those who
	// wait for one another would be stuck.
	deciding sync.Mutex
}

// What a promotion changes.
const (
	Application    = "application"
	Infrastructure = "infrastructure"
)

// Need is one demand of the estate.
type Need struct {
	What     string        `json:"what"` // application, infrastructure
	Class    estate.Class  `json:"class,omitempty"`
	Roles    []estate.Role `json:"roles"` // whose approval counts
	Required int           `json:"required"`
	By       []string      `json:"by"` // whose approvals count
}

// Met says whether enough people have agreed.
func (n Need) Met() bool { return len(n.By) >= n.Required }

// Given is one decision, and whether it counts.
type Given struct {
	ID       string    `json:"id"`
	Decision string    `json:"decision" enum:"approve,reject"`
	By       string    `json:"by"`
	Roles    []string  `json:"roles"` // that count today
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Expires  time.Time `json:"expires"`
	Lapsed   string    `json:"lapsed,omitempty"` // why it does not count (any more); empty: it does
}

// TenantPlan is what an approval is of, for one tenant.
type TenantPlan struct {
	Tenant    string       `json:"tenant"`
	Class     estate.Class `json:"class"`
	Rehearsal string       `json:"rehearsal,omitempty"`
	Update    []string     `json:"update,omitempty"`
	Install   []string     `json:"install,omitempty"`
	Hash      string       `json:"hash"`
}

// State is what is asked for of people, and what there is.
type State struct {
	Promotion string       `json:"promotion"`
	Needed    int          `json:"needed"` // approvals, over all needs; 0: nobody is asked
	Have      int          `json:"have"`   // of those
	Why       string       `json:"why"`    // what is missing, for a person; empty: nothing is
	Needs     []Need       `json:"needs"`
	Given     []Given      `json:"given"` // all decisions, in order
	Lapsed    []Given      `json:"lapsed,omitempty"`
	Rejected  *Given       `json:"rejected,omitempty"` // the decision that has ended it
	Planned   bool         `json:"planned"`            // it is known what an approval would be of
	Binding   string       `json:"binding,omitempty"`  // hash of Plans: what a decision made now is of
	Plans     []TenantPlan `json:"plans"`
}

// Met says whether nothing is missing.
func (s State) Met() bool { return s.Have >= s.Needed && s.Rejected == nil }

// State tells what a promotion waits for. With tenants, only what concerns those.
func (r *Room) State(ctx context.Context, promotion string, tenants ...string) (State, error) {
	p, err := r.Store.Promotion(ctx, promotion)
	if err != nil {
		return State{}, err
	}
	f, err := r.facts(ctx, p, tenants)
	if err != nil {
		return State{}, err
	}
	return f.state(r.Now()), nil
}

// state computes what counts. It is pure.
func (f facts) state(now time.Time) State {
	s := State{Promotion: f.promotion.ID, Needs: f.needs(), Given: []Given{}, Plans: f.plans, Planned: f.planned, Binding: f.binding()}
	if s.Plans == nil {
		s.Plans = []TenantPlan{}
	}
	counts := map[string]bool{} // by name: the first approval of somebody counts, the second is no second person
	for _, a := range f.given {
		g := Given{ID: a.ID, Decision: a.Decision, By: a.Person, Roles: []string{}, Reason: a.Reason, At: a.CreatedAt, Expires: a.ExpiresAt}
		if a.Decision == store.Reject {
			g.Roles = a.Roles
			s.Given = append(s.Given, g)
			if s.Rejected == nil {
				rejected := g
				s.Rejected = &rejected
			}
			continue
		}
		roles, lapsed := f.counts(a, now)
		g.Lapsed, g.Roles = lapsed, words(roles)
		s.Given = append(s.Given, g)
		if lapsed != "" {
			s.Lapsed = append(s.Lapsed, g)
			continue
		}
		if counts[a.Person] {
			continue
		}
		counts[a.Person] = true
		for i := range s.Needs {
			if slices.ContainsFunc(roles, func(role estate.Role) bool { return slices.Contains(s.Needs[i].Roles, role) }) {
				s.Needs[i].By = append(s.Needs[i].By, a.Person)
			}
		}
	}
	var missing []string
	for _, n := range s.Needs {
		s.Needed += n.Required
		s.Have += min(len(n.By), n.Required)
		if !n.Met() {
			missing = append(missing, n.missing())
		}
	}
	switch {
	case s.Rejected != nil:
		s.Why = "rejected by " + s.Rejected.By + ": " + s.Rejected.Reason
	case len(missing) > 0:
		s.Why = "waits for " + strings.Join(missing, ", and for ")
		for _, g := range s.Lapsed {
			s.Why += fmt.Sprintf("; the approval of %s lapsed: %s", g.By, g.Lapsed)
		}
	}
	return s
}

func (n Need) missing() string {
	left := n.Required - len(n.By)
	noun := "approvals"
	if n.Required == 1 {
		noun = "approval"
	}
	text := fmt.Sprintf("%d %s of %s", left, noun, or(words(n.Roles)))
	if len(n.By) > 0 {
		text = fmt.Sprintf("%d more of %d approvals of %s (there is: %s)", left, n.Required, or(words(n.Roles)), strings.Join(n.By, ", "))
	}
	if n.What == Infrastructure {
		text += " for a change of infrastructure"
	}
	if n.Class.Breaks() && n.Class != "" {
		text += ", for its class is breaking"
	}
	return text
}

func or(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

func words(roles []estate.Role) []string {
	out := make([]string, len(roles))
	for i, role := range roles {
		out[i] = string(role)
	}
	return out
}
