package gitops

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store"
)

// maxRecorded bounds the changes that one entry of the ledger names.
const maxRecorded = 20

// record brings a commit into force, and writes that to the ledger where it was not there before.
func (f *Follower) record(ctx context.Context, head store.Head, newest string) error {
	payload := map[string]any{"commit": newest, "before": head.Commit}
	if f.Signatures.asked() {
		found, err := f.Signatures.verify(ctx, f.Repository, newest)
		if err != nil {
			return err
		}
		payload["signed_by"] = found.by
	}
	return f.Store.In(ctx, func(tx pgx.Tx) error {
		if err := f.Store.PutEstateHead(ctx, tx, store.Head{Commit: newest, Seen: newest}); err != nil || head.Commit == newest {
			return err
		}
		return ledger.Record(ctx, tx, ledger.Event{Kind: ledger.EstateTaken, Payload: payload})
	})
}

// refuse leaves in force what is. The same is said once, however often the remote is asked.
func (f *Follower) refuse(ctx context.Context, head store.Head, seen, problem string, unsigned ...Unsigned) error {
	if head.Seen == seen && head.Problem == problem {
		return nil
	}
	f.Log.Warn("the estate's repository", "problem", problem)
	return f.Store.In(ctx, func(tx pgx.Tx) error {
		if err := f.Store.PutEstateHead(ctx, tx, store.Head{Commit: head.Commit, Seen: seen, Problem: problem}); err != nil || seen == head.Seen {
			return err // no new commit: a remote that was away, or an estate that this server reads differently now
		}
		payload := map[string]any{"commit": seen, "in_force": head.Commit, "reason": problem}
		if len(unsigned) > 0 {
			payload["unsigned"] = unsigned[:min(len(unsigned), maxRecorded)]
		}
		return ledger.Record(ctx, tx, ledger.Event{Kind: ledger.EstateRefused, Payload: payload})
	})
}

// examine holds a commit against the signatures that are asked for.
func (f *Follower) examine(ctx context.Context, before, newest string, declared *estate.Estate) error {
	if !f.Signatures.asked() {
		return nil
	}
	var moves []string
	for _, t := range declared.Targets {
		moves = append(moves, t.File())
	}
	if before != "" && f.Signatures.Signed == estate.SignedTargets { // a target that is gone, or stands elsewhere
		if old, err := f.Declared(ctx); err == nil {
			for _, t := range old.Targets {
				moves = append(moves, t.File())
			}
		}
	}
	slices.Sort(moves)
	return f.Signatures.examine(ctx, f.Repository, before, newest, slices.Compact(moves))
}

// asker is who asks for what a file says: the estate's user who signed its last change, else the author of it, who can
// be anybody that the one who signed did not look at.
func (f *Follower) asker(ctx context.Context, declared *estate.Estate, file string) (string, error) {
	if f.Signatures.asked() {
		by, err := f.Repository.lastChange(ctx, declared.Commit, file)
		if err != nil {
			return "", err
		}
		found, err := f.Signatures.verify(ctx, f.Repository, by)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(declared.Access.Users, func(u estate.User) bool { return u.Name == found.by }) {
			return found.by, nil
		}
	}
	email, err := f.Repository.author(ctx, declared.Commit, file)
	return person(declared, email), err
}

// person is the estate's user with a commit's address, or the address itself.
func person(declared *estate.Estate, email string) string {
	for _, u := range declared.Access.Users {
		for _, e := range u.Emails {
			if strings.EqualFold(e, email) {
				return u.Name
			}
		}
	}
	return "git:" + email
}
