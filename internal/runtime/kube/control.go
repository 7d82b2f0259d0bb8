package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waybill-dev/waybill/internal/router"
)

// Router gives control of the environment's router.
func (r *Runtime) Router(environment string) router.Control {
	return &control{runtime: r, environment: environment}
}

// control gives the orders of a router.Control to the pods of an environment's router, each of which
// must take them. The table is also kept in the cluster, for a router that begins anew.
type control struct {
	runtime     *Runtime
	environment string
}

var _ router.Control = (*control)(nil)

// each calls f with the router in every pod that runs.
func (c *control) each(ctx context.Context, f func(router.Control) error) error {
	r := c.runtime
	namespace := r.namespace(c.environment, sharedGroup)
	var pair corev1.Secret
	found, err := r.get(ctx, kindSecret, namespace, routerName, &pair)
	if err != nil {
		return err
	}
	pods, err := r.podsOf(ctx, namespace, labels{labelRole: roleRouter})
	if err != nil {
		return err
	}
	asked := 0
	for _, p := range pods {
		if !found || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" {
			continue
		}
		one, err := router.DialRemote(net.JoinHostPort(p.Status.PodIP, strconv.Itoa(adminPort)), pair.Data[router.PairCertificate], pair.Data[router.PairKey])
		if err != nil {
			return err
		}
		if err := f(one); err != nil {
			return err
		}
		asked++
	}
	if asked == 0 {
		return fmt.Errorf("no pod of the router runs in namespace %s: %w", namespace, router.ErrNotRunning)
	}
	return nil
}

// Apply implements router.Control.
func (c *control) Apply(ctx context.Context, table router.Table) error {
	if err := table.Validate(); err != nil {
		return err
	}
	if err := c.each(ctx, func(one router.Control) error {
		err := one.Apply(ctx, table)
		if stale := new(router.StaleError); errors.As(err, &stale) && stale.InForce == table.Generation {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	// After the routers, which refuse a stale one: what is kept is never older than what was in force.
	m := c.runtime.render(c.environment, sharedGroup)
	kept, err := m.table(table)
	if err != nil {
		return err
	}
	if _, err := c.runtime.apply(ctx, kept); err != nil {
		return err
	}
	return c.routes(ctx, m, table)
}

// routes tells Traefik the hosts, where there is one.
func (c *control) routes(ctx context.Context, m render, table router.Table) error {
	if c.runtime.opt.Traefik.Namespace == "" {
		return nil
	}
	var hosts []string
	for _, t := range table.Tenants {
		hosts = append(hosts, t.Hosts...)
	}
	if len(hosts) == 0 {
		return c.runtime.remove(ctx, kindIngressRoute, m.namespace, routerName)
	}
	return c.runtime.applyAll(ctx, m.routes(c.runtime.opt.Traefik, hosts)...)
}

// Drain implements router.Control.
func (c *control) Drain(ctx context.Context, tenant string, limit time.Duration) (cut int, err error) {
	err = c.each(ctx, func(one router.Control) error {
		n, err := one.Drain(ctx, tenant, limit)
		cut += n
		return err
	})
	return cut, err
}

// CloseWebsockets implements router.Control.
func (c *control) CloseWebsockets(ctx context.Context, tenant, keep string) error {
	return c.each(ctx, func(one router.Control) error { return one.CloseWebsockets(ctx, tenant, keep) })
}

// Stats implements router.Control. There is one router for an environment; while one replaces another
// the counts are those of the one that began last.
func (c *control) Stats(ctx context.Context) (stats router.Stats, err error) {
	err = c.each(ctx, func(one router.Control) error {
		s, err := one.Stats(ctx)
		if err == nil && s.Started.After(stats.Started) {
			stats = s
		}
		return err
	})
	return stats, err
}
