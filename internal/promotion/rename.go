package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/store"
)

// A tenant is renamed to its people: it gets other host names. Its name in the estate is its identity, by which ledger, checkpoints
// and evidence know it, and stays.

// RenameTenant starts it.
func (e *Engine) RenameTenant(ctx context.Context, declared *estate.Estate, environment, tenant string, hosts []string, by string) (string, error) {
	snapshot, err := takeSnapshot(declared, Request{Environment: environment, Tenants: []string{tenant}})
	if err != nil {
		return "", err
	}
	living, err := e.rooms.Store.Tenant(ctx, environment, tenant)
	if errors.Is(err, store.ErrNotFound) || err == nil && living.ServingRelease == "" {
		return "", badRequest("nothing serves %s/%s yet: write its hosts into its document of the estate", environment, tenant)
	} else if err != nil {
		return "", err
	}
	if len(hosts) == 0 {
		return "", badRequest("under which host names shall people reach %s/%s? Give them with --host, the one for links in mails first", environment, tenant)
	}
	if slices.Equal(living.Hosts, hosts) {
		return "", badRequest("%s/%s is reached under %s already", environment, tenant, strings.Join(hosts, ", "))
	}
	if err := e.hostsFree(ctx, environment, tenant, hosts); err != nil {
		return "", err
	}
	q := Request{Kind: KindRename, Environment: environment, Tenants: []string{tenant}, By: by, Options: Options{Hosts: hosts}, hosts: living.Hosts}
	after := declared
	if before := snapshot.Tenants[0].Hosts; !slices.Equal(before, hosts) { // else a person has written it, or a pull request
		if after, err = e.tryChange(ctx, declared, hostsChange(environment, tenant, hosts)); err != nil {
			return "", err
		}
		q.Options.HostsBefore = before
	}
	return e.Start(ctx, after, q)
}

// hostsFree looks at those that the estate does not know of: what stands beside a tenant, and what it no longer declares.
func (e *Engine) hostsFree(ctx context.Context, environment, tenant string, hosts []string) error {
	known, err := e.rooms.Store.Tenants(ctx, environment)
	if err != nil {
		return err
	}
	for _, t := range known {
		for _, host := range hosts {
			if t.Name != tenant && slices.Contains(t.Hosts, host) {
				return badRequest("host %s leads to %s; nothing was touched", host, t.Name)
			}
		}
	}
	return nil
}

func hostsChange(environment, tenant string, hosts []string) estate.Change {
	list, _ := json.Marshal(hosts) // is YAML too
	return estate.Change{Environment: environment, Tenant: tenant, Set: map[string]string{"hosts": string(list)}}
}

// readdressed: the estate does not say it yet.
var readdressed condition = func(w *Work) (bool, string) {
	return w.options.HostsBefore != nil, "the estate says so already"
}

func admitRename(_ context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	if w.state.Live.Stable == "" {
		return "", failed("nothing serves %s", w.tenant.Name)
	}
	w.rememberOld()
	w.memory.Release, w.memory.NewPool = w.state.ServingRelease, w.state.Live.Stable
	w.memory.OldHosts, w.memory.NotAdmitted = w.state.Hosts, false
	return fmt.Sprintf("from %s to %s", strings.Join(w.state.Hosts, ", "), strings.Join(w.options.Hosts, ", ")), nil
}

func declareHosts(ctx context.Context, w *Work) (string, error) {
	w.memory.Declaring = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	return w.writeChange(ctx, hostsChange(w.rollout.Environment, w.tenant.Name, w.options.Hosts), "%s: tenant %s is reached under %s", w.options.Hosts[0])
}

func undeclareHosts(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Declaring {
		return "nothing was written", nil
	}
	return w.writeChange(ctx, hostsChange(w.rollout.Environment, w.tenant.Name, w.options.HostsBefore), "%s: tenant %s stays under %s", w.options.HostsBefore[0])
}

func readdress(ctx context.Context, w *Work) (string, error) {
	return w.addressAs(ctx, w.memory.OldHosts, w.options.Hosts)
}

func addressAsBefore(ctx context.Context, w *Work) (string, error) {
	if w.memory.OldHosts == nil {
		return "", nil
	}
	return w.addressAs(ctx, w.options.Hosts, w.memory.OldHosts)
}

// addressAs tells the pool first: whom the router lets through under a host, the pool shall know by it.
func (w *Work) addressAs(ctx context.Context, from, to []string) (string, error) {
	was := w.address(from)
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.Hosts = to }); err != nil {
		return "", err
	}
	generation, err := w.tellPools(ctx, w.place, w.rollout.Environment)
	if err != nil {
		return "", err
	}
	if !w.state.Live.Suspended { // else nobody is let in, and it is told when it is opened
		if err := w.seen(ctx, w.memory.NewPool, generation); err != nil {
			return "", fmt.Errorf("tell pool %s the hosts: %w", w.memory.NewPool, err)
		}
	}
	w.fault("inside:rename")
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	moved := false
	err = w.inDatabase(ctx, func(db *pgx.Conn) (err error) {
		moved, err = odoo.Readdress(ctx, db, was, w.address(to))
		return err
	})
	detail := "people reach it under " + strings.Join(to, ", ")
	if err == nil && !moved {
		detail += "; links in its mails stay as they are: web.base.url was set to something else"
	}
	return detail, err
}
