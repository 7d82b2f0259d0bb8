package promotion

import "context"

// Step is one part of a procedure. Do and Undo are idempotent: a server may have died in the
// middle of either, and they are then called again. They return one line of what they found or
// did, for the record.
type Step struct {
	Name string
	When condition // nil: always
	Do   func(context.Context, *Work) (detail string, err error)
	Undo func(context.Context, *Work) (detail string, err error) // nil: nothing to undo
}

func (s Step) applies(w *Work) (bool, string) {
	if s.When == nil {
		return true, ""
	}
	return s.When(w)
}

// condition says whether a step applies to this rollout, and if not, why.
type condition func(*Work) (applies bool, whyNot string)

func (c condition) and(other condition) condition {
	return func(w *Work) (bool, string) {
		if ok, why := c(w); !ok {
			return false, why
		}
		return other(w)
	}
}

// updates: the release changes the tenant's database.
var updates condition = func(w *Work) (bool, string) {
	p := w.memory.Plan
	return len(p.Update)+len(p.Install) > 0, "nothing in the database changes"
}

// restoreIsWayBack: once the update has committed, or begun without a transaction, only a restore undoes it.
var restoreIsWayBack condition = func(w *Work) (bool, string) {
	p := w.memory.Plan
	return p.Class.Breaks() || !p.Transactional, "the way back is the route"
}

var routeIsWayBack condition = func(w *Work) (bool, string) {
	ok, _ := restoreIsWayBack(w)
	return !ok, "the checkpoint that counts is taken inside the fence"
}

// oldReleaseWorks: the old release may serve on the updated database.
var oldReleaseWorks condition = func(w *Work) (bool, string) {
	return !w.memory.Plan.Class.Breaks() && w.memory.OldPool != "", "the old release does not work on the new schema; traffic stays held"
}

var oldReleaseFails condition = func(w *Work) (bool, string) {
	ok, _ := oldReleaseWorks(w)
	return !ok, "the hold has ended after the update"
}
