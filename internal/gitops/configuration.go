package gitops

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

func configuration(declared *estate.Estate, env estate.Environment, promoted string) store.Configuration {
	return store.Configuration{Environment: env.Name, Wanted: promotion.ConfigurationOf(env).Hash(), Commit: declared.Commit, Promotion: promoted}
}

// configure starts what Git wants of the environments' configurations and has not been started: each once. One that went
// back is not started again before Git says something else, or a person asks for it.
func (f *Follower) configure(ctx context.Context, declared *estate.Estate) (busy bool, err error) {
	list, err := f.Store.Configurations(ctx)
	if err != nil {
		return false, err
	}
	acted := map[string]store.Configuration{}
	for _, c := range list {
		acted[c.Environment] = c
	}
	var errs []error
	for _, env := range declared.Environments {
		if acted[env.Name].Wanted == promotion.ConfigurationOf(env).Hash() && acted[env.Name].Problem == "" {
			continue
		}
		waits, err := f.configureOne(ctx, declared, env)
		busy = busy || waits
		errs = append(errs, err)
	}
	return busy, errors.Join(errs...)
}

func (f *Follower) configureOne(ctx context.Context, declared *estate.Estate, env estate.Environment) (waits bool, err error) {
	if open, err := f.Store.Open(ctx, env.Name); err != nil {
		return false, err
	} else if open { // what it leaves behind is not known yet
		return true, f.Store.SetConfigurationProblem(ctx, env.Name, "it waits for the end of another promotion")
	}
	changed, err := f.Engine.Differs(ctx, env)
	if err != nil {
		return false, err
	}
	if len(changed) == 0 {
		return false, f.Store.In(ctx, func(tx pgx.Tx) error {
			return f.Store.PutConfiguration(ctx, tx, configuration(declared, env, ""))
		})
	}
	by, err := f.asker(ctx, declared, env.File())
	if err != nil {
		return false, err
	}
	id, err := f.Engine.StartWith(ctx, declared, promotion.Request{Kind: promotion.KindConfiguration, Environment: env.Name, By: by},
		func(tx pgx.Tx, id string) error {
			return f.Store.PutConfiguration(ctx, tx, configuration(declared, env, id))
		})
	switch {
	case errors.Is(err, store.ErrTenantBusy):
		return true, f.Store.SetConfigurationProblem(ctx, env.Name, "it waits for the end of another promotion")
	case errors.Is(err, promotion.ErrBadRequest):
		return false, f.Store.SetConfigurationProblem(ctx, env.Name, oneLine(strings.TrimPrefix(err.Error(), promotion.ErrBadRequest.Error()+": ")))
	case err != nil:
		return false, err
	}
	f.Log.Info("Git asks for another configuration", "environment", env.Name, "changed", strings.Join(changed, ", "), "commit", declared.Commit, "promotion", id)
	return false, nil
}

// unappliable says what an estate changes of tenants that are served and that no new pool can bring about: where their
// data is. Empty: nothing.
func (f *Follower) unappliable(ctx context.Context, before string, after *estate.Estate) (string, error) {
	if before == "" {
		return "", nil
	}
	old, err := f.Declared(ctx)
	if err != nil {
		return "", nil //nolint:nilerr // what is in force cannot be read by this version any more: there is nothing to compare with
	}
	served, err := f.Store.Tenants(ctx, "")
	if err != nil {
		return "", err
	}
	for _, t := range served {
		wasIn, known := old.Environment(t.Environment)
		isIn, stays := after.Environment(t.Environment)
		if t.ServingRelease == "" || !known || !stays {
			continue
		}
		if wasIn.Database.URL != isIn.Database.URL {
			return fmt.Sprintf("%s: database.url of Environment %s has changed, and the data of its tenants is where it was: no new pool can bring it there. Put it back", isIn.File(), t.Environment), nil
		}
		was, is := tenantOf(old, t), tenantOf(after, t)
		if was == nil || is == nil {
			continue
		}
		for _, field := range []struct{ name, was, is string }{{"database", was.Database, is.Database}, {"hosting", string(was.Hosting), string(is.Hosting)}} {
			if field.was != field.is {
				return fmt.Sprintf("%s of Tenant %s in %s has changed from %s to %s, and its data is where it was: no new pool can bring it there. Put it back", field.name, t.Name, t.Environment, field.was, field.is), nil
			}
		}
	}
	return "", nil
}

func tenantOf(e *estate.Estate, t store.Tenant) *estate.Tenant {
	for i := range e.Tenants {
		if e.Tenants[i].Environment == t.Environment && e.Tenants[i].Name == t.Name {
			return &e.Tenants[i]
		}
	}
	return nil
}
