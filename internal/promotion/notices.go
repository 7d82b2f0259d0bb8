package promotion

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/store"
)

// announce puts what people must hear of into the outbox, in the transaction that decides it. Whether
// anybody is told is a matter of the estate.
func (e *Engine) announce(ctx context.Context, tx pgx.Tx, w *Work, next store.Rollout) error {
	m, ok := w.news(next, time.Now())
	if !ok {
		return nil
	}
	notice, err := m.Notice()
	if err != nil {
		return err
	}
	return e.rooms.Store.Announce(ctx, tx, notice)
}

// news is what there is to tell of a rollout's new state, if anything.
func (w *Work) news(next store.Rollout, now time.Time) (notify.Message, bool) {
	p := w.promotion
	where := next.Environment + "/" + next.Tenant
	what := strings.TrimSpace(p.Kind + " " + p.ReleaseName)
	m := notify.Message{Environment: next.Environment, Tenant: next.Tenant, Release: p.ReleaseName, Promotion: p.ID, Text: next.Reason, At: now}
	of := func(event, format string, args ...any) (notify.Message, bool) {
		m.Event, m.Title = event, where+": "+fmt.Sprintf(format, args...)
		// The epoch tells one wait from the next, after somebody let it go on.
		m.Key = fmt.Sprintf("%s/%s/%d", event, next.ID, w.lease.Epoch)
		return m, true
	}
	switch {
	case next.State == store.Waiting:
		m.Text, m.Needed = needed(next.Reason, p)
		return of(estate.EventWaiting, "%s waits for a person", what)
	case next.State == store.Running && next.WaitsFor != "" && w.secondAlone:
		return m, false // told when the glass was broken
	case next.State == store.Running && next.WaitsFor != "" && next.Attempt == 0 && w.at(next) == "gates":
		m.Text, m.Needed = "It waits before anything is touched, and goes on by itself once nothing is missing.", next.WaitsFor
		if w.env.many() { // what is asked is mostly asked of all of them: told once
			where, m.Tenant = next.Environment, ""
			m.Needed = "for " + next.Tenant + ", and perhaps for others: " + m.Needed
		}
		m, told := of(estate.EventWaiting, "%s waits to be let in", what)
		m.Key = "waiting/" + p.ID + "/gates" // however often the gates are asked again
		return m, told
	case next.State != store.Done || next.Outcome != store.RolledBack:
		return m, false
	case p.Kind == KindPromote && !w.memory.NotAdmitted:
		m.Needed = fmt.Sprintf("whoever made the release looks into it; it stays out of %s until: waybill quarantine lift %s %s", next.Environment, next.Environment, p.ReleaseName)
		return of(estate.EventRolledBack, "%s was rolled back", what)
	case p.Kind == KindPurge:
		m.Needed = fmt.Sprintf("an operator looks into it: waybill promotion show %s; it is tried again within a day, or the tenant is taken back: waybill tenant undelete %s", p.ID, next.Environment+"/"+next.Tenant)
		return of(estate.EventFailed, "its time of grace is over, and it could not be purged")
	case p.Kind == KindPromote:
		m.Needed = fmt.Sprintf("%s, who asked for it, looks into it; nothing was touched", p.RequestedBy)
		return of(estate.EventFailed, "%s was not let in", what)
	}
	m.Needed = fmt.Sprintf("%s, who asked for it, looks into it: waybill promotion show %s", p.RequestedBy, p.ID)
	return of(estate.EventFailed, "%s failed, and was undone", what)
}

// at is the name of the step that a rollout stands at.
func (w *Work) at(next store.Rollout) string {
	if procedure := procedures[w.promotion.Kind]; next.Step < len(procedure) {
		return procedure[next.Step].Name
	}
	return ""
}

// needed takes the choices out of the reason for which a rollout waits.
func needed(reason string, p store.Promotion) (text, choice string) {
	text, choices, found := strings.Cut(reason, " — choose: ")
	if !found {
		text, choices, found = strings.Cut(reason, " — ")
	}
	if !found {
		choices = "look into it, then: waybill promotion resume " + p.ID
	}
	return text, "an operator chooses: " + choices
}
