package server

import (
	"context"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// auditor writes to the ledger what was decided about people: who was let in or not, what they were
// refused, tokens, approvals.
type auditor struct{ *server }

// kinds are those of the ledger by those of identity.Entry; others keep their own.
var kinds = map[string]string{
	"denied": "access.denied", "approval": "approval.given", "rejection": "approval.rejected",
}

// Record implements identity.Recorder. What cannot be recorded is told in the log.
func (a auditor) Record(ctx context.Context, e identity.Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	event := ledger.Event{Actor: e.Actor, Kind: e.Kind, Environment: e.Environment, Payload: map[string]any{
		"operation": e.Operation, "subject": e.Subject, "reason": e.Reason, "token": e.Token, "address": e.Address,
	}}
	if kind, ok := kinds[e.Kind]; ok {
		event.Kind = kind
	}
	if event.Actor == "" {
		event.Actor = "unknown" // nobody has shown who they are
	}
	switch { // those that are about a promotion, and not about a release
	case e.Operation == identity.PromotionStart, e.Operation == identity.PromotionForce, e.Operation == identity.PromotionBreak:
	case strings.HasPrefix(string(e.Operation), "promotion."), e.Operation == identity.ReviewClose:
		event.Promotion = e.Subject
	}
	if err := ledger.Record(ctx, a.store.Pool, event); err != nil {
		a.log.Error("record what was decided about a person", "kind", e.Kind, "actor", e.Actor, "error", err)
	}
}
