package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// networkName is the network of a group: the environment's for shared pools, its own for a
// dedicated tenant, so that its processes cannot reach those of another. Of the router's networks the first by name is its way
// out, which its published ports go through; where that becomes another one the engine cuts every connection. So the
// environment's comes before those of tenants, which come and go.
func (r *Runtime) networkName(environment, group string) string {
	if group == sharedGroup {
		return r.name(environment, "shared")
	}
	return r.name(environment, "tenant-"+group)
}

func (r *Runtime) listNetworks(ctx context.Context, want labels) ([]network.Summary, error) {
	res, err := r.api.NetworkList(ctx, client.NetworkListOptions{Filters: r.filters(want)})
	if err != nil {
		return nil, r.fault(err, "list networks")
	}
	return res.Items, nil
}

// ensureNetwork makes the group's network and returns its id. The caller holds r.networks.
func (r *Runtime) ensureNetwork(ctx context.Context, environment, group string) (string, error) {
	name := r.networkName(environment, group)
	want := labels{labelEnvironment: environment, labelGroup: group}
	existing, err := r.listNetworks(ctx, want)
	if err != nil {
		return "", err
	}
	if len(existing) == 0 {
		_, err := r.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{
			Driver: "bridge",
			Labels: map[string]string{labelInstance: r.opt.Instance, labelEnvironment: environment, labelGroup: group},
		})
		if err != nil && strings.Contains(err.Error(), "could not find an available") {
			return "", fmt.Errorf("create network %s: the Docker Engine has no free address range left; remove unused networks (docker network prune) or widen default-address-pools in /etc/docker/daemon.json: %w", name, err)
		}
		if err != nil && !cerrdefs.IsConflict(err) {
			return "", r.fault(err, "create network %s", name)
		}
		if existing, err = r.listNetworks(ctx, want); err != nil {
			return "", err
		}
		if len(existing) == 0 {
			return "", fmt.Errorf("create network %s: a network of that name exists that is not of this Waybill: rename or remove it", name)
		}
	}
	// Two processes may have made one each: the engine does not refuse that. All keep the same one.
	slices.SortFunc(existing, func(a, b network.Summary) int { return strings.Compare(a.ID, b.ID) })
	for _, n := range existing[1:] {
		if _, err := r.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
			r.log.WarnContext(ctx, "a second network of one name is in use and stays", "network", name, "id", n.ID, "error", err)
		}
	}
	return existing[0].ID, nil
}

// joinRouter connects the environment's router, where there is one, to a network.
func (r *Runtime) joinRouter(ctx context.Context, environment, networkID string) error {
	name := r.name(environment, roleRouter)
	c, found, err := r.inspect(ctx, name)
	if err != nil || !found {
		return err
	}
	for _, e := range c.NetworkSettings.Networks {
		if e != nil && e.NetworkID == networkID {
			return nil
		}
	}
	_, err = r.api.NetworkConnect(ctx, networkID, client.NetworkConnectOptions{Container: c.ID, EndpointConfig: &network.EndpointSettings{}})
	if err != nil && strings.Contains(err.Error(), "already exists") {
		return nil // lost a race
	}
	return r.fault(err, "connect router %s to network %s", name, networkID)
}

// ensureGroup makes the group's network, with the router in it, and returns its id.
func (r *Runtime) ensureGroup(ctx context.Context, environment, group string) (string, error) {
	r.networks.Lock()
	defer r.networks.Unlock()
	id, err := r.ensureNetwork(ctx, environment, group)
	if err != nil {
		return "", err
	}
	return id, r.joinRouter(ctx, environment, id)
}

// dropGroup takes away a dedicated group's network once no pool or job is left in it.
func (r *Runtime) dropGroup(ctx context.Context, environment, group string) error {
	if group == sharedGroup || group == "" {
		return nil
	}
	r.networks.Lock()
	defer r.networks.Unlock()
	members, err := r.list(ctx, labels{labelEnvironment: environment, labelGroup: group})
	if err != nil || len(members) > 0 {
		return err
	}
	return r.removeNetworks(ctx, labels{labelEnvironment: environment, labelGroup: group})
}

// removeNetworks takes away networks; whatever is still in them is disconnected first.
func (r *Runtime) removeNetworks(ctx context.Context, want labels) error {
	networks, err := r.listNetworks(ctx, want)
	if err != nil {
		return err
	}
	for _, n := range networks {
		res, err := r.api.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return r.fault(err, "inspect network %s", n.Name)
		}
		for id := range res.Network.Containers {
			_, err := r.api.NetworkDisconnect(ctx, n.ID, client.NetworkDisconnectOptions{Container: id, Force: true})
			if err != nil && !cerrdefs.IsNotFound(err) && !strings.Contains(err.Error(), "is not connected") {
				return r.fault(err, "disconnect container %.12s from network %s", id, n.Name)
			}
		}
		if _, err := r.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
			return r.fault(err, "remove network %s", n.Name)
		}
	}
	return nil
}
