package promotion

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/store"
)

// Emergency is what somebody says who breaks the glass: why, and who confirms it.
type Emergency struct {
	Reason string `json:"reason"`
	Second string `json:"second"` // name of a user; whether they may is decided by whoever asks the engine
}

// ErrRefused is in every error that says that something about an emergency may not be, and why.
var ErrRefused = errors.New("refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

const maxWords = 500 // of a reason or a note, in characters

// words are a reason or a note as they are kept.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// checkEmergency says whether a request for one can be one at all.
func checkEmergency(q *Request, s Snapshot) error {
	x := q.Options.Emergency
	if x == nil {
		return nil
	}
	x.Reason = words(x.Reason)
	switch {
	case s.Environment.Emergency == nil:
		return badRequest("environment %s declares no emergency path; whoever may change the estate can add to it: emergency: {}", q.Environment)
	case x.Reason == "" || len(x.Reason) > maxWords:
		return badRequest("an emergency takes a reason of at most %d characters", maxWords)
	case x.Second == "":
		return badRequest("an emergency takes a second person who confirms it")
	case x.Second == q.By:
		return badRequest("the second person of an emergency is somebody else than %s, who asks for it", q.By)
	}
	return nil
}

// skips says whether something of the environment is not asked of this rollout, since it is an emergency.
func (w *Work) skips(what string) bool {
	return w.options.Emergency != nil && w.env.Environment.Emergency.Skip(what)
}

// skippedIn lists what is not asked in an emergency and would be asked of an ordinary promotion.
func skippedIn(s Snapshot) []string {
	skipped := []string{}
	for _, part := range []struct {
		what  string
		asked bool
	}{
		{estate.SkipApprovals, s.Environment.Approvals != nil}, {estate.SkipWindow, s.Calendars},
		{estate.SkipOrder, s.Before != ""}, {estate.SkipRehearsal, s.Environment.Rehearsal.Wanted()},
	} {
		if part.asked && s.Environment.Emergency.Skip(part.what) {
			skipped = append(skipped, "environment/"+part.what)
		}
	}
	for _, p := range s.Policies {
		for _, t := range s.Tenants {
			if !p.Selects(s.Environment.Name, t) {
				continue
			}
			for _, r := range p.Rules {
				if r.Emergency == "skip" {
					skipped = append(skipped, p.Name+"/"+r.ID)
				}
			}
			break
		}
	}
	return skipped
}

// breakGlass writes down, with the promotion, that it is an emergency.
func (e *Engine) breakGlass(ctx context.Context, tx pgx.Tx, p store.Promotion, q Request, s Snapshot) error {
	x := q.Options.Emergency
	if x == nil {
		return nil
	}
	kept := store.Emergency{Promotion: p.ID, Environment: p.Environment, AskedBy: q.By, Reason: x.Reason, Second: x.Second, Skipped: skippedIn(s),
		ConfirmBy: time.Now().Add(s.Environment.Emergency.Confirm).Truncate(time.Second)}
	if err := e.rooms.Store.PutEmergency(ctx, tx, kept); err != nil {
		return err
	}
	if err := ledger.Record(ctx, tx, emergencyEvent(ledger.EmergencyAsked, q.By, p, map[string]any{
		"reason": kept.Reason, "second": kept.Second, "confirm_by": kept.ConfirmBy.UTC(), "skipped": kept.Skipped})); err != nil {
		return err
	}
	return e.call(ctx, tx, p, "asked", fmt.Sprintf("%s broke the glass for %s", q.By, p.ReleaseName), fmt.Sprintf("%s. Not asked: %s. Nothing begins before it is confirmed.", kept.Reason, listed(kept.Skipped)),
		fmt.Sprintf("%s confirms it until %s: waybill confirm %s; or it is ended: waybill reject %s --reason …", kept.Second, instant(kept.ConfirmBy), p.ID, p.ID))
}

func listed(skipped []string) string {
	if len(skipped) == 0 {
		return "nothing less than of any promotion"
	}
	return strings.Join(skipped, ", ")
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func emergencyEvent(kind, actor string, p store.Promotion, payload map[string]any) ledger.Event {
	return ledger.Event{Kind: kind, Actor: actor, Environment: p.Environment, Promotion: p.ID, Release: p.Release, Payload: payload}
}

// call tells people of an emergency, once of each stage.
func (e *Engine) call(ctx context.Context, tx pgx.Tx, p store.Promotion, stage, title, text, needed string) error {
	notice, err := notify.Message{Key: "emergency/" + p.ID + "/" + stage, Event: estate.EventEmergency, Environment: p.Environment, Release: p.ReleaseName, Promotion: p.ID,
		Title: p.Environment + ": " + title, Text: text, Needed: needed, At: time.Now()}.Notice()
	if err != nil {
		return err
	}
	return e.rooms.Store.Announce(ctx, tx, notice)
}

// emergency finds out where the emergency path stands: for an emergency whether it was confirmed, for any other
// promotion whether the reviews of those before it are closed. One that nobody has confirmed in time ends here.
func (g *gatherer) emergency(w *Work) (confirmBy time.Time, err error) {
	if w.options.Emergency == nil {
		return confirmBy, nil
	}
	x, err := g.rooms.Store.Emergency(g.ctx, w.promotion.ID)
	if err != nil {
		return confirmBy, fmt.Errorf("look up whether emergency promotion %s was confirmed: %w", w.promotion.ID, err)
	}
	if x.ConfirmedAt != nil {
		return confirmBy, nil
	}
	if now := time.Now(); x.LapsedAt != nil || !now.Before(x.ConfirmBy) {
		if x.LapsedAt == nil {
			if lapsed, err := g.lapse(g.ctx, w, x, now); err != nil {
				return confirmBy, err
			} else if !lapsed {
				return confirmBy, errConfirmedJustNow
			}
		}
		return confirmBy, failed("%s had not confirmed the emergency by %s; nothing was touched. Ask again: waybill promote %s %s --emergency REASON --second NAME",
			x.Second, instant(x.ConfirmBy), w.promotion.ReleaseName, w.rollout.Environment)
	}
	return x.ConfirmBy, nil
}

// errConfirmedJustNow has the step look again.
var errConfirmedJustNow = errors.New("it was confirmed at this very moment")

func (e *Engine) lapse(ctx context.Context, w *Work, x store.Emergency, now time.Time) (lapsed bool, err error) {
	err = e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		kept, err := e.rooms.Store.LockEmergency(ctx, tx, x.Promotion)
		if err != nil || kept.ConfirmedAt != nil {
			return err
		}
		lapsed = true
		first, err := e.rooms.Store.Lapse(ctx, tx, x.Promotion, now)
		if err != nil || !first { // another tenant's rollout was here
			return err
		}
		return ledger.Record(ctx, tx, emergencyEvent(ledger.EmergencyLapsed, "", w.promotion, map[string]any{"reason": x.Second + " had not confirmed by " + instant(x.ConfirmBy), "second": x.Second}))
	})
	return lapsed, err
}

// emergencyFacts are for the rules that read them.
func (g *gatherer) emergencyFacts(w *Work, f *gate.Facts) error {
	s := &f.Emergency
	s.Confirmed, s.Reviewed = true, true
	if x := w.options.Emergency; x != nil {
		s.Confirmed = g.confirmBy.IsZero()
		if !s.Confirmed {
			s.Missing = fmt.Sprintf("%s confirms until %s: waybill confirm %s", x.Second, instant(g.confirmBy), w.promotion.ID)
		}
		return nil
	}
	open, err := g.rooms.Store.Reviews(g.ctx, w.rollout.Environment, false)
	if err != nil {
		return err
	}
	var texts []string
	for _, x := range open {
		texts = append(texts, fmt.Sprintf("somebody else than %s closes the review of emergency promotion %s: waybill review close %s --note …", x.AskedBy, x.Promotion, x.Promotion))
	}
	s.Reviewed, s.Unreviewed = len(open) == 0, strings.Join(texts, "; ")
	return nil
}

// Confirm has the second person confirm an emergency promotion, which then goes on. The same again changes nothing.
// Errors are an ErrRefused or a store.ErrNotFound; any other one says that it could not be done now.
func (e *Engine) Confirm(ctx context.Context, promotion, by string) error {
	p, err := e.rooms.Store.Promotion(ctx, promotion)
	if err != nil {
		return err
	}
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		x, err := e.rooms.Store.LockEmergency(ctx, tx, promotion)
		if errors.Is(err, store.ErrNotFound) {
			return refused("promotion %s is no emergency: there is nothing to confirm. To agree to it: waybill approve %s", promotion, promotion)
		} else if err != nil {
			return err
		}
		now := time.Now()
		switch {
		case by != x.Second:
			return refused("%s named %s to confirm promotion %s, and not %s", x.AskedBy, x.Second, promotion, by)
		case x.ConfirmedAt != nil:
			return nil
		case p.FinishedAt != nil && x.LapsedAt == nil:
			return refused("promotion %s has ended already", promotion)
		case x.LapsedAt != nil || !now.Before(x.ConfirmBy):
			return refused("the time to confirm promotion %s ended at %s. Let %s ask again", promotion, instant(x.ConfirmBy), x.AskedBy)
		}
		if err := e.rooms.Store.Confirm(ctx, tx, promotion, now); err != nil {
			return err
		}
		if err := ledger.Record(ctx, tx, emergencyEvent(ledger.EmergencyConfirmed, by, p, map[string]any{"reason": x.Reason, "asked_by": x.AskedBy})); err != nil {
			return err
		}
		if err := e.call(ctx, tx, p, "confirmed", fmt.Sprintf("%s confirmed the emergency promotion of %s", by, p.ReleaseName), fmt.Sprintf("%s (asked by %s). Not asked: %s.", x.Reason, x.AskedBy, listed(x.Skipped)),
			fmt.Sprintf("once it has ended, somebody else than %s closes its review; until then no ordinary promotion goes into %s", x.AskedBy, p.Environment)); err != nil {
			return err
		}
		return e.Changed(ctx, tx, EmergencyTopic(promotion), ReviewTopic(p.Environment))
	})
}

// CloseReview closes the review of an emergency promotion that has ended: ordinary promotions may enter again. The same again by
// the same person changes nothing. Errors are as Confirm's.
func (e *Engine) CloseReview(ctx context.Context, promotion, by, note string) error {
	note = words(note)
	if note == "" || len(note) > maxWords {
		return refused("a review is closed with a note of at most %d characters: what was found, and what follows from it", maxWords)
	}
	p, err := e.rooms.Store.Promotion(ctx, promotion)
	if err != nil {
		return err
	}
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		x, err := e.rooms.Store.LockEmergency(ctx, tx, promotion)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return refused("promotion %s is no emergency: it has no review", promotion)
		case err != nil:
			return err
		case x.ReviewedAt != nil && x.ReviewedBy == by:
			return nil
		case x.ReviewedAt != nil:
			return refused("%s has closed the review of promotion %s already, at %s", x.ReviewedBy, promotion, instant(*x.ReviewedAt))
		case x.ConfirmedAt == nil:
			return refused("promotion %s was not confirmed, so nothing was done that could be reviewed", promotion)
		case by == x.AskedBy:
			return refused("%s broke the glass for promotion %s; its review is closed by somebody else", by, promotion)
		case p.FinishedAt == nil:
			return refused("promotion %s has not ended; its review is closed afterwards. See: waybill promotion show %s", promotion, promotion)
		}
		if err := e.rooms.Store.CloseReview(ctx, tx, promotion, by, note, time.Now()); err != nil {
			return err
		}
		if err := ledger.Record(ctx, tx, emergencyEvent(ledger.ReviewClosed, by, p, map[string]any{"reason": note, "asked_by": x.AskedBy})); err != nil {
			return err
		}
		return e.Changed(ctx, tx, ReviewTopic(p.Environment))
	})
}

// callForReview tells people, when an emergency promotion has ended, that its review is due.
func (e *Engine) callForReview(ctx context.Context, tx pgx.Tx, w *Work) error {
	if w.options.Emergency == nil {
		return nil
	}
	var outcome string
	var due bool
	if err := tx.QueryRow(ctx, `select p.outcome, p.finished_at is not null and x.confirmed_at is not null and x.reviewed_at is null
		from promotions p join emergencies x on x.promotion_id = p.id where p.id = $1`, w.promotion.ID).Scan(&outcome, &due); err != nil || !due {
		return err
	}
	p := w.promotion
	return e.call(ctx, tx, p, "review", fmt.Sprintf("the emergency promotion of %s is to be reviewed", p.ReleaseName), fmt.Sprintf("It ended as %s. %s broke the glass: %s.", strings.ReplaceAll(outcome, "_", " "), p.RequestedBy, w.options.Emergency.Reason),
		fmt.Sprintf("somebody else than %s looks at it (waybill promotion show %s) and closes its review: waybill review close %s --note …", p.RequestedBy, p.ID, p.ID))
}
