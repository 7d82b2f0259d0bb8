package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// facts are all that decides what counts.
type facts struct {
	promotion store.Promotion
	asks      *estate.Approvals // nil: nobody is asked
	plans     []TenantPlan      // of the tenants that are still to go through their gates, sorted
	changes   []string
	planned   bool
	open      bool // some tenant is still to go through its gates
	given     []store.Approval
	makers    store.Makers
	people    map[string]identity.Person // who has approved, with what they may today
}

// What is read of what a promotion and a rollout remember. The names are those of promotion.Snapshot and promotion.Memory,
// which this package cannot import: there, the gates ask here.
type snapshot struct {
	Environment estate.Environment `json:"environment"`
}

type options struct {
	Emergency *struct{} `json:"emergency"`
}

type memory struct {
	Plan       json.RawMessage `json:"plan"`
	Release    string          `json:"release"`
	OldRelease string          `json:"old_release"`
	OldSchema  string          `json:"old_schema"`
	Rehearsal  string          `json:"rehearsal"`
}

type plan struct {
	Class     estate.Class `json:"class"`
	Update    []string     `json:"update"`
	Install   []string     `json:"install"`
	Rehearsal string       `json:"rehearsal"`
}

func (r *Room) facts(ctx context.Context, p store.Promotion, only []string) (facts, error) {
	f := facts{promotion: p, planned: true, people: map[string]identity.Person{}}
	gates := r.Engine.Gates(p.Kind)
	var s snapshot
	if err := json.Unmarshal(p.Estate, &s); err != nil {
		return f, fmt.Errorf("the estate that is kept with promotion %s does not parse: %w", p.ID, err)
	}
	var o options
	if err := json.Unmarshal(p.Options, &o); err != nil {
		return f, fmt.Errorf("what is stored of promotion %s does not parse: %w", p.ID, err)
	}
	emergency := o.Emergency != nil && s.Environment.Emergency.Skip(estate.SkipApprovals)
	if gates >= 0 && !emergency { // going back has no gates: it never waits for anybody
		f.asks = s.Environment.Approvals
	}
	rollouts, err := r.Store.RolloutsOf(ctx, p.ID, only)
	if err != nil {
		return f, err
	}
	for _, rollout := range rollouts {
		if rollout.State == store.Done || rollout.Undo || rollout.Step > gates {
			continue
		}
		f.open = true
		f.planned = f.planned && rollout.Step == gates
		if err := f.add(ctx, r.Store, rollout); err != nil {
			return f, err
		}
	}
	if f.given, err = r.Store.Approvals(ctx, p.ID); err != nil || len(f.given) == 0 {
		return f, err
	}
	if f.makers, err = r.Store.MakersOf(ctx, p.Release); err != nil && !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	return f, r.who(ctx, &f)
}

// who finds out what those who have approved may today.
func (r *Room) who(ctx context.Context, f *facts) error {
	access, err := r.Access(ctx)
	if err != nil {
		return fmt.Errorf("read who may approve: %w", err)
	}
	for _, a := range f.given {
		if name, local := strings.CutPrefix(a.Person, identity.LocalPrefix); local {
			f.people[a.Person] = identity.Local(name)
		} else if person, ok := identity.PersonOf(access, a.Person); ok {
			f.people[a.Person] = person
		}
	}
	return nil
}

// add takes up what is planned for one tenant. The hash covers all that an approval is of.
func (f *facts) add(ctx context.Context, s *store.Store, r store.Rollout) error {
	var m memory
	var p plan
	err := json.Unmarshal(r.Memory, &m)
	if err == nil && len(m.Plan) > 0 {
		err = json.Unmarshal(m.Plan, &p)
	}
	if err != nil {
		return fmt.Errorf("what rollout %s remembers does not parse: %w", r.ID, err)
	}
	estateHash := sha256.Sum256(f.promotion.Estate)
	whole, err := json.Marshal([]any{f.promotion.ID, f.promotion.Release, f.promotion.Environment, hex.EncodeToString(estateHash[:]),
		r.Tenant, m.Plan, m.Release, m.OldRelease, m.OldSchema, m.Rehearsal})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(whole)
	f.plans = append(f.plans, TenantPlan{Tenant: r.Tenant, Class: p.Class, Rehearsal: p.Rehearsal, Update: p.Update, Install: p.Install, Hash: hex.EncodeToString(sum[:])})
	if f.asks == nil {
		return nil
	}
	changed, err := changes(ctx, s, m.OldRelease, f.promotion.Release)
	for _, what := range changed {
		if !slices.Contains(f.changes, what) {
			f.changes = append(f.changes, what)
		}
	}
	slices.Sort(f.changes)
	return err
}

// changes says what a promotion changes: the application where addons differ, the infrastructure where the base image
// does, or where the release stays and only what is around it can be different.
func changes(ctx context.Context, s *store.Store, before, after string) ([]string, error) {
	switch before {
	case "":
		return []string{Application, Infrastructure}, nil
	case after:
		return []string{Infrastructure}, nil
	}
	was, err := s.Release(ctx, before)
	if errors.Is(err, store.ErrNotFound) {
		return []string{Application, Infrastructure}, nil
	}
	if err != nil {
		return nil, err
	}
	is, err := s.Release(ctx, after)
	if err != nil {
		return nil, err
	}
	return differences(was, is), nil
}

func differences(was, is release.Release) []string {
	var what []string
	same := slices.EqualFunc(was.Modules, is.Modules, func(a, b release.Module) bool {
		return a.Name == b.Name && a.Version == b.Version && a.Checksum == b.Checksum
	})
	infrastructure := was.Base.Digest != is.Base.Digest || was.Series != is.Series || was.BridgeProtocol != is.BridgeProtocol
	if !same || !infrastructure { // another digest with the same modules on the same base: still another application
		what = append(what, Application)
	}
	if infrastructure {
		what = append(what, Infrastructure)
	}
	return what
}

// needs are the estate's demands of this promotion.
func (f facts) needs() []Need {
	if f.asks == nil || !f.open {
		return []Need{}
	}
	class := estate.Swap
	for _, p := range f.plans {
		if p.Class.Breaks() {
			class = estate.Breaking
		}
	}
	return needs(f.asks, f.changes, class)
}

// needs are what an environment asks where these things change, by a release of a class.
func needs(asks *estate.Approvals, changes []string, class estate.Class) []Need {
	needs := []Need{}
	infrastructure := asks.Infrastructure != nil && slices.Contains(changes, Infrastructure)
	if slices.Contains(changes, Application) || !infrastructure {
		n := Need{What: Application, Roles: asks.Roles, Required: asks.Required, By: []string{}}
		if class.Breaks() {
			n.Class, n.Required = class, max(asks.Breaking, asks.Required)
		}
		needs = append(needs, n)
	}
	if infrastructure {
		needs = append(needs, Need{What: Infrastructure, Roles: asks.Infrastructure.Roles, Required: asks.Infrastructure.Required, By: []string{}})
	}
	return slices.DeleteFunc(needs, func(n Need) bool { return n.Required == 0 })
}

// Foreseen says in words whose approvals a promotion would wait for that brings a release of a class in place of another
// (nil: it is not known which), before there is one. asks may be nil: nobody is asked.
func Foreseen(asks *estate.Approvals, class estate.Class, before *release.Release, after release.Release) []string {
	said := []string{}
	if asks == nil {
		return said
	}
	changes := []string{Application, Infrastructure}
	switch {
	case before != nil && before.Digest == after.Digest:
		changes = []string{Infrastructure}
	case before != nil:
		changes = differences(*before, after)
	}
	for _, n := range needs(asks, changes, class) {
		said = append(said, n.missing())
	}
	return said
}

// counts says by which roles an approval counts now, or why it does not.
func (f facts) counts(a store.Approval, now time.Time) (roles []estate.Role, lapsed string) {
	for _, p := range f.plans {
		switch saw, ok := a.Saw[p.Tenant]; {
		case !ok:
			return nil, "it was given before the plan of tenant " + p.Tenant + " was known"
		case saw != p.Hash:
			return nil, "the plan or the rehearsal of tenant " + p.Tenant + " has changed since"
		}
	}
	if !now.Before(a.ExpiresAt) {
		return nil, "its time ran out at " + a.ExpiresAt.UTC().Format(time.RFC3339)
	}
	person, ok := f.people[a.Person]
	if !ok {
		return nil, "the estate no longer has the user " + a.Person
	}
	own := person.Name == f.promotion.RequestedBy || person.Made(f.makers)
	if err := person.May(identity.PromotionApprove, identity.Subject{Environment: f.promotion.Environment, Name: f.promotion.ID, Own: own}); err != nil {
		return nil, err.Error()
	}
	for _, role := range person.Roles(f.promotion.Environment) {
		if slices.Contains(a.Roles, string(role)) {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		return nil, a.Person + " no longer has the role by which it was given"
	}
	return roles, ""
}

// binding is the hash of all plans together.
func (f facts) binding() string {
	if !f.planned || !f.open {
		return ""
	}
	h := sha256.New()
	for _, p := range f.plans {
		fmt.Fprintf(h, "%d:%s=%s;", len(p.Tenant), p.Tenant, p.Hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}
