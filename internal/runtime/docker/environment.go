package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// Where the router's folders are inside its container.
const (
	routerRun = "/run/waybill/router"
	routerTLS = "/etc/waybill/tls"
)

// removalGrace is what processes get when their whole environment goes away.
const removalGrace = 10 * time.Second

// EnsureEnvironment makes the environment's network and router and returns once the router takes
// connections and orders. A running router is left alone, unless its addresses have changed;
// certificate and key are brought up to date in its folder.
func (r *Runtime) EnsureEnvironment(ctx context.Context, env runtime.Environment) error {
	if err := runtime.CheckName("environment", env.Name); err != nil {
		return err
	}
	p, err := r.router(ctx, env)
	if err != nil {
		return fmt.Errorf("environment %s: %w", env.Name, err)
	}
	if err := r.owner.Make(r.routerDir(env.Name), 0o700); err != nil {
		return fmt.Errorf("environment %s: %w", env.Name, err)
	}
	if _, err := r.ensure(ctx, p); err != nil {
		return fmt.Errorf("environment %s: router: %w", env.Name, err)
	}
	if err := r.rejoinRouter(ctx, env.Name); err != nil {
		return fmt.Errorf("environment %s: %w", env.Name, err)
	}
	if _, err := r.await(ctx, r.name(env.Name, p.What), r.routerListens(env)); err != nil {
		return fmt.Errorf("environment %s: router: %w", env.Name, err)
	}
	return nil
}

// router is what the environment's router is made from.
func (r *Runtime) router(ctx context.Context, env runtime.Environment) (process, error) {
	at, err := binding(ctx, env.HTTP)
	if err != nil {
		return process{}, err
	}
	p := process{
		Environment: env.Name, Group: sharedGroup, What: roleRouter,
		Labels: map[string]string{labelRole: roleRouter},
		Command: []string{
			"/waybill", "router", "--http", fmt.Sprintf(":%d", routerPort),
			"--admin", routerRun + "/" + adminSocket, "--state", routerRun,
		},
		Env:      []string{"HOME=" + routerRun},
		Mounts:   []mount.Mount{bind(r.routerDir(env.Name), routerRun, false)},
		Ports:    network.PortMap{network.MustParsePort(fmt.Sprintf("%d/tcp", routerPort)): {at}},
		ReadOnly: true, AnyImage: true,
		Pids: 1024, User: r.user(),
	}
	if env.HTTPS != "" {
		if at, err = binding(ctx, env.HTTPS); err != nil {
			return process{}, err
		}
		if err := r.copyCertificate(env); err != nil {
			return process{}, err
		}
		p.Ports[network.MustParsePort(fmt.Sprintf("%d/tcp", routerTLSPort))] = []network.PortBinding{at}
		p.Mounts = append(p.Mounts, bind(r.tlsDir(env.Name), routerTLS, true))
		p.Command = append(p.Command, "--https", fmt.Sprintf(":%d", routerTLSPort),
			"--certificate", routerTLS+"/cert.pem", "--key", routerTLS+"/key.pem")
	}
	// The image is asked for only where a router has to be made: the registry may be away.
	spec, err := p.hash()
	if err != nil {
		return process{}, err
	}
	c, found, err := r.inspect(ctx, r.name(env.Name, roleRouter))
	if err != nil {
		return process{}, err
	}
	if found && c.Config.Labels[labelSpec] == spec {
		p.Image = c.Config.Labels[labelImage]
		return p, nil
	}
	if r.opt.RouterImage == nil {
		return process{}, errors.New("the runtime was not told which image the router has")
	}
	if p.Image, err = r.opt.RouterImage(ctx); err != nil {
		return process{}, fmt.Errorf("image of the router: %w", err)
	}
	return p, nil
}

// copyCertificate puts certificate and key where the router's user can read them. A folder is
// mounted and not the files, so that the router sees a renewed certificate.
func (r *Runtime) copyCertificate(env runtime.Environment) error {
	files := runtime.Files{}
	for name, path := range map[string]string{"cert.pem": env.Certificate, "key.pem": env.Key} {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("HTTPS at %s needs a certificate and a key in PEM files: %w", env.HTTPS, err)
		}
		files[name] = content
	}
	return r.owner.Write(r.tlsDir(env.Name), files, true)
}

// rejoinRouter connects the router to the networks of dedicated groups, which one that was
// replaced has lost.
func (r *Runtime) rejoinRouter(ctx context.Context, environment string) error {
	r.networks.Lock()
	defer r.networks.Unlock()
	networks, err := r.listNetworks(ctx, labels{labelEnvironment: environment})
	if err != nil {
		return err
	}
	for _, n := range networks {
		if err := r.joinRouter(ctx, environment, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// routerListens is content when the router takes orders and connections.
func (r *Runtime) routerListens(env runtime.Environment) probe {
	ports := []int{routerPort}
	if env.HTTPS != "" {
		ports = append(ports, routerTLSPort)
	}
	return func(ctx context.Context, c container.InspectResponse) error {
		if err := dials(ctx, "unix", r.sockets.path(r.routerDir(env.Name))); err != nil {
			return err
		}
		for _, port := range ports {
			at, err := address(c, port)
			if err != nil {
				return err
			}
			if err := listensTCP(ctx, at); err != nil {
				return err
			}
		}
		return nil
	}
}

// RemoveEnvironment takes away the environment's containers, networks and files. What Odoo wrote
// into the data folders (filestore, sessions) stays. Absent is fine.
func (r *Runtime) RemoveEnvironment(ctx context.Context, environment string) error {
	if err := runtime.CheckName("environment", environment); err != nil {
		return err
	}
	all, err := r.list(ctx, labels{labelEnvironment: environment})
	if err != nil {
		return fmt.Errorf("remove environment %s: %w", environment, err)
	}
	for _, c := range all {
		if job := c.Labels[labelJob]; job != "" {
			if err := r.RemoveJob(ctx, environment, job); err != nil {
				return fmt.Errorf("remove environment %s: %w", environment, err)
			}
		}
	}
	if err := r.stopAll(ctx, all, removalGrace); err != nil {
		return fmt.Errorf("remove environment %s: %w", environment, err)
	}
	r.networks.Lock()
	defer r.networks.Unlock()
	if err := r.removeNetworks(ctx, labels{labelEnvironment: environment}); err != nil {
		return fmt.Errorf("remove environment %s: %w", environment, err)
	}
	dir := r.environmentDir(environment)
	for _, part := range []string{"router", "tls", "pools", "jobs"} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			return fmt.Errorf("remove environment %s: remove its files: %w", environment, err)
		}
	}
	// Empty folders go too; one with data in it refuses, as it shall.
	groups, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove environment %s: %w", environment, err)
	}
	for _, g := range groups {
		_ = os.Remove(filepath.Join(dir, "data", g.Name()))
	}
	_ = os.Remove(filepath.Join(dir, "data"))
	_ = os.Remove(dir)
	return nil
}

// stopAll stops and removes containers, side by side so that the grace passes once.
func (r *Runtime) stopAll(ctx context.Context, all []container.Summary, grace time.Duration) error {
	var g errgroup.Group // without a shared context: one that fails must not cut the others short
	for _, c := range all {
		g.Go(func() error {
			name := c.ID
			if len(c.Names) > 0 {
				name = strings.TrimPrefix(c.Names[0], "/")
			}
			return r.stopAndRemove(ctx, c.ID, name, grace)
		})
	}
	return g.Wait()
}
