package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// farewell is a depot whose estate is written, and whose tenants acme, which shares its pool, and cord, which has one of its own,
// have data.
type farewell struct {
	*depot
	book *book
}

func newFarewell(t *testing.T) *farewell {
	t.Helper()
	f := &farewell{depot: newDepot(t)}
	f.book = &book{declared: f.declared, written: map[string]string{"acme": "acme's", "bolt": "bolt's", "cord": "cord's"}}
	f.engine.rooms.Declarations = f.book
	f.declared.Environments[0].Workers, f.declared.Environments[0].Settings = 3, map[string]string{"limit_time_cpu": "77"} // as the pools were started
	f.odoo("acme")
	f.odoo("cord")
	_, err := f.engine.tellPools(t.Context(), f.place, "rotation") // of all three
	require.NoError(t, err)
	f.serves("acme.example")
	f.serves("cord.example")
	return f
}

func (f *farewell) serves(host string) {
	f.t.Helper()
	status, text := f.answer(host)
	require.Equal(f.t, http.StatusOK, status, text)
}

func (f *farewell) ask(d Deletion) (string, error) {
	d.Environment, d.By = "rotation", "ann"
	return f.engine.Delete(f.t.Context(), f.declared, d)
}

func (f *farewell) delete(tenant string) store.Rollout {
	f.t.Helper()
	id, err := f.ask(Deletion{Tenant: tenant})
	require.NoError(f.t, err)
	return f.ends(id)
}

func (f *farewell) deleted(tenant string) store.Leaving {
	f.t.Helper()
	r := f.delete(tenant)
	require.Equal(f.t, store.Promoted, r.Outcome, r.Reason)
	return *f.tenant(tenant).Live.Leaving
}

func (f *farewell) undelete(tenant string) store.Rollout {
	f.t.Helper()
	id, err := f.engine.Undelete(f.t.Context(), f.declared, "rotation", tenant, "ann")
	require.NoError(f.t, err)
	return f.ends(id)
}

// start asks for a procedure about a tenant by its name.
func (f *farewell) start(kind, tenant string) (string, error) {
	return f.engine.Start(f.t.Context(), f.declared, Request{Kind: kind, Environment: "rotation", Tenants: []string{tenant}, Release: "r1", By: "ann"})
}

// due lets a tenant's time come.
func (f *farewell) due(tenant string) purgeArgs {
	f.t.Helper()
	state, err := f.store.ChangeTenant(f.t.Context(), "rotation", tenant, store.Lease{}, func(t *store.Tenant) { t.Live.Leaving.Until = time.Now().Add(-time.Second) })
	require.NoError(f.t, err)
	return purgeArgs{"rotation", tenant, state.Live.Leaving.Promotion}
}

// purge does what the worker does, and returns the purge that it started.
func (f *farewell) purge(a purgeArgs) store.Rollout {
	f.t.Helper()
	wait, err := f.engine.purgeDue(f.t.Context(), a, time.Now())
	require.NoError(f.t, err)
	require.Equal(f.t, purgeAgain, wait)
	found, err := f.store.Promotions(f.t.Context(), "rotation", 0, 1)
	require.NoError(f.t, err)
	require.Equal(f.t, KindPurge, found[0].Kind)
	require.Equal(f.t, "waybill", found[0].RequestedBy)
	return f.ends(found[0].ID)
}

// standsBeside writes down that something called look stands beside a tenant.
func (f *farewell) standsBeside(tenant, promotion string) {
	f.t.Helper()
	require.NoError(f.t, f.store.In(f.t.Context(), func(tx pgx.Tx) error {
		return f.store.PutBeside(f.t.Context(), tx, store.Beside{Environment: "rotation", Tenant: tenant, Name: "look", Database: "look", Checkpoint: "c1", Promotion: promotion, ExpiresAt: time.Now().Add(time.Hour)})
	}))
}

// jobs are the River jobs that wait to purge.
func (f *farewell) jobs() (n int) {
	f.t.Helper()
	require.NoError(f.t, f.store.Pool.QueryRow(f.t.Context(), "select count(*) from river_job where kind = 'purge' and finalized_at is null").Scan(&n))
	return n
}

func (f *farewell) exists(database string) bool {
	f.t.Helper()
	there, err := f.place.Databases.Exists(f.t.Context(), database)
	require.NoError(f.t, err)
	return there
}

func TestDeleteAndUndelete(t *testing.T) {
	f := newFarewell(t)
	before := f.tenant("cord")
	began := time.Now()
	id, err := f.ask(Deletion{Tenant: "cord", Grace: 48 * time.Hour, Message: "This shop has moved."})
	require.NoError(t, err)
	r := f.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)

	status, text := f.answer("cord.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, "This shop has moved.")
	left := f.tenant("cord")
	require.Empty(t, left.Live.Stable)
	require.Empty(t, left.Live.Access)
	require.Equal(t, before.ServingRelease, left.ServingRelease, "what it comes back with")
	require.Equal(t, id, left.Live.Leaving.Promotion)
	require.WithinDuration(t, began.Add(48*time.Hour), left.Live.Leaving.Until, time.Minute)
	m, err := f.engine.rooms.Checkpoints.Load(t.Context(), checkpoint.Ref{Environment: "rotation", Tenant: "cord", ID: left.Live.Leaving.Checkpoint})
	require.NoError(t, err)
	require.False(t, m.Verified.IsZero(), "it was read back")
	logins, err := f.place.Databases.Logins(t.Context(), "rotated_cord")
	require.NoError(t, err)
	require.Empty(t, logins, "fenced")
	require.Nil(t, f.pool("cord-0011223344"), "nobody else uses it")
	_, err = f.store.GetPool(t.Context(), "rotation", "cord-0011223344")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Contains(t, f.book.written, "cord", "its document stays until it is purged")
	require.FileExists(t, filepath.Join(f.folder("cord"), file))
	require.Equal(t, 1, f.jobs())
	require.NoError(t, f.engine.Converge(t.Context(), f.place, "rotation"), "as a server does that starts")
	status, _ = f.answer("cord.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	f.serves("acme.example")

	// What else may be asked of it says what to do.
	for _, kind := range []string{KindPromote, KindConfiguration, KindRestore, KindCreate} {
		f.declared.Environments[0].Workers = 4 // another configuration
		_, err := f.start(kind, "cord")
		require.ErrorIs(t, err, ErrBadRequest, kind)
		if kind != KindConfiguration { // says that nothing serves it
			require.ErrorContains(t, err, "waybill tenant undelete rotation/cord", kind)
		}
		f.declared.Environments[0].Workers = 3
	}
	for _, kind := range []string{KindSuspend, KindResume} {
		id, err := f.start(kind, "cord")
		require.NoError(t, err)
		r := f.ends(id)
		require.Equal(t, store.RolledBack, r.Outcome)
		require.Contains(t, r.Reason, "waybill tenant undelete rotation/cord", kind)
	}
	f.declared.Templates = []estate.TenantTemplate{{Name: "retail", Environments: []string{"rotation"}, Hosts: []string{"{name}.example"}, Modules: []string{"sale"}}}
	_, err = f.engine.CreateFrom(t.Context(), f.declared, NewTenant{Environment: "rotation", Name: "cord", Template: "retail", By: "ann"})
	require.ErrorContains(t, err, "waybill tenant undelete rotation/cord")
	_, err = f.ask(Deletion{Tenant: "cord"})
	require.ErrorIs(t, err, ErrBadRequest)
	require.ErrorContains(t, err, "its data goes after "+instant(left.Live.Leaving.Until))
	s, err := takeSnapshot(f.declared, Request{Environment: "rotation"})
	require.NoError(t, err)
	require.NoError(t, f.engine.available(t.Context(), Request{Kind: KindPromote, Environment: "rotation"}, &s))
	require.Len(t, s.Tenants, 2, "a release into the whole environment leaves it out")

	// A pool of another configuration is started, if that is how the environment's are started now.
	f.declared.Environments[0].Workers = 5
	r = f.undelete("cord")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	f.serves("cord.example")
	require.Equal(t, 2, f.count("rotated_cord", "orders"), "with the data that it had")
	back := f.tenant("cord")
	require.Nil(t, back.Live.Leaving)
	require.False(t, back.Live.Suspended)
	require.Equal(t, back.Live.Stable, back.Live.Cron)
	pool, err := f.store.GetPool(t.Context(), "rotation", back.Live.Stable)
	require.NoError(t, err)
	require.Equal(t, 5, pool.Workers)
	wait, err := f.engine.purgeDue(t.Context(), purgeArgs{"rotation", "cord", id}, time.Now().Add(1000*time.Hour))
	require.NoError(t, err)
	require.Zero(t, wait, "what was to purge it finds that it has come back")
	f.serves("cord.example")
	_, err = f.engine.Undelete(t.Context(), f.declared, "rotation", "cord", "ann")
	require.ErrorContains(t, err, "was not deleted")
}

// Of those who share a pool one leaves, and the others go on.
func TestDeleteOfASharedTenant(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	f.sql("rotated_bolt", ownerRole("rotation", "shared"), "create table orders (id serial)")
	others := f.busy(2, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/order", nil)
		if err != nil {
			return err
		}
		request.Host = "bolt.example"
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(response.Body)
			err = fmt.Errorf("%s: %s", response.Status, text)
		}
		return err
	})
	f.deleted("acme")
	require.NotNil(t, f.pool("r-0011223344"))
	status, text := f.answer("acme.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, leavingMessage)
	r := f.purge(f.due("acme"))
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	count, err := others()
	require.NoError(t, err, "of %d orders", count)
	require.Positive(t, count)
	require.False(t, f.exists("rotated"))
	require.True(t, f.exists("rotated_bolt"))
	require.DirExists(t, f.folder("bolt"))
	require.Equal(t, map[string]string{"bolt": "bolt's", "cord": "cord's"}, f.book.written)
	logins, err := f.place.Databases.LoginsOf(t.Context(), ownerRole("rotation", "shared"))
	require.NoError(t, err)
	require.Contains(t, logins, "wb_rotation_r-0011223344")
	status, _ = f.answer("acme.example")
	require.Equal(t, http.StatusNotFound, status)
}

// One that nothing served is deleted as well, and comes back as it was.
func TestDeleteOfATenantThatNothingServes(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	_, err := f.store.ChangeTenant(t.Context(), "rotation", "cord", store.Lease{}, func(t *store.Tenant) { t.ServingRelease, t.Live = "", store.Live{} })
	require.NoError(t, err)
	require.NoError(t, f.engine.tellRouter(t.Context(), f.place, "rotation"))
	f.deleted("cord")
	_, err = f.start(KindPromote, "cord")
	require.ErrorContains(t, err, "waybill tenant undelete rotation/cord")
	r := f.undelete("cord")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, store.Live{}, f.tenant("cord").Live)
	require.Equal(t, 1, f.count("rotated_cord", "orders"))
}

// What is suspended may be deleted; where that fails it stays suspended, with what its people read.
func TestDeleteOfASuspendedTenant(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	id, err := f.engine.Start(t.Context(), f.declared, Request{Kind: KindSuspend, Environment: "rotation", Tenants: []string{"cord"}, Options: Options{Message: "The rent is due."}})
	require.NoError(t, err)
	require.Equal(t, store.Promoted, f.ends(id).Outcome)
	suspended := f.tenant("cord")
	f.unwritten(func() {
		r := f.delete("cord")
		require.Equal(t, store.RolledBack, r.Outcome)
	})
	require.Equal(t, suspended.Live, f.tenant("cord").Live)
	f.deleted("cord")
	_, text := f.answer("cord.example")
	require.Contains(t, text, "The rent is due.")
	r := f.undelete("cord")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	f.serves("cord.example")
}

// unwritten lets nobody write a checkpoint while f runs.
func (f *farewell) unwritten(do func()) {
	bucket := f.engine.rooms.Checkpoints
	recipients := bucket.Recipients
	bucket.Recipients = nil
	defer func() { bucket.Recipients = recipients }()
	do()
}

// A tenant whose last checkpoint cannot be taken is opened again.
func TestDeleteNeedsACheckpoint(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	before := f.tenant("cord")
	f.unwritten(func() {
		r := f.delete("cord")
		require.Equal(t, store.RolledBack, r.Outcome)
		require.Contains(t, r.Reason, "encrypted to at least two recipients")
	})
	require.Equal(t, before.Live.Stable, f.tenant("cord").Live.Stable)
	require.Nil(t, f.tenant("cord").Live.Leaving)
	f.serves("cord.example")
	require.Zero(t, f.jobs())
}

// What fails when all but its end is done is taken back whole: the pool that went away is there again.
func TestDeleteIsTakenBackWhole(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	steps := procedures[KindDelete]
	t.Cleanup(func() { procedures[KindDelete] = steps })
	changed := slices.Clone(steps)
	changed[len(changed)-1].Do = func(ctx context.Context, w *Work) (string, error) {
		if _, err := leave(ctx, w); err != nil {
			return "", err
		}
		if f.pool("cord-0011223344") != nil {
			return "", failed("its pool is there still")
		}
		return "", failed("the lights went out")
	}
	procedures[KindDelete] = changed
	before := f.tenant("cord")
	r := f.delete("cord")
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "the lights went out")
	now := f.tenant("cord")
	before.Live.Mode, now.Live.Mode = "", "" // open either way
	require.Equal(t, before, now)
	pool, err := f.store.GetPool(t.Context(), "rotation", "cord-0011223344")
	require.NoError(t, err)
	require.Equal(t, 3, pool.Workers)
	f.serves("cord.example")
	require.Equal(t, 1, f.jobs(), "it finds nothing to do")
	wait, err := f.engine.purgeDue(t.Context(), purgeArgs{"rotation", "cord", r.PromotionID}, time.Now().Add(1000*time.Hour))
	require.NoError(t, err)
	require.Zero(t, wait)
}

// A tenant that cannot work goes on leaving, and what people read stays.
func TestUndeleteThatFails(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	f.deleted("cord")
	before := f.tenant("cord")
	steps := procedures[KindUndelete]
	t.Cleanup(func() { procedures[KindUndelete] = steps })
	for _, at := range []int{len(steps) - 2, len(steps) - 1} {
		changed := slices.Clone(steps)
		changed[at].Do = func(ctx context.Context, w *Work) (string, error) {
			if at == len(steps)-2 {
				if _, err := steps[at].Do(ctx, w); err != nil {
					return "", err
				}
			} else if err := w.change(ctx, func(l *store.Live) { l.Mode, l.Message, l.Cron = "open", "", l.Stable }); err != nil { // half of it
				return "", err
			}
			return "", failed("the flow sell failed")
		}
		procedures[KindUndelete] = changed
		r := f.undelete("cord")
		require.Equal(t, store.RolledBack, r.Outcome)
		require.Equal(t, before, f.tenant("cord"))
		require.Nil(t, f.pool("cord-0011223344"))
		status, text := f.answer("cord.example")
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, text, leavingMessage)
	}
	procedures[KindUndelete] = steps
	require.Equal(t, store.Promoted, f.undelete("cord").Outcome)
	f.serves("cord.example")
}

func TestDeletionsThatMakeNoSense(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	require.NoError(t, f.store.PutTenant(t.Context(), store.Tenant{Environment: "rotation", Name: "dune", Database: "dune", Hosts: []string{"dune.example"}, Group: "shared"}))
	require.NoError(t, f.store.PutTenant(t.Context(), store.Tenant{Environment: "rotation", Name: "bolt@look", Database: "bolt_look", Hosts: []string{}, Group: "shared"}))
	promotion, err := f.start(KindCheckpoint, "acme")
	require.NoError(t, err)
	require.Equal(t, store.Promoted, f.ends(promotion).Outcome)
	f.standsBeside("bolt", promotion)
	for says, d := range map[string]Deletion{
		"knows no tenant echo":                         {Tenant: "echo"},
		"has no data":                                  {Tenant: "dune"},
		"for 59m0s: from 1h to 365d":                   {Tenant: "acme", Grace: 59 * time.Minute},
		"for 8784h0m0s":                                {Tenant: "acme", Grace: 366 * 24 * time.Hour},
		"for -1h0m0s":                                  {Tenant: "acme", Grace: -time.Hour},
		"waybill restore list rotation/bolt":           {Tenant: "bolt"},
		"waybill restore drop rotation/bolt look":      {Tenant: "bolt@look"},
		"is no tenant: it stands beside bolt. Drop it": {Tenant: "bolt@look"},
	} {
		_, err := f.ask(d)
		require.ErrorIs(t, err, ErrBadRequest, says)
		require.ErrorContains(t, err, says)
	}
	f.book.refuses = errors.New("the server may not write this target down")
	_, err = f.ask(Deletion{Tenant: "acme"})
	require.ErrorIs(t, err, ErrBadRequest)
	require.ErrorContains(t, err, "Take it out first, by a pull request")
	f.engine.rooms.Declarations = nil
	_, err = f.ask(Deletion{Tenant: "acme"})
	require.ErrorContains(t, err, "cannot write the estate")
	_, err = f.engine.Undelete(t.Context(), f.declared, "rotation", "echo", "ann")
	require.ErrorContains(t, err, "knows no tenant echo")
	require.Zero(t, f.jobs())
	f.serves("acme.example")
}

// Where the estate has a tenant no more it goes from what the store knows, even where the server may not write the estate.
func TestDeleteOfATenantThatTheEstateDoesNotHave(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	f.declared.Tenants = f.declared.Tenants[:2]
	delete(f.book.written, "cord")
	leaving := f.deleted("cord")
	_, err := f.engine.Undelete(t.Context(), f.declared, "rotation", "cord", "ann")
	require.ErrorIs(t, err, ErrBadRequest)
	require.ErrorContains(t, err, "put its document back, with database rotated_cord and dedicated hosting")
	require.Equal(t, "cord", f.tenant("cord").Name)

	// Somebody else may come to have its host meanwhile: their routes go on.
	require.NoError(t, f.store.PutTenant(t.Context(), store.Tenant{Environment: "rotation", Name: "dune", Database: "dune", Hosts: []string{"cord.example"}, Group: "shared"}))
	require.NoError(t, f.engine.tellRouter(t.Context(), f.place, "rotation"))
	f.serves("acme.example")

	r := f.purge(f.due("cord"))
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.False(t, f.exists("rotated_cord"))
	_, err = f.engine.rooms.Checkpoints.Load(t.Context(), checkpoint.Ref{Environment: "rotation", Tenant: "cord", ID: leaving.Checkpoint})
	require.NoError(t, err)
}

// Steps that were done and not written down are done again, and each point within is where a server may be killed.
func TestLeavingHoweverOftenAServerDies(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	twice(t, KindDelete, KindUndelete, KindPurge)
	killed := kills(t, f.engine, "inside:checkpoint", "inside:leave", "inside:admit", "inside:undeclare", "inside:drop", "inside:files", "inside:forget")
	f.deleted("cord")
	require.Equal(t, 1, f.jobs())
	require.Nil(t, f.pool("cord-0011223344"))
	r := f.undelete("cord")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	f.serves("cord.example")
	f.deleted("cord")
	r = f.purge(f.due("cord"))
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	f.purged("cord", "rotated_cord")
	require.Empty(t, killed(), "not killed there")
	f.serves("acme.example")
}

// purged looks whether anything is left of a tenant that was.
func (f *farewell) purged(tenant, database string) {
	t := f.t
	t.Helper()
	_, err := f.store.Tenant(t.Context(), "rotation", tenant)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.False(t, f.exists(database))
	require.NotContains(t, f.book.written, tenant)
	found, err := filepath.Glob(filepath.Join(f.folders.dir, "*", "filestore", database))
	require.NoError(t, err)
	require.Empty(t, found)
	status, _ := f.answer(tenant + ".example")
	require.Equal(t, http.StatusNotFound, status)
	missing, err := f.place.Databases.Missing(t.Context(), []string{poolRole("rotation", tenant+"-0011223344"), updateRole("rotation", tenant), ownerRole("rotation", tenant)})
	require.NoError(t, err)
	require.Len(t, missing, 3, "no role of its own is left")
	checkpoints, err := f.engine.rooms.Checkpoints.List(t.Context(), "rotation", tenant)
	require.NoError(t, err)
	require.NotEmpty(t, checkpoints, "they are kept")
}

// damage overwrites the dump of a checkpoint.
func (f *farewell) damage(id string) {
	f.t.Helper()
	bucket := f.engine.rooms.Checkpoints.Bucket
	list := bucket.List(nil)
	for {
		object, err := list.Next(f.t.Context())
		if err != nil {
			break
		}
		if strings.Contains(object.Key, id) && strings.Contains(object.Key, "/dump/") && !strings.Contains(object.Key, "toc") {
			require.NoError(f.t, bucket.WriteAll(f.t.Context(), object.Key, []byte("nothing of use"), nil))
			return
		}
	}
	f.t.Fatal("nothing to damage")
}

func TestPurge(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	leaving := f.deleted("cord")
	args := purgeArgs{"rotation", "cord", leaving.Promotion}
	wait, err := f.engine.purgeDue(t.Context(), args, time.Now())
	require.NoError(t, err)
	require.InDelta(t, DefaultGrace.Hours(), wait.Hours(), 0.1, "not yet")

	// What stands beside it keeps it.
	f.due("cord")
	f.standsBeside("cord", leaving.Promotion)
	_, err = f.engine.purgeDue(t.Context(), args, time.Now())
	require.ErrorContains(t, err, "look stands beside cord")
	_, err = f.store.Pool.Exec(t.Context(), "delete from besides")
	require.NoError(t, err)

	// So does a last checkpoint that cannot be relied on, until there is another one.
	f.damage(leaving.Checkpoint)
	r := f.purge(args)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "waybill checkpoint create rotation/cord")
	require.True(t, f.exists("rotated_cord"))
	require.FileExists(t, filepath.Join(f.folder("cord"), file))
	require.Contains(t, f.book.written, "cord")
	require.NotNil(t, f.tenant("cord").Live.Leaving)
	var told string
	require.NoError(t, f.store.Pool.QueryRow(t.Context(), "select data::text from notices order by id desc limit 1").Scan(&told))
	require.Contains(t, told, "it could not be purged")
	id, err := f.start(KindCheckpoint, "cord")
	require.NoError(t, err)
	require.Equal(t, store.Promoted, f.ends(id).Outcome)
	require.NotEqual(t, leaving.Checkpoint, f.tenant("cord").Live.Leaving.Checkpoint)

	// Databases that a rollout left half-way go, and those of others stay.
	require.NoError(t, f.place.Databases.Create(t.Context(), "rotated_cord__rabcdefghij", ownerRole("rotation", "cord")))
	for name, owner := range map[string]string{"rotated_cord__sabcdefghij": ownerRole("rotation", "shared"), "rotated_cord__mine": ownerRole("rotation", "cord")} {
		require.NoError(t, f.place.Databases.Create(t.Context(), name, owner))
		t.Cleanup(func() { require.NoError(t, f.place.Databases.Drop(context.Background(), name)) })
	}
	r = f.purge(args)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.False(t, f.exists("rotated_cord__rabcdefghij"))
	require.True(t, f.exists("rotated_cord__sabcdefghij"))
	require.True(t, f.exists("rotated_cord__mine"))
	missing, err := f.place.Databases.Missing(t.Context(), []string{ownerRole("rotation", "cord")})
	require.NoError(t, err)
	require.Empty(t, missing, "it owns something else still")
	require.NoError(t, f.place.Databases.Drop(t.Context(), "rotated_cord__mine"))
	_, err = f.place.Databases.DropOwner(t.Context(), ownerRole("rotation", "cord"))
	require.NoError(t, err)
	f.purged("cord", "rotated_cord")
	require.NoDirExists(t, f.folders.DataDir("rotation", "cord"), "nor its sessions")
	wait, err = f.engine.purgeDue(t.Context(), args, time.Now())
	require.NoError(t, err)
	require.Zero(t, wait)
	history, err := f.store.Promotions(t.Context(), "rotation", 0, 10)
	require.NoError(t, err)
	require.Len(t, history, 4, "what was done about it stays")
	f.serves("acme.example")

	// From its checkpoint it is made anew.
	var options Options
	require.NoError(t, json.Unmarshal(history[0].Options, &options))
	id, err = f.engine.Start(t.Context(), f.declared, Request{Kind: KindCreate, Environment: "rotation", Tenants: []string{"cord"}, Release: "r1", By: "ann",
		Options: Options{Checkpoint: "rotation/cord/" + options.Checkpoint}})
	require.NoError(t, err)
	r = f.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, 1, f.count("rotated_cord", "orders"))
}

// A database that is somebody else's by now is not dropped.
func TestPurgeLeavesWhatIsSomebodyElses(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	f.deleted("cord")
	args := f.due("cord")
	require.NoError(t, f.place.Databases.EnsureOwner(t.Context(), "somebody_else"))
	require.NoError(t, f.place.Databases.HandOver(t.Context(), "rotated_cord", ownerRole("rotation", "cord"), "somebody_else"))
	folder := f.folder("cord")
	r := f.purge(args)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.True(t, f.exists("rotated_cord"))
	require.FileExists(t, filepath.Join(folder, file))
	steps, err := f.store.Steps(t.Context(), r.ID)
	require.NoError(t, err)
	require.Contains(t, steps[2].Detail, "belongs to role somebody_else")
}

// The job that was written down with the decision purges by itself.
func TestPurgeComesByItself(t *testing.T) {
	long.Test(t)
	f := newFarewell(t)
	f.deleted("cord")
	f.due("cord")
	_, err := f.store.Pool.Exec(t.Context(), "update river_job set scheduled_at = now() where kind = 'purge'")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, poll(ctx, 50*time.Millisecond, func() (bool, error) {
		_, err := f.store.ActiveRollout(ctx, "rotation", "cord")
		_, gone := f.store.Tenant(ctx, "rotation", "cord")
		return errors.Is(gone, store.ErrNotFound) && errors.Is(err, store.ErrNotFound), nil
	}))
	f.purged("cord", "rotated_cord")
	_, err = os.Stat(f.folders.DataDir("rotation", "shared"))
	require.NoError(t, err)
}
