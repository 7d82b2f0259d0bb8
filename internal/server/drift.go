package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// healsMost is how often an object is brought back within healsWithin. Whoever changes it once more does not do so by mistake.
	healsMost   = 3
	healsWithin = time.Hour
	// driftShown is how many lines of a finding are written down and told.
	driftShown = 20
)

// watchDrift looks after what was applied to the cluster, until ctx is done; not before what was decided is there again, where the
// namespaces were taken away by waybill down.
func (s *server) watchDrift(ctx context.Context, converged <-chan struct{}) error {
	k, ok := s.runtime.(*kube.Runtime)
	if !ok {
		return nil
	}
	select {
	case <-converged:
	case <-ctx.Done():
		return nil
	}
	return k.WatchDrift(ctx, &drifts{server: s})
}

// keeper is where the runtime keeps what was declared: Waybill's own database, sealed.
type keeper struct {
	store *store.Store
	seal  cipher.AEAD
}

var _ kube.Keeper = (*keeper)(nil)

func (s *server) newKeeper() (*keeper, error) {
	block, err := aes.NewCipher(s.keys.Derive("seal", "declared objects"))
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &keeper{store: s.store, seal: seal}, err
}

// about is what a sealed manifest belongs to: it opens as no other object's.
func about(scope string, o drift.Object) []byte {
	return []byte(strings.Join([]string{scope, o.APIVersion, o.Kind, o.Namespace, o.Name}, "\n"))
}

// Keep implements kube.Keeper.
func (k *keeper) Keep(ctx context.Context, scope string, d kube.Declared) error {
	o := d.Object
	return k.store.KeepDeclared(ctx, store.DeclaredObject{Scope: scope, APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Environment: d.Environment,
		Manifest: k.seal.Seal(nil, nil, d.Manifest, about(scope, o)), Applied: d.Applied, Fingerprint: d.Fingerprint})
}

func (k *keeper) open(row store.DeclaredObject) (kube.Declared, error) {
	d := kube.Declared{Object: drift.Object{APIVersion: row.APIVersion, Kind: row.Kind, Namespace: row.Namespace, Name: row.Name}, Environment: row.Environment, Applied: row.Applied, Fingerprint: row.Fingerprint}
	var err error
	if d.Manifest, err = k.seal.Open(nil, nil, row.Manifest, about(row.Scope, d.Object)); err != nil {
		return d, fmt.Errorf("what was declared of %s is sealed with another key, or was altered: give this server the keys that it had, or apply it anew", d.Object)
	}
	return d, nil
}

// Kept implements kube.Keeper.
func (k *keeper) Kept(ctx context.Context, scope string) ([]kube.Declared, error) {
	rows, err := k.store.Declared(ctx, scope)
	if err != nil {
		return nil, err
	}
	var all []kube.Declared
	for _, row := range rows {
		d, err := k.open(row)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// KeptOne implements kube.Keeper.
func (k *keeper) KeptOne(ctx context.Context, scope string, o drift.Object) (kube.Declared, bool, error) {
	row, err := k.store.DeclaredOne(ctx, scope, o.Kind, o.Namespace, o.Name)
	if errors.Is(err, store.ErrNotFound) {
		return kube.Declared{}, false, nil
	}
	if err != nil {
		return kube.Declared{}, false, err
	}
	d, err := k.open(row)
	return d, err == nil, err
}

// Drop implements kube.Keeper.
func (k *keeper) Drop(ctx context.Context, scope string, o drift.Object) error {
	return k.store.DropDeclared(ctx, scope, o.Kind, o.Namespace, o.Name)
}

// DropNamespace implements kube.Keeper.
func (k *keeper) DropNamespace(ctx context.Context, scope, namespace string) error {
	return k.store.DropDeclaredNamespace(ctx, scope, namespace)
}

// drifts writes down what the watch finds, tells people, and says what is to be healed. Several servers find the same: the first one
// tells of it.
type drifts struct{ server *server }

var _ kube.Observer = (*drifts)(nil)

// Open implements kube.Observer.
func (d *drifts) Open(ctx context.Context, scope string) ([]drift.Object, error) {
	rows, err := d.server.store.Drifts(ctx, scope)
	var all []drift.Object
	for _, row := range rows {
		all = append(all, drift.Object{APIVersion: row.APIVersion, Kind: row.Kind, Namespace: row.Namespace, Name: row.Name})
	}
	return all, err
}

// whatOf tells one finding from another: when somebody wrote the same again it is the same.
func whatOf(f drift.Finding) string {
	f.Changes = slices.Clone(f.Changes)
	for i := range f.Changes {
		f.Changes[i].At = time.Time{}
	}
	return f.String()
}

// linesOf is what of a finding is told.
func linesOf(f drift.Finding) []string {
	says := f.Says()
	if len(says) > driftShown {
		says = append(says[:driftShown:driftShown], fmt.Sprintf("and %d more", len(says)-driftShown))
	}
	return says
}

// Found implements kube.Observer.
func (d *drifts) Found(ctx context.Context, scope string, f drift.Finding) (heal bool, err error) {
	heals, err := d.heals(ctx, f)
	if err != nil {
		return false, err
	}
	err = d.server.store.In(ctx, func(tx pgx.Tx) error {
		heal = false
		row, known, err := d.server.store.DriftIn(ctx, tx, scope, f.Object.Kind, f.Object.Namespace, f.Object.Name)
		if err != nil {
			return err
		}
		open := known && row.MendedAt == nil
		now := time.Now()
		if !f.Drifts() {
			if !open {
				return nil
			}
			row.MendedAt, row.Fought = &now, false
			if err := ledger.Record(ctx, tx, ledger.Event{Kind: ledger.DriftMended, Environment: row.Environment, Payload: map[string]any{"object": f.Object.String()}}); err != nil {
				return err
			}
			return d.server.store.PutDrift(ctx, tx, row)
		}
		row.Heals = slices.DeleteFunc(row.Heals, func(at time.Time) bool { return now.Sub(at) > healsWithin })
		what := whatOf(f)
		if !open || row.What != what {
			if row.Finding, err = json.Marshal(f); err != nil {
				return err
			}
			if !open {
				row.FoundAt = now
			}
			row.ToldAt, row.What, row.MendedAt, row.Environment = now, what, nil, f.Environment
			row.Scope, row.APIVersion, row.Kind, row.Namespace, row.Name = scope, f.Object.APIVersion, f.Object.Kind, f.Object.Namespace, f.Object.Name
			if err := ledger.Record(ctx, tx, ledger.Event{Kind: ledger.DriftFound, Environment: f.Environment,
				Payload: map[string]any{"object": f.Object.String(), "says": linesOf(f), "owners": f.Owners()}}); err != nil {
				return err
			}
			if !heals || len(row.Heals) == 0 { // what is healed and changed again is told once, below
				if err := d.announce(ctx, tx, row, f, "drift/found", "is not as Waybill applied it", d.needed(f, heals)); err != nil {
					return err
				}
			}
		}
		switch {
		case !heals:
			row.Fought = false
		case len(row.Heals) < healsMost:
			heal, row.Fought = true, false
			row.Heals = append(row.Heals, now)
		case !row.Fought:
			row.Fought = true
			if err := ledger.Record(ctx, tx, ledger.Event{Kind: ledger.DriftFought, Environment: f.Environment,
				Payload: map[string]any{"object": f.Object.String(), "healed": len(row.Heals), "owners": f.Owners(), "says": linesOf(f)}}); err != nil {
				return err
			}
			title := fmt.Sprintf("was healed %d times within the hour and is changed again", len(row.Heals))
			if owners := f.Owners(); len(owners) > 0 {
				title += " by " + strings.Join(owners, ", ")
			}
			if err := d.announce(ctx, tx, row, f, "drift/fought", title,
				"somebody takes the object out of what the other one applies; Waybill leaves it alone until the hour is over"); err != nil {
				return err
			}
		}
		return d.server.store.PutDrift(ctx, tx, row)
	})
	return heal, err
}

func (d *drifts) needed(f drift.Finding, heals bool) string {
	if heals {
		return ""
	}
	return "somebody finds out why, and takes it back or lets Waybill do so (drift: heal): waybill drift " + f.Environment
}

func (d *drifts) announce(ctx context.Context, tx pgx.Tx, row store.Drift, f drift.Finding, kind, title, needed string) error {
	where := f.Environment
	if where == "" {
		where = "the cluster"
	}
	notice, err := notify.Message{Key: fmt.Sprintf("%s/%s/%s/%d", kind, row.Scope, f.Object, row.ToldAt.UnixMicro()), Event: estate.EventDrift, Environment: f.Environment,
		Title: fmt.Sprintf("%s: %s %s", where, f.Object, title), Text: strings.Join(linesOf(f), "\n"), Needed: needed, At: row.ToldAt}.Notice()
	if err != nil {
		return err
	}
	return d.server.store.Announce(ctx, tx, notice)
}

// heals says whether the estate has an object brought back; one of the whole cluster where every environment has it so.
func (d *drifts) heals(ctx context.Context, f drift.Finding) (bool, error) {
	declared, err := d.server.declared(ctx)
	if err != nil {
		return false, err
	}
	if f.Environment != "" {
		env, ok := declared.Environment(f.Environment)
		return ok && env.Drift == estate.DriftHeal, nil
	}
	for _, env := range declared.Environments {
		if env.Drift != estate.DriftHeal {
			return false, nil
		}
	}
	return len(declared.Environments) > 0, nil
}

// Healed implements kube.Observer.
func (d *drifts) Healed(ctx context.Context, scope string, f drift.Finding, err error) error {
	payload := map[string]any{"object": f.Object.String(), "says": linesOf(f), "owners": f.Owners(), "outcome": "done"}
	if err != nil {
		payload["outcome"], payload["error"] = "failed", err.Error()
		d.server.log.Warn("bring an object back to what was applied", "object", f.Object.String(), "error", err)
	}
	return d.server.store.In(ctx, func(tx pgx.Tx) error {
		return ledger.Record(ctx, tx, ledger.Event{Kind: ledger.DriftHealed, Environment: f.Environment, Payload: payload})
	})
}
