package approval

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

// Decision is what somebody decides.
type Decision struct {
	ID      string // chosen by whoever decides, at random: the same one again is the same decision
	Approve bool
	Reason  string // needed to reject
	Binding string // of the State that they have looked at
}

// ErrRefused is in every error that says that a decision was not taken, and why.
var ErrRefused = errors.New("not decided")

// ErrBad is in every error that says that a decision makes no sense as it stands.
var ErrBad = errors.New("bad decision")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

const maxReason = 500

var idRule = regexp.MustCompile(`^[a-z0-9]{16,64}$`)

// Decide takes a decision of somebody about a promotion and lets it go on, or back, as far as that follows. The same
// decision again changes nothing. Errors are an ErrBad, an ErrRefused, an *identity.Denied or store.ErrNotFound; any other
// one says that it could not be done now.
func (r *Room) Decide(ctx context.Context, by identity.Person, promotion string, d Decision) (State, error) {
	err := r.decide(ctx, by, promotion, &d)
	e := identity.Entry{Kind: "approval", Actor: by.Name, Token: by.Token, Operation: identity.PromotionApprove, Subject: promotion, Reason: d.Reason}
	if !d.Approve {
		e.Kind, e.Operation = "rejection", identity.PromotionReject
	}
	if p, lookup := r.Store.Promotion(ctx, promotion); lookup == nil {
		e.Environment = p.Environment
	}
	var denied *identity.Denied
	switch {
	case err == nil:
		r.record(ctx, e)
		return r.State(ctx, promotion)
	case errors.Is(err, errAgain):
		return r.State(ctx, promotion)
	case errors.Is(err, ErrRefused), errors.As(err, &denied):
		e.Kind, e.Reason = "approval.refused", err.Error()
		r.record(ctx, e)
	}
	return State{}, err
}

func (r *Room) record(ctx context.Context, e identity.Entry) {
	if r.Recorder != nil {
		r.Recorder.Record(context.WithoutCancel(ctx), e)
	}
}

// errAgain says that this very decision was taken already.
var errAgain = errors.New("decided already")

func (r *Room) decide(ctx context.Context, by identity.Person, promotion string, d *Decision) error {
	d.Reason = strings.Join(strings.Fields(d.Reason), " ")
	switch {
	case !idRule.MatchString(d.ID):
		return fmt.Errorf("%w: its ID is 16 to 64 small letters and digits, chosen at random", ErrBad)
	case len(d.Reason) > maxReason:
		return fmt.Errorf("%w: the reason is longer than %d characters", ErrBad, maxReason)
	case !d.Approve && d.Reason == "":
		return fmt.Errorf("%w: to reject takes a reason", ErrBad)
	}
	r.deciding.Lock()
	defer r.deciding.Unlock()
	return r.Store.In(ctx, func(tx pgx.Tx) error {
		if err := r.Store.LockPromotion(ctx, tx, promotion); err != nil {
			return err
		}
		p, err := r.Store.Promotion(ctx, promotion)
		if err != nil {
			return err
		}
		if err := r.unused(ctx, by, p, *d); err != nil {
			return err
		}
		f, err := r.facts(ctx, p, nil)
		if err != nil {
			return err
		}
		if err := r.allowed(ctx, by, &f, *d); err != nil {
			return err
		}
		now := r.Now()
		if err := f.fits(by, *d, now); err != nil {
			return err
		}
		return r.write(ctx, tx, by, f, *d, now)
	})
}

// unused refuses a decision whose ID is that of another one.
func (r *Room) unused(ctx context.Context, by identity.Person, p store.Promotion, d Decision) error {
	before, err := r.Store.Approval(ctx, d.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case before.PromotionID == p.ID && before.Person == by.Name && before.Binding == d.Binding && (before.Decision == store.Approve) == d.Approve:
		return errAgain
	case before.PromotionID != p.ID:
		return refused("this decision was made about promotion %s; it cannot be used for %s", before.PromotionID, p.ID)
	}
	return refused("decision %s was made already, by %s, and was another one", d.ID, before.Person)
}

// allowed says whether the person may decide: by role, and because it is not their own.
func (r *Room) allowed(ctx context.Context, by identity.Person, f *facts, d Decision) error {
	makers, err := r.Store.MakersOf(ctx, f.promotion.Release)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	op := identity.PromotionApprove
	if !d.Approve {
		op = identity.PromotionReject
	}
	return by.May(op, identity.Subject{Environment: f.promotion.Environment, Name: f.promotion.ID, Own: by.Name == f.promotion.RequestedBy || by.Made(makers)})
}

// fits says whether there is something to decide, and whether it is what the person has looked at.
func (f facts) fits(by identity.Person, d Decision, now time.Time) error {
	id := f.promotion.ID
	switch s := f.state(now); {
	case s.Rejected != nil:
		return refused("promotion %s was rejected by %s at %s", id, s.Rejected.By, s.Rejected.At.UTC().Format(time.RFC3339))
	case !f.open:
		return refused("promotion %s does not wait at its gates (any more): there is nothing to decide. To take it back: waybill rollback %s", id, id)
	case !f.planned:
		return refused("promotion %s is still being planned: what there is to decide about is not known yet. Look again: waybill promotion show %s", id, id)
	case d.Binding != s.Binding:
		return refused("the plan of promotion %s is not the one that was looked at. Look again: waybill promotion show %s", id, id)
	case d.Approve && len(s.Needs) == 0:
		return refused("promotion %s asks nobody for an approval", id)
	case d.Approve:
		for _, g := range s.Given {
			if g.By == by.Name && g.Lapsed == "" {
				return refused("%s has approved promotion %s already; that holds until %s", by.Name, id, g.Expires.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}

// write keeps the decision and lets follow what follows, in one transaction.
func (r *Room) write(ctx context.Context, tx pgx.Tx, by identity.Person, f facts, d Decision, now time.Time) error {
	a := store.Approval{ID: d.ID, PromotionID: f.promotion.ID, Decision: store.Approve, Person: by.Name, Token: by.Token, Reason: d.Reason,
		Binding: d.Binding, Saw: map[string]string{}, CreatedAt: now, ExpiresAt: now}
	for _, role := range by.Roles(f.promotion.Environment) {
		a.Roles = append(a.Roles, string(role))
	}
	for _, p := range f.plans {
		a.Saw[p.Tenant] = p.Hash
	}
	if d.Approve {
		a.ExpiresAt = now.Add(f.asks.Expires)
	} else {
		a.Decision = store.Reject
		if err := r.Store.TurnBack(ctx, tx, f.promotion.ID, r.Engine.Gates(f.promotion.Kind), fmt.Sprintf("rejected by %s: %s", by.Name, d.Reason)); err != nil {
			return err
		}
	}
	if err := r.Store.PutApproval(ctx, tx, a); errors.Is(err, store.ErrExists) {
		return refused("decision %s was made already, at the same moment, about something else", d.ID)
	} else if err != nil {
		return err
	}
	return r.Engine.Decided(ctx, tx, f.promotion.ID)
}
