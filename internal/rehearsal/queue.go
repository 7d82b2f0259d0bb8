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

// Queue runs the rehearsals that are asked for, one after the other: two at a time would measure each other.
type Queue struct {
	rehearser *Rehearser
	store     *store.Store
	estate    func(context.Context) (*estate.Estate, error)
	server    func(context.Context, estate.Environment) (adminURL string, err error)
	limits    Limits

	// Ended is told of every rehearsal that ends while Run goes on. May be nil; set before Run.
	Ended func(ctx context.Context, environment, tenant, outcome string, took time.Duration)

	wake    chan struct{}
	mu      sync.Mutex
	waiting []string
	current string
	cancel  context.CancelCauseFunc
}

// ErrCancelled is the cause where somebody cancelled a rehearsal.
var ErrCancelled = errors.New("cancelled")

// NewQueue makes a queue. estate gives the declared state, server the address of an environment's database server.
func NewQueue(r *Rehearser, s *store.Store, declared func(context.Context) (*estate.Estate, error), server func(context.Context, estate.Environment) (string, error), limits Limits) *Queue {
	return &Queue{rehearser: r, store: s, estate: declared, server: server, limits: limits, wake: make(chan struct{}, 1)}
}

// Ask writes a rehearsal down and returns its id; Run takes it up.
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
	q.mu.Lock()
	q.waiting = append(q.waiting, id)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return id, nil
}

// Cancel stops a rehearsal, or takes it off the queue. One that is done stays as it is.
func (q *Queue) Cancel(ctx context.Context, id string) error {
	q.mu.Lock()
	for i, waiting := range q.waiting {
		if waiting == id {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			break
		}
	}
	current := q.current == id
	if current {
		q.cancel(ErrCancelled)
	}
	q.mu.Unlock()
	if current {
		return nil // Run writes the end down
	}
	return q.store.EndRehearsal(ctx, id, Unfinished, "cancelled", nil)
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

// Run takes up what is asked for, until ctx is done. First it removes what a killed server left.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.store.EndRehearsals(ctx, "the server was stopped meanwhile; ask again"); ctx.Err() != nil {
		return nil // stopped already
	} else if err != nil {
		return err
	}
	if err := q.rehearser.Sweep(ctx); err != nil && ctx.Err() == nil {
		q.rehearser.rooms.Log.Warn("remove what killed rehearsals left", "error", err) // tried again at the next start
	}
	for {
		for id := q.next(); id != ""; id = q.next() {
			if err := q.one(ctx, id); err != nil && ctx.Err() == nil {
				q.rehearser.rooms.Log.Error("rehearsal", "rehearsal", id, "error", err)
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		}
	}
}

func (q *Queue) next() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return ""
	}
	id := q.waiting[0]
	q.waiting = q.waiting[1:]
	return id
}

func (q *Queue) one(ctx context.Context, id string) error {
	asked, err := q.store.Rehearsal(ctx, id)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q.mu.Lock()
	q.current, q.cancel = id, cancel
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.current = ""
		q.mu.Unlock()
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
	err = errors.Join(err, q.store.EndRehearsal(ctx, id, outcome, progress, kept))
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
		if err := q.store.TellRehearsal(ctx, asked.ID, progress); err != nil && ctx.Err() == nil {
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
