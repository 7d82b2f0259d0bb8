package promotion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/store"
)

// A tenant moves between the pools that all shared tenants have together and pools of its own. Its release and its database
// stay; what changes is to which role the tables belong, in which folder files and sessions are, and which pool serves. People
// wait while that changes hands: most of the files are copied before.

// MoveTenant starts it. Where the estate says something else, it is written there as the first step.
func (e *Engine) MoveTenant(ctx context.Context, declared *estate.Estate, environment, tenant string, to estate.Hosting, by string) (string, error) {
	if to != estate.Shared && to != estate.Dedicated {
		return "", badRequest("a tenant is moved to %q; it can be %s or %s", to, estate.Shared, estate.Dedicated)
	}
	snapshot, err := takeSnapshot(declared, Request{Environment: environment, Tenants: []string{tenant}})
	if err != nil {
		return "", err
	}
	living, err := e.rooms.Store.Tenant(ctx, environment, tenant)
	if errors.Is(err, store.ErrNotFound) || err == nil && living.ServingRelease == "" {
		return "", badRequest("nothing serves %s/%s yet, so there is nothing to move: write hosting: %s into its document of the estate", environment, tenant, to)
	} else if err != nil {
		return "", err
	}
	if hostingOf(living.Group) == to {
		return "", badRequest("%s/%s is %s already", environment, tenant, to)
	}
	if beside, err := e.accompanied(ctx, environment, tenant); err != nil {
		return "", err
	} else if beside != "" { // it is in the folder and belongs to the role that would go
		return "", badRequest("%s", beside)
	}
	q := Request{Kind: KindMove, Environment: environment, Tenants: []string{tenant}, By: by, Options: Options{Hosting: to}, group: living.Group}
	after := declared
	if snapshot.Tenants[0].Hosting != to { // else a person has written it, or a pull request
		if after, err = e.tryChange(ctx, declared, hostingChange(environment, tenant, to)); err != nil {
			return "", err
		}
		q.Options.HostingBefore = snapshot.Tenants[0].Hosting
	}
	return e.Start(ctx, after, q)
}

func hostingChange(environment, tenant string, to estate.Hosting) estate.Change {
	return estate.Change{Environment: environment, Tenant: tenant, Set: map[string]string{"hosting": string(to)}}
}

// rehosted: the estate does not say it yet.
var rehosted condition = func(w *Work) (bool, string) {
	return w.options.HostingBefore != "", "the estate says so already"
}

// group is whose pools serve what this rollout brings: the tenant's, or those that it moves to.
func (w *Work) group() string {
	if w.memory.Group != "" {
		return w.memory.Group
	}
	return w.state.Group
}

// admitMove names where it goes, and looks that nothing stands there.
func admitMove(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	if w.state.Live.Suspended {
		return "", failed("%s is suspended, and a move is proven by the pool that serves it then. First: waybill tenant resume %s/%s", w.tenant.Name, w.rollout.Environment, w.tenant.Name)
	}
	r, err := w.rooms.Store.Release(ctx, w.state.ServingRelease)
	if err != nil {
		return "", fmt.Errorf("look up the release that serves it: %w", err)
	}
	if err := w.rooms.Present(ctx, r); err != nil {
		return "", fmt.Errorf("read release %s from the registry: %w", r.Name, err)
	}
	w.rememberOld()
	w.memory.Release, w.memory.OldGroup, w.memory.Group = r.Digest, w.state.Group, poolGroup(w.tenant)
	w.memory.Plan = Plan{Class: estate.Breaking, ClassReason: "the old pool has no right to the database any more", Transactional: true}
	if w.memory.Group == w.memory.OldGroup {
		return "", failed("%s is %s already", w.tenant.Name, hostingOf(w.state.Group))
	}
	to := w.filestoreOf(w.memory.Group)
	if there, err := to.Exists(ctx); err != nil {
		return "", err
	} else if there {
		return "", failed("files in %s exist already, and Waybill knows nothing of them. Look at them, and move them away", to)
	}
	if err := w.roomFor(ctx, to); err != nil {
		return "", err
	}
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	return fmt.Sprintf("from the %s pool %s to %s", hostingOf(w.memory.OldGroup), w.memory.OldPool, w.memory.NewPool), nil
}

func (w *Work) filestoreOf(group string) filestore.Store {
	return w.place.Filestore(w.rollout.Environment, group, w.state.Database)
}

// dataDir is the group's folder; empty where there is none, and sessions are in Redis.
func (w *Work) dataDir(group string) string {
	return w.place.Runtime.DataDir(w.rollout.Environment, group)
}

// roomFor refuses what the disk has no room for: the files are there twice until the end.
func (w *Work) roomFor(ctx context.Context, to filestore.Store) error {
	if len(useOf(to, 0)) == 0 {
		return nil
	}
	bytes, err := filestore.Size(ctx, w.filestore())
	if err != nil {
		return err
	}
	return roomOn(useOf(to, bytes)...)
}

// declareHosting writes it into the estate, where a person may change it meanwhile: then theirs stands, and the move is not made.
func declareHosting(ctx context.Context, w *Work) (string, error) {
	w.memory.Declaring = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	return w.writeChange(ctx, hostingChange(w.rollout.Environment, w.tenant.Name, w.options.Hosting), "%s: tenant %s moves to %s hosting", w.options.Hosting)
}

func undeclareHosting(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Declaring {
		return "nothing was written", nil
	}
	return w.writeChange(ctx, hostingChange(w.rollout.Environment, w.tenant.Name, w.options.HostingBefore), "%s: tenant %s stays in %s hosting", w.options.HostingBefore)
}

// copyAhead copies what is there while people work.
func copyAhead(ctx context.Context, w *Work) (string, error) {
	began := time.Now()
	if err := w.copyData(ctx, w.memory.OldGroup, w.memory.Group, w.memory.CopiedAt); err != nil {
		return "", err
	}
	w.memory.CopiedAt = began
	return fmt.Sprintf("files and sessions in %.1f s, while people work", time.Since(began).Seconds()), nil
}

// copyData adds to a group's folder the tenant's files and those of its people's sessions that were written since.
func (w *Work) copyData(ctx context.Context, from, to string, since time.Time) error {
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, to); err != nil {
		return err
	}
	if err := filestore.Copy(ctx, w.filestoreOf(from), w.filestoreOf(to)); err != nil {
		return fmt.Errorf("copy the files: %w", err)
	}
	if w.dataDir(to) == "" {
		return nil
	}
	if err := copySessions(ctx, w.dataDir(from), w.dataDir(to), w.state.Database, since); err != nil {
		return fmt.Errorf("copy the sessions: %w", err)
	}
	return nil
}

// removeCopy takes the copy away again, where the database is not served from it.
func removeCopy(ctx context.Context, w *Work) (string, error) {
	if w.memory.Group == "" || w.state.Group == w.memory.Group {
		return "", nil
	}
	return "", w.removeData(ctx, w.memory.Group)
}

func (w *Work) removeData(ctx context.Context, group string) error {
	if err := w.filestoreOf(group).RemoveAll(ctx); err != nil {
		return fmt.Errorf("remove the files: %w", err)
	}
	if w.dataDir(group) == "" {
		return nil
	}
	return removeSessions(ctx, w.dataDir(group), w.state.Database)
}

// changeHands gives database, files and sessions to the other group, behind the fence.
func changeHands(ctx context.Context, w *Work) (string, error) {
	return w.handTo(ctx, w.memory.OldGroup, w.memory.Group)
}

// handBack is the same the other way: also what was written since.
func handBack(ctx context.Context, w *Work) (string, error) {
	return w.handTo(ctx, w.memory.Group, w.memory.OldGroup)
}

func (w *Work) handTo(ctx context.Context, from, to string) (string, error) {
	began := time.Now()
	since := w.memory.CopiedAt.Add(-time.Minute) // clocks of file systems are coarse
	if err := w.copyData(ctx, from, to, since); err != nil {
		return "", err
	}
	owner := ownerRole(w.rollout.Environment, to)
	if err := w.place.Databases.EnsureOwner(ctx, owner); err != nil {
		return "", err
	}
	w.fault("inside:hand over")
	if err := w.place.Databases.HandOver(ctx, w.state.Database, ownerRole(w.rollout.Environment, from), owner); err != nil {
		return "", err
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.Group = to }); err != nil {
		return "", err
	}
	return fmt.Sprintf("database, files and sessions belong to %s, after %.1f s", to, time.Since(began).Seconds()), w.grantAccess(ctx, w.place, w.state)
}

// removeOld is the end: what was copied serves, so the first copy goes.
func removeOld(ctx context.Context, w *Work) (string, error) {
	if err := w.removeData(ctx, w.memory.OldGroup); err != nil {
		return "", err
	}
	detail := "the files in the folder before are gone"
	if w.memory.OldGroup == string(estate.Shared) {
		return detail, nil
	}
	more, err := w.purgeGroup(ctx, w.memory.OldGroup) // nobody else had it
	return detail + more, err
}
