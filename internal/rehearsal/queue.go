package rehearsal

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// ErrRequest is in every error that says that a request makes no sense as it stands.
var ErrRequest = errors.New("bad request")

// Request asks for a rehearsal.
type Request struct {
	Environment string
	Tenant      string // empty: the only one of the environment
	Release     string // digest, the beginning of one, or name
	Checkpoint  string // id; empty: the tenant's newest
	Untraced    bool   // as in Subject
	By          string
}

// Options are what is kept of a Request beside its subject.
type options struct {
	Checkpoint string `json:"checkpoint,omitempty"`
	Untraced   bool   `json:"untraced,omitempty"`
}

// lease is how long a server holds a rehearsal without a word: one that died is followed by another after that. beat is how often
// it says that it lives, and how often a server that runs none looks whether others left one to it.
const lease, beat = 15 * time.Second, 3 * time.Second

// Queue runs the rehearsals that are asked for, one after the other: two at a time would measure each other. It is kept in the store, and the servers
// that share that share the queue.
type Queue struct {
	holder    string // this server, among those that share the store
	rehearser *Rehearser
	store     *store.Store
	estate    func(context.Context) (*estate.Estate, error)
	server    func(context.Context, estate.Environment) (adminURL string, err error)
	limits    Limits

	// Ended is told of every rehearsal that ends while Run goes on. May be nil; set before Run.
	Ended func(ctx context.Context, environment, tenant, outcome string, took time.Duration)

	wake    chan struct{}
	mu      sync.Mutex
	current string
	cancel  context.CancelCauseFunc
}

// ErrCancelled is the cause where somebody cancelled a rehearsal.
var ErrCancelled = errors.New("cancelled")

// errLost is the cause where this server could not say in time that it lives: another one may have gone on.
var errLost = errors.New("this server does not hold the rehearsal any more")

// NewQueue makes a queue. holder is this server's name: no other server has it that shares the store, and no two processes have it at a time. estate
// gives the declared state, server the address of an environment's database server.
func NewQueue(holder string, r *Rehearser, s *store.Store, declared func(context.Context) (*estate.Estate, error), server func(context.Context, estate.Environment) (string, error), limits Limits) *Queue {
	return &Queue{holder: holder, rehearser: r, store: s, estate: declared, server: server, limits: limits, wake: make(chan struct{}, 1)}
}

// Ask writes a rehearsal down and returns its id; Run takes it up, here or on another server.
func (q *Queue) Ask(ctx context.Context, request Request) (string, error) {
	subject, err := q.subject(ctx, request.Environment, request.Tenant, request.Release)
	if err != nil {
		return "", err
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	id := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:10]
	kept, err := json.Marshal(options{Checkpoint: request.Checkpoint, Untraced: request.Untraced})
	if err != nil {
		return "", err
	}
	if err := q.store.PutRehearsal(ctx, store.Rehearsal{ID: id, Environment: subject.Environment.Name, Tenant: subject.Tenant.Name, Release: subject.Release.Digest,
		ReleaseName: subject.Release.Name, OldRelease: subject.Old.Digest, RequestedBy: request.By, Options: kept}); err != nil {
		return "", err
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return id, nil
}

// Cancel stops a rehearsal, or takes it off the queue. One that is done stays as it is.
func (q *Queue) Cancel(ctx context.Context, id string) error {
	if err := q.store.CancelRehearsal(ctx, id, ErrCancelled.Error()); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.current == id {
		q.cancel(ErrCancelled) // another server sees it when it renews
	}
	return nil
}

// subject looks up what a request is about.
func (q *Queue) subject(ctx context.Context, environment, tenant, ref string) (Subject, error) {
	var s Subject
	declared, err := q.estate(ctx)
	if err != nil {
		return s, err
	}
	env, ok := declared.Environment(environment)
	if !ok {
		return s, fmt.Errorf("%w: the estate has no environment %q", ErrRequest, environment)
	}
	tenants := declared.TenantsOf(environment)
	var names []string
	for _, t := range tenants {
		names = append(names, t.Name)
		if t.Name == tenant || tenant == "" && len(tenants) == 1 {
			s.Tenant = t
		}
	}
	if s.Tenant.Name == "" {
		return s, fmt.Errorf("%w: which tenant of %s? Name one with --tenant: %s", ErrRequest, environment, strings.Join(names, ", "))
	}
	if s.Release, err = q.store.Release(ctx, ref); errors.Is(err, store.ErrNotFound) {
		return s, fmt.Errorf("%w: no release is known as %q; see: waybill release list", ErrRequest, ref)
	} else if err != nil {
		return s, err
	}
	state, err := q.store.Tenant(ctx, environment, s.Tenant.Name)
	if errors.Is(err, store.ErrNotFound) || err == nil && state.ServingRelease == "" {
		return s, fmt.Errorf("%w: tenant %s/%s serves no release yet, so there is no way back to prove", ErrRequest, environment, s.Tenant.Name)
	} else if err != nil {
		return s, err
	}
	if s.Old, err = q.store.Release(ctx, state.ServingRelease); err != nil {
		return s, fmt.Errorf("the release that %s/%s serves: %w", environment, s.Tenant.Name, err)
	}
	s.Environment, s.Limits, s.Schema = env, q.limits, state.SchemaRelease
	if s.Limits.Deadline == 0 {
		s.Limits.Deadline = env.Deadline // what does not end by then here would not end in production either
	}
	s.Checkpoint = checkpoint.Ref{Environment: environment, Tenant: s.Tenant.Name}
	return s, nil
}

// Run takes up what is asked for, until ctx is done. First it removes what a killed process left that had this server's name.
func (q *Queue) Run(ctx context.Context) error {
	const stopped = "the server was stopped meanwhile; ask again"
	if _, err := q.store.EndLostRehearsals(ctx, q.holder, stopped); ctx.Err() != nil {
		return nil // stopped already
	} else if err != nil {
		return err
	}
	q.sweep(ctx)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		lost, err := q.store.EndLostRehearsals(ctx, "", stopped)
		if lost > 0 {
			q.sweep(ctx)
		}
		var asked store.Rehearsal
		if err == nil {
			asked, err = q.store.ClaimRehearsal(ctx, q.holder, lease)
		}
		if err == nil {
			if err = q.one(ctx, asked); err != nil && ctx.Err() == nil {
				q.rehearser.rooms.Log.Error("rehearsal", "rehearsal", asked.ID, "error", err)
			}
			if ctx.Err() == nil {
				continue // the next one
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, store.ErrNotFound):
			q.rehearser.rooms.Log.Warn("look for rehearsals that are asked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		case <-tick.C:
		}
	}
}

// sweep removes what dead servers left. What cannot be removed is tried again the next time that one is found dead.
func (q *Queue) sweep(ctx context.Context) {
	if err := q.rehearser.Sweep(ctx, q.store.RehearsalIsOver); err != nil && ctx.Err() == nil {
		q.rehearser.rooms.Log.Warn("remove what killed rehearsals left", "error", err)
	}
}

// hold goes on holding a rehearsal until ctx is done, and cancels it when somebody wants that, or when this server holds it no longer.
func (q *Queue) hold(ctx context.Context, id string, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		bounded, stop := context.WithTimeout(ctx, beat)
		cancelled, err := q.store.RenewRehearsal(bounded, q.holder, id, lease)
		stop()
		switch {
		case ctx.Err() != nil:
			return
		case cancelled:
			cancel(ErrCancelled)
			return
		case errors.Is(err, store.ErrNotFound), err != nil && time.Since(renewed) > lease:
			cancel(errLost)
			return
		case err != nil:
			q.rehearser.rooms.Log.Warn("hold a rehearsal", "rehearsal", id, "error", err)
		default:
			renewed = began
		}
	}
}

func (q *Queue) one(ctx context.Context, asked store.Rehearsal) error {
	bounded, cancel := context.WithCancelCause(ctx)
	q.mu.Lock()
	q.current, q.cancel = asked.ID, cancel
	q.mu.Unlock()
	var held sync.WaitGroup
	held.Go(func() { q.hold(bounded, asked.ID, cancel) })
	defer func() {
		q.mu.Lock()
		q.current = ""
		q.mu.Unlock()
		cancel(nil)
		held.Wait()
	}()
	began := time.Now()
	report, err := q.rehearse(bounded, asked)
	outcome, progress := Unfinished, ""
	if err != nil {
		progress = oneLine(err.Error())
	}
	var kept any
	if report != nil {
		outcome, kept = report.Outcome, report
		if progress == "" {
			progress = report.headline()
		}
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if e := q.store.EndRehearsal(ctx, q.holder, asked.ID, outcome, progress, kept); errors.Is(e, store.ErrNotFound) {
		return errors.Join(err, errLost) // it has ended already, by who found this server dead
	} else if e != nil {
		err = errors.Join(err, e)
	}
	if q.Ended != nil {
		q.Ended(ctx, asked.Environment, asked.Tenant, outcome, time.Since(began))
	}
	return err
}

func (q *Queue) rehearse(ctx context.Context, asked store.Rehearsal) (*Report, error) {
	subject, err := q.subject(ctx, asked.Environment, asked.Tenant, asked.Release)
	if err != nil {
		return nil, err
	}
	var o options
	if err := json.Unmarshal(asked.Options, &o); err != nil {
		return nil, err
	}
	subject.ID, subject.Checkpoint.ID, subject.Untraced = asked.ID, o.Checkpoint, o.Untraced
	if subject.Old.Digest != asked.OldRelease {
		return nil, fmt.Errorf("%s has served another release since this was asked for: ask again", subject.Tenant.Name)
	}
	waits, err := q.store.Waits(ctx, asked.Environment, asked.Tenant, calibrations)
	if err != nil {
		return nil, err
	}
	subject.Calibration = calibrate(waits)
	if subject.ServerURL, err = q.server(ctx, subject.Environment); err != nil {
		return nil, err
	}
	return q.rehearser.Run(ctx, subject, func(progress string) {
		if err := q.store.TellRehearsal(ctx, q.holder, asked.ID, progress); err != nil && ctx.Err() == nil {
			q.rehearser.rooms.Log.Debug("note progress", "rehearsal", asked.ID, "error", err)
		}
	})
}

// headline is the report in one line.
func (r *Report) headline() string {
	if r.Outcome != Proven {
		return r.Failure
	}
	return string(r.Class) + ": " + r.Cause
}
