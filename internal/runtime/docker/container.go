package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// stopTimeout is how long a process gets to finish by itself: above Odoo's limit_time_real (120 s),
// which a worker's request may use up.
const stopTimeout = 130 * time.Second

// process is what a container is made from. Its JSON, but for what is left out, is hashed: a
// container whose hash differs is not what is asked for.
type process struct {
	Environment string
	Group       string
	What        string            // the container's name within the environment
	Labels      map[string]string `json:"-"` // further ones; what counts of them shows in the command
	Image       string
	Command     []string
	Env         []string
	Mounts      []mount.Mount
	Ports       network.PortMap
	Alias       string
	ReadOnly    bool // root file system
	Pids        int64
	Memory      int64
	CPUs        float64 `json:",omitempty"`
	User        string

	// AnyImage leaves the image out of the hash: a router is not replaced for a newer binary.
	AnyImage bool `json:"-"`
}

// revision changes when containers are made in another way from the same process.
const revision = 1

func (p process) hash() (string, error) {
	if p.AnyImage {
		p.Image = ""
	} else if _, digest, ok := strings.Cut(p.Image, "@"); ok {
		p.Image = digest // wherever it was pulled from
	}
	return specHash(struct {
		Revision int
		Process  process
	}{revision, p})
}

// ensure makes and starts the container, or starts it again, or finds it running. A container
// made from something else is replaced. It does not wait for what runs inside.
func (r *Runtime) ensure(ctx context.Context, p process) (container.InspectResponse, error) {
	name := r.name(p.Environment, p.What)
	spec, err := p.hash()
	if err != nil {
		return container.InspectResponse{}, err
	}
	delay := backoff{first: 20 * time.Millisecond, most: time.Second}
	for range 20 {
		c, found, err := r.inspect(ctx, name)
		switch {
		case err != nil:
			return c, err
		case !found:
			err = r.create(ctx, name, spec, p)
		case c.Config.Labels[labelEnvironment] != p.Environment:
			return c, fmt.Errorf("container %s belongs to environment %s: rename one of the environments", name, c.Config.Labels[labelEnvironment])
		case c.State.Status == container.StateRemoving, c.State.Dead:
			err = errAgain
		case c.Config.Labels[labelSpec] != spec:
			r.log.InfoContext(ctx, "replacing container", "container", name, "was", c.Config.Labels[labelSpec], "is", spec)
			err = r.stopAndRemove(ctx, c.ID, name, stopTimeout)
		case c.State.Restarting:
			// It crashes again and again; what follows shall see a start of its own.
			if err = r.restartPolicy(ctx, c, container.RestartPolicyDisabled); err != nil {
				return c, err
			}
			zero := 0
			_, err = r.api.ContainerRestart(ctx, c.ID, client.ContainerRestartOptions{Timeout: &zero})
			err = r.fault(err, "restart container %s", name)
		case c.State.Paused:
			_, err = r.api.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
			err = r.fault(err, "resume container %s", name)
		case c.State.Running:
			return c, nil
		default:
			if err = r.restartPolicy(ctx, c, container.RestartPolicyDisabled); err == nil {
				err = r.start(ctx, c.ID, name, p)
			}
		}
		if err != nil && !errors.Is(err, errAgain) {
			return c, err
		}
		if err != nil {
			if err := wait(ctx, delay.next()); err != nil {
				return c, fmt.Errorf("start container %s: %w", name, err)
			}
		}
	}
	return container.InspectResponse{}, fmt.Errorf("start container %s: it does not stay as it was made; somebody else stops or removes it", name)
}

// restartPolicy sets whether the engine starts the container again. It does so only once a process
// was seen to work: one that ends before that shall stay, with its exit code.
func (r *Runtime) restartPolicy(ctx context.Context, c container.InspectResponse, mode container.RestartPolicyMode) error {
	if c.HostConfig != nil && c.HostConfig.RestartPolicy.Name == mode {
		return nil
	}
	_, err := r.api.ContainerUpdate(ctx, c.ID, client.ContainerUpdateOptions{RestartPolicy: &container.RestartPolicy{Name: mode}})
	if cerrdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "marked for removal") {
		return errAgain
	}
	return r.fault(err, "set the restart policy of container %s", strings.TrimPrefix(c.Name, "/"))
}

// errAgain says that another call changed the container meanwhile: look again.
var errAgain = errors.New("changed meanwhile")

func (r *Runtime) create(ctx context.Context, name, spec string, p process) error {
	image, err := r.ensureImage(ctx, p.Image)
	if err != nil {
		return err
	}
	mode, networking, err := r.networking(ctx, p)
	if err != nil {
		return err
	}
	all := map[string]string{
		labelInstance: r.opt.Instance, labelEnvironment: p.Environment, labelGroup: p.Group,
		labelSpec: spec, labelImage: p.Image,
	}
	maps.Copy(all, p.Labels)
	exposed := network.PortSet{}
	for port := range p.Ports {
		exposed[port] = struct{}{}
	}
	seconds, yes := int(stopTimeout.Seconds()), true
	res, err := r.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: image, User: p.User, Env: p.Env, Labels: all, ExposedPorts: exposed,
			// The image's own entrypoint (the official Odoo image has one that waits for a
			// server named db) must not come between.
			Entrypoint: p.Command[:1], Cmd: p.Command[1:],
			StopTimeout: &seconds,
		},
		HostConfig: &container.HostConfig{
			NetworkMode: mode,
			Mounts:      p.Mounts, PortBindings: p.Ports,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled}, // until it is seen to work
			Init:          &yes, ReadonlyRootfs: p.ReadOnly,
			CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
			Tmpfs:     map[string]string{"/tmp": "rw,nosuid,nodev,size=1g,mode=1777"},
			LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "20m", "max-file": "3"}},
			Resources: container.Resources{PidsLimit: &p.Pids, Memory: p.Memory, MemorySwap: p.Memory, NanoCPUs: int64(p.CPUs * 1e9), CPUShares: r.opt.CPUShares},
		},
		NetworkingConfig: networking,
	})
	switch {
	case cerrdefs.IsConflict(err): // another call was quicker
		return errAgain
	case cerrdefs.IsNotFound(err): // image or network went away meanwhile
		r.log.WarnContext(ctx, "creating container again", "container", name, "error", err)
		return errAgain
	case err != nil && strings.Contains(err.Error(), "bind source path does not exist"):
		return fmt.Errorf("create container %s: a folder to be mounted is missing on the Docker Engine's machine; the engine must run on this machine and see its folders: %w", name, err)
	case err != nil:
		return r.fault(err, "create container %s", name)
	}
	for _, w := range res.Warnings {
		r.log.WarnContext(ctx, "container made with a warning", "container", name, "warning", w)
	}
	return r.start(ctx, res.ID, name, p)
}

// networking joins the group's network, or none.
func (r *Runtime) networking(ctx context.Context, p process) (container.NetworkMode, *network.NetworkingConfig, error) {
	if r.opt.NoNetwork {
		return network.NetworkNone, nil, nil
	}
	id, err := r.ensureGroup(ctx, p.Environment, p.Group)
	if err != nil {
		return "", nil, err
	}
	endpoint := &network.EndpointSettings{NetworkID: id}
	if p.Alias != "" {
		endpoint.Aliases = []string{p.Alias}
	}
	name := r.networkName(p.Environment, p.Group)
	return container.NetworkMode(name), &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: endpoint}}, nil
}

// start starts a container that exists. One that cannot be started is removed: nothing half-done
// stays, and the next call begins afresh.
func (r *Runtime) start(ctx context.Context, id, name string, p process) error {
	_, err := r.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err == nil {
		return nil
	}
	if cerrdefs.IsNotFound(err) || strings.Contains(err.Error(), "marked for removal") {
		return errAgain
	}
	fault := r.startFault(ctx, err, name, p)
	if !away(err) && ctx.Err() == nil {
		if rerr := r.remove(ctx, id, name); rerr != nil {
			return errors.Join(fault, rerr)
		}
	}
	return fault
}

func (r *Runtime) startFault(ctx context.Context, err error, name string, p process) error {
	msg := err.Error()
	switch {
	case strings.Contains(msg, "address already in use"), strings.Contains(msg, "port is already allocated"):
		return r.portFault(ctx, err, name, p.Ports)
	case strings.Contains(msg, "executable file not found"), strings.Contains(msg, "no such file or directory") && strings.Contains(msg, "exec"):
		return fmt.Errorf("start container %s: image %s has no command %q: is it an Odoo image?: %w", name, p.Image, p.Command[0], err)
	case strings.Contains(msg, "cannot assign requested address"):
		return fmt.Errorf("start container %s: this machine has none of the addresses that it shall listen on: %w", name, err)
	}
	return r.fault(err, "start container %s", name)
}

// stopAndRemove stops gracefully, up to grace, and removes. Absent is fine.
func (r *Runtime) stopAndRemove(ctx context.Context, id, name string, grace time.Duration) error {
	seconds := int(math.Ceil(max(grace, 0).Seconds()))
	_, err := r.api.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return r.fault(err, "stop container %s", name)
	}
	return r.remove(ctx, id, name)
}

// remove kills and removes, and returns once the container is gone. Absent is fine.
func (r *Runtime) remove(ctx context.Context, id, name string) error {
	delay := backoff{first: 20 * time.Millisecond, most: time.Second}
	for {
		_, err := r.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil && !cerrdefs.IsConflict(err) { // conflict: another call removes it
			return r.fault(err, "remove container %s", name)
		}
		if _, err := r.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); cerrdefs.IsNotFound(err) {
			return nil
		}
		if err := wait(ctx, delay.next()); err != nil {
			return fmt.Errorf("remove container %s: %w", name, err)
		}
	}
}

func bind(source, target string, readOnly bool) mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: filepath.Clean(source), Target: target, ReadOnly: readOnly}
}

func (r *Runtime) user() string {
	return strconv.Itoa(r.opt.UID) + ":" + strconv.Itoa(r.opt.GID)
}
