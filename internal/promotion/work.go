package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// Rooms are what the procedure acts through.
type Rooms struct {
	Store       *store.Store
	Keys        *keys.Keys
	Checkpoints *checkpoint.Store
	Rehearsals  Rehearsals
	// Place tells where an environment lives.
	Place func(ctx context.Context, env estate.Environment) (Place, error)
	// Image gives the reference under which a runtime pulls a release.
	Image func(r release.Release) string
	// Present checks that the registry still has the release, whole.
	Present func(ctx context.Context, r release.Release) error
	// Trusted says whether a release may enter under the estate's trust policy: an *attest.Refused
	// says that it may not, any other error that it could not be found out.
	Trusted func(ctx context.Context, r release.Release, s Snapshot) error
	// Vulnerable says whether what is known to be vulnerable keeps a release out: a *vuln.Refused says
	// so, a vuln.ErrDatabase that the databases are no good, any other error that it could not be found out.
	Vulnerable func(ctx context.Context, r release.Release, s Snapshot) error
	// Checksums computes the checksums of a release's modules by a database's own rule.
	Checksums func(ctx context.Context, r release.Release, rule odoo.ChecksumRule) (map[string]string, error)
	// Declarations is where the estate is written; nil: nowhere.
	Declarations Declarations
	// Secret reads what a reference of the estate stands for; the purpose is recorded, the value never.
	Secret  func(ctx context.Context, reference, purpose string) (string, error)
	Gates   Gates
	Ended   func() // called when a rollout has ended, after that was written down; may be nil
	Watch   Watch  // may be nil
	Version string // of Waybill
}

// Place is where an environment's pools and databases are.
type Place struct {
	Runtime   runtime.Runtime
	Databases *database.Server
	AdminURL  func(database string) string // for Waybill itself; holds a password
	Redis     *redis.Options               // nil where the environment names none
	Host      string                       // of PostgreSQL as a container reaches it: a socket folder or a host name
	Port      int
	Scale     func() runtime.Scale // of the pools' web processes, as it is just now; nil: one pod each
}

// Snapshot is the part of the estate that a promotion was asked under. It is kept with the
// promotion: a change of the estate meanwhile does not bend it.
type Snapshot struct {
	Product         estate.Product          `json:"product"`
	Environment     estate.Environment      `json:"environment"`
	Before          string                  `json:"before,omitempty"`  // environment that comes before
	Tenants         []estate.Tenant         `json:"tenants,omitempty"` // those of a promotion are kept with their rollouts, but for old ones
	Many            bool                    `json:"many,omitempty"`    // there is more than one tenant
	Classifications []estate.Classification `json:"classifications,omitempty"`
	Trust           *estate.Trust           `json:"trust,omitempty"`           // nil in promotions that were asked for before there was any
	Vulnerabilities *estate.Vulnerabilities `json:"vulnerabilities,omitempty"` // nil where the estate has none: nothing is compared
	Policies        []estate.Policy         `json:"policies,omitempty"`        // that hold in the environment
	Calendars       bool                    `json:"calendars,omitempty"`       // the estate has calendars; they are read anew each time
	Reviews         bool                    `json:"reviews,omitempty"`         // of emergency promotions were open when it was asked for
	Template        *estate.TenantTemplate  `json:"template,omitempty"`        // that the tenant is made from
	Document        string                  `json:"document,omitempty"`        // the tenant's, that the estate does not have yet
	Root            string                  `json:"root"`
	Commit          string                  `json:"commit"`
}

// Options are what the person who asked may choose.
type Options struct {
	Checkpoint string    `json:"checkpoint,omitempty"`  // restore: which
	Asked      time.Time `json:"asked,omitzero"`        // restore: the time that it was chosen for, as the newest one before it
	Of         string    `json:"of,omitempty"`          // rollback, configuration: the promotion that is taken back
	Changed    []string  `json:"changed,omitempty"`     // configuration: which settings differ; names, never values
	Message    string    `json:"message,omitempty"`     // suspend, delete: what people read
	GraceHours int       `json:"grace_hours,omitempty"` // delete: until the data goes
	Template   string    `json:"template,omitempty"`    // create: which

	Hosting       estate.Hosting `json:"hosting,omitempty"`        // move: to which
	HostingBefore estate.Hosting `json:"hosting_before,omitempty"` // move: that the estate says, where it has to be written
	Hosts         []string       `json:"hosts,omitempty"`          // rename: that people reach it under, the one for links first
	HostsBefore   []string       `json:"hosts_before,omitempty"`   // rename: that the estate says, where it has to be written

	Force bool `json:"force,omitempty"` // enter although the environment before has not had the release, or took it back

	Emergency *Emergency `json:"emergency,omitempty"` // nil: an ordinary promotion
}

// Plan is what a rollout is going to do.
type Plan struct {
	Class         estate.Class      `json:"class"`
	ClassReason   string            `json:"class_reason"`
	Transactional bool              `json:"transactional"`
	Update        []string          `json:"update,omitempty"`
	Install       []string          `json:"install,omitempty"`
	Checksums     map[string]string `json:"checksums,omitempty"`
	Reasons       map[string]string `json:"reasons,omitempty"` // why a module is updated

	Declared         estate.Class `json:"declared,omitempty"`          // class that the estate declares for the release
	Rehearsal        string       `json:"rehearsal,omitempty"`         // that the class comes from
	RehearsedOn      string       `json:"rehearsed_on,omitempty"`      // the tenant whose rehearsal that is, where it is another one
	PredictedSeconds float64      `json:"predicted_seconds,omitempty"` // that people wait, by that rehearsal
	ComputedSeconds  float64      `json:"computed_seconds,omitempty"`  // the same before calibration, which it is compared for
	Freeze           bool         `json:"freeze,omitempty"`            // people would wait longer than a hold may take
}

// Memory is what a rollout remembers from step to step.
type Memory struct {
	Plan             Plan           `json:"plan"`
	NotAdmitted      bool           `json:"not_admitted,omitempty"` // refused before anything was touched: says nothing of the release
	Release          string         `json:"release"`                // digest that shall serve
	OldRelease       string         `json:"old_release,omitempty"`  // digest that served before
	OldSchema        string         `json:"old_schema,omitempty"`
	OldPool          string         `json:"old_pool,omitempty"`
	NewPool          string         `json:"new_pool,omitempty"`
	Kin              *Kin           `json:"kin,omitempty"`               // nil: its rehearsal concerns nobody else
	OldConfiguration *Configuration `json:"old_configuration,omitempty"` // that the old pool was started with
	Rehearsal        string         `json:"rehearsal,omitempty"`         // that was asked for
	Checkpoint       string         `json:"checkpoint,omitempty"`
	FenceCheckpoint  string         `json:"fence_checkpoint,omitempty"`
	HoldSince        time.Time      `json:"hold_since,omitzero"`
	HoldUntil        time.Time      `json:"hold_until,omitzero"`
	Held             bool           `json:"held,omitempty"`
	HeldSeconds      float64        `json:"held_seconds,omitempty"`
	UpdateTry        int            `json:"update_try,omitempty"`
	Updated          bool           `json:"updated,omitempty"`   // the update has committed
	Restoring        bool           `json:"restoring,omitempty"` // on the way back to FenceCheckpoint
	NoReturn         bool           `json:"no_return,omitempty"`
	ReleasedAt       time.Time      `json:"released_at,omitzero"`
	ShiftStep        int            `json:"shift_step,omitempty"`
	Shift            *baseline      `json:"shift,omitempty"`
	BakeUntil        time.Time      `json:"bake_until,omitzero"`
	Suspended        bool           `json:"suspended,omitempty"` // people were not let through before
	Message          string         `json:"message,omitempty"`   // that they read then
	Prepared         string         `json:"prepared,omitempty"`  // database that the tenant's is a copy of
	Declaring        bool           `json:"declaring,omitempty"` // the estate was changed, or was about to be
	Group            string         `json:"group,omitempty"`     // that the tenant moves to
	OldHosts         []string       `json:"old_hosts,omitempty"` // that people reached it under
	OldGroup         string         `json:"old_group,omitempty"` // and from
	CopiedAt         time.Time      `json:"copied_at,omitzero"`  // what was written later is still to be copied
}

// Work is one turn at a rollout: what it is about, and the means to act.
type Work struct {
	*Engine
	place     Place
	promotion store.Promotion
	rollout   store.Rollout
	lease     store.Lease
	seq       int64
	doing     string // name of the step that is being done or undone
	undoing   bool
	skipped   []store.Skipped              // steps just before it that did not apply
	ended     func(outcome, detail string) // tells the watch; nil: there is none
	env       Snapshot
	options   Options
	tenant    estate.Tenant // as the estate declares it
	state     store.Tenant  // as Waybill last decided
	memory    Memory

	stands, standsBy string // what its own rehearsal came to, and that rehearsal; empty: its kin need not be told

	secondAlone bool // the gates of an emergency wait for its second person alone, who is called otherwise
}

func (e *Engine) newWork(ctx context.Context, r store.Rollout, lease store.Lease) (*Work, error) {
	w := &Work{Engine: e, rollout: r, lease: lease}
	var err error
	if w.promotion, err = e.rooms.Store.Promotion(ctx, r.PromotionID); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		from json.RawMessage
		to   any
	}{{w.promotion.Estate, &w.env}, {w.promotion.Options, &w.options}, {r.Memory, &w.memory}} {
		if err := json.Unmarshal(part.from, part.to); err != nil {
			return nil, fmt.Errorf("what is stored of rollout %s does not parse: %w", r.ID, err)
		}
	}
	if len(r.Declared) > 0 {
		if err := json.Unmarshal(r.Declared, &w.tenant); err != nil {
			return nil, fmt.Errorf("what is stored of rollout %s does not parse: %w", r.ID, err)
		}
	}
	for _, t := range w.env.Tenants {
		if t.Name == r.Tenant {
			w.tenant = t
		}
	}
	w.state, err = e.rooms.Store.Tenant(ctx, r.Environment, r.Tenant)
	if errors.Is(err, store.ErrNotFound) { // one that was made or deleted, and this is the last that was to be done about it
		w.state = store.Tenant{Environment: r.Environment, Name: r.Tenant, Database: w.tenant.Database, Hosts: w.tenant.Hosts, Group: poolGroup(w.tenant)}
	} else if err != nil {
		return nil, err
	}
	w.place, err = e.rooms.Place(ctx, w.env.Environment)
	return w, err
}

func (w *Work) encodedMemory() json.RawMessage { return encode(w.memory) }

// remember keeps the memory now, before something happens that must not be forgotten.
func (w *Work) remember(ctx context.Context) error {
	return w.rooms.Store.SaveMemory(ctx, w.lease, w.memory)
}

// note tells whoever watches how far the step is.
func (w *Work) note(ctx context.Context, format string, args ...any) {
	if err := w.rooms.Store.Note(ctx, w.lease, w.seq, oneLine(fmt.Sprintf(format, args...))); err != nil && ctx.Err() == nil {
		w.log.DebugContext(ctx, "note progress", "error", err)
	}
}

// change decides something about the tenant. It is only written while the lease is ours.
func (w *Work) change(ctx context.Context, f func(*store.Live)) error {
	return w.changeTenant(ctx, func(t *store.Tenant) { f(&t.Live) })
}

func (w *Work) changeTenant(ctx context.Context, f func(*store.Tenant)) error {
	state, err := w.rooms.Store.ChangeTenant(ctx, w.rollout.Environment, w.rollout.Tenant, w.lease, f)
	if err == nil {
		w.state = state
	}
	return err
}

// bridge reaches the waybill_probe of a pool.
func (w *Work) bridge(ctx context.Context, pool string) (*bridge.Client, error) {
	state, err := w.place.Runtime.Pool(ctx, w.rollout.Environment, pool)
	if err != nil {
		return nil, err
	}
	if !state.Running {
		return nil, fmt.Errorf("pool %s does not run: %s", pool, state.Message)
	}
	return w.bridgeClient(w.place.Runtime, state, w.rollout.Environment), nil
}

// inDatabase gives f a short connection to the tenant's database, as Waybill itself: no fence keeps it out.
func (w *Work) inDatabase(ctx context.Context, f func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig(w.place.AdminURL(w.state.Database))
	if err != nil {
		return err
	}
	config.RuntimeParams["application_name"] = "waybill"
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", w.state.Database, err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	return f(db)
}

var (
	errInterrupted = errors.New("the server stopped")
	errHoldSpent   = errors.New("the hold is spent")
)

// withinHold bounds a step that works while requests wait: it must end before they give up.
// The way out of the hold itself, and everything after it, is not bounded by it.
func (w *Work) withinHold(ctx context.Context, step Step) (context.Context, context.CancelFunc) {
	if !w.memory.Held || step.Name == "let go" || step.Name == "release hold" {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, w.memory.HoldUntil, errHoldSpent)
}

// explain turns the end of a step's context into what it means.
func (w *Work) explain(ctx, stepCtx, bounded context.Context, err error) error {
	if err == nil {
		return nil
	}
	var fail *Failed
	var person *NeedsPerson
	decided := errors.As(err, &fail) || errors.As(err, &person)
	switch {
	case errors.Is(err, store.ErrFenced) || errors.Is(context.Cause(stepCtx), store.ErrFenced):
		return store.ErrFenced
	case ctx.Err() != nil && !decided:
		return errInterrupted
	case errors.Is(context.Cause(stepCtx), errAborted) && !decided:
		return failed("a person asked to go back")
	case errors.Is(context.Cause(bounded), errHoldSpent) && !decided:
		return failed("it outgrew its hold of %s (last: %v). Raise hold_budget in the estate, or make the update lighter",
			w.memory.HoldUntil.Sub(w.memory.HoldSince).Round(time.Second), err)
	}
	return err
}
