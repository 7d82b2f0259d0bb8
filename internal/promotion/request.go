package promotion

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// Request asks for a procedure.
type Request struct {
	Kind        string
	Environment string
	Tenants     []string // empty: all of the environment
	Release     string   // digest, the beginning of one, or name
	By          string
	Options     Options

	template *estate.TenantTemplate // create: what the tenant is made from
	document []byte                 // its document, where the estate does not have it yet
	group    string                 // move: where the data is now
	hosts    []string               // rename: that lead to it now
}

// ErrBadRequest is in every error that says that a request makes no sense as it stands.
var ErrBadRequest = errors.New("bad request")

func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBadRequest, fmt.Errorf(format, args...))
}

// Start writes a promotion and its rollouts down and sets them going.
func (e *Engine) Start(ctx context.Context, declared *estate.Estate, q Request) (string, error) {
	return e.StartWith(ctx, declared, q, nil)
}

// StartWith is Start, with something more to be written down in the same transaction.
func (e *Engine) StartWith(ctx context.Context, declared *estate.Estate, q Request, with func(tx pgx.Tx, id string) error) (string, error) {
	snapshot, err := takeSnapshot(declared, q)
	if err != nil {
		return "", err
	}
	if q.Kind == KindConfiguration {
		if err := e.configure(ctx, &q, &snapshot); err != nil {
			return "", err
		}
	}
	if err := checkEmergency(&q, snapshot); err != nil {
		return "", err
	}
	if err := e.available(ctx, q, &snapshot); err != nil {
		return "", err
	}
	if err := e.inPlace(ctx, q, snapshot); err != nil {
		return "", err
	}
	if open, err := e.rooms.Store.Reviews(ctx, q.Environment, false); err != nil {
		return "", err
	} else if len(open) > 0 {
		snapshot.Reviews = true
	}
	if _, err := e.rules.Compile(snapshot.Policies); err != nil {
		return "", badRequest("the estate's policies cannot be read: %w", err)
	}
	p := store.Promotion{ID: newID(), Kind: q.Kind, Environment: q.Environment, RequestedBy: q.By,
		Options: encode(q.Options), Estate: encode(snapshot.shared()), EstateCommit: snapshot.Commit}
	if q.Release != "" {
		r, err := e.rooms.Store.Release(ctx, q.Release)
		if errors.Is(err, store.ErrNotFound) {
			return "", badRequest("no release is known as %q; see: waybill release list", q.Release)
		} else if err != nil {
			return "", err
		}
		p.Release, p.ReleaseName = r.Digest, r.Name
	}
	tenants, rollouts := make([]store.Tenant, len(snapshot.Tenants)), make([]store.Rollout, len(snapshot.Tenants))
	for i, t := range snapshot.Tenants {
		tenants[i] = store.Tenant{Environment: q.Environment, Name: t.Name, Database: t.Database, Hosts: t.Hosts, Group: poolGroup(t)}
		if q.group != "" {
			tenants[i].Group = q.group
		}
		if q.hosts != nil {
			tenants[i].Hosts = q.hosts
		}
		rollouts[i] = store.Rollout{ID: newID(), Tenant: t.Name, Memory: encode(Memory{}), Declared: encode(t)}
		if e.Gates(q.Kind) >= 0 {
			rollouts[i].Ring = snapshot.Environment.RingOf(t)
		}
	}
	err = e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		if err := e.rooms.Store.PutTenants(ctx, tx, tenants); err != nil {
			return err
		}
		if err := e.rooms.Store.CreatePromotion(ctx, tx, p, rollouts); err != nil {
			return err
		}
		if err := recordAsked(ctx, tx, p, q, snapshot); err != nil {
			return err
		}
		if err := e.breakGlass(ctx, tx, p, q, snapshot); err != nil {
			return err
		}
		if err := e.enqueueAll(ctx, tx, rollouts); err != nil {
			return err
		}
		if with != nil {
			return with(tx, p.ID)
		}
		return nil
	})
	if errors.Is(err, store.ErrTenantBusy) {
		return "", e.busy(ctx, p.Environment, snapshot, err)
	}
	return p.ID, err
}

// busy names the promotion that is in the way.
func (e *Engine) busy(ctx context.Context, environment string, s Snapshot, err error) error {
	for _, t := range s.Tenants {
		if r, lookup := e.rooms.Store.ActiveRollout(ctx, environment, t.Name); lookup == nil {
			return fmt.Errorf("%w: %s. Look at it: waybill promotion show %s; one that waits at its gates is ended by: waybill reject %s --reason …", err, r.PromotionID, r.PromotionID, r.PromotionID)
		}
	}
	return err
}

func takeSnapshot(declared *estate.Estate, q Request) (Snapshot, error) {
	env, ok := declared.Environment(q.Environment)
	if !ok {
		var names []string
		for _, e := range declared.Environments {
			names = append(names, e.Name)
		}
		return Snapshot{}, badRequest("the estate has no environment %q; it has %s", q.Environment, strings.Join(names, ", "))
	}
	s := Snapshot{Product: declared.Product, Environment: env, Classifications: declared.Classifications, Root: declared.Root, Commit: declared.Commit}
	trust := declared.TrustFor(q.Environment)
	s.Template, s.Document = q.template, string(q.document)
	s.Trust, s.Vulnerabilities, s.Calendars = &trust, declared.Vulnerabilities, len(declared.Calendars) > 0
	for _, p := range declared.Policies {
		if len(p.Environments) == 0 || contains(p.Environments, q.Environment) {
			s.Policies = append(s.Policies, p)
		}
	}
	if before, ok := declared.Before(q.Environment); ok {
		s.Before = before.Name
	}
	for _, t := range declared.TenantsOf(q.Environment) {
		if len(q.Tenants) == 0 || contains(q.Tenants, t.Name) {
			s.Tenants = append(s.Tenants, t)
		}
	}
	if len(s.Tenants) == 0 || (len(q.Tenants) > 0 && len(s.Tenants) != len(q.Tenants)) {
		return s, badRequest("the estate has no tenant %s in environment %s", strings.Join(q.Tenants, ", "), q.Environment)
	}
	return s, nil
}

// shared is what all tenants of a promotion have in common.
func (s Snapshot) shared() Snapshot {
	s.Tenants, s.Many = nil, len(s.Tenants) > 1
	return s
}

// many says whether a promotion is of more than one tenant.
func (s Snapshot) many() bool { return s.Many || len(s.Tenants) > 1 }

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// RuntimeEnvironment is what a runtime is told of an environment.
func RuntimeEnvironment(s Snapshot) runtime.Environment {
	d := s.Environment.Runtime.Docker
	env := runtime.Environment{Name: s.Environment.Name}
	if d != nil {
		env.HTTP, env.HTTPS = d.HTTP, d.HTTPS
		if d.Certificate != "" {
			env.Certificate, env.Key = filepath.Join(s.Root, d.Certificate), filepath.Join(s.Root, d.Key)
		}
	}
	return env
}

// newID is short enough to say aloud and long enough never to repeat.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:10]
}
