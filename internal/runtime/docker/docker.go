// Package docker runs pools, jobs and the router as containers of a Docker Engine on this
// machine. It implements runtime.Runtime and knows nothing of tenants, databases or promotions.
//
// Everything it makes is named waybill-<instance>-<environment>-<what> and labelled, so that a
// call can be repeated after a crash: it finds by name what an earlier call has made. Nothing is
// remembered in the process.
//
// Folders of this machine are mounted into the containers, so the engine must be a local one.
package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/folder"
)

var _ runtime.Runtime = (*Runtime)(nil)

// Options are what a Runtime needs to know.
type Options struct {
	Instance string // distinguishes the Waybill servers that share one engine; a DNS label of at most 30 characters
	DataDir  string // absolute folder of this machine; environments/ is kept below it
	Host     string // the engine's socket, unix:///…; empty: DOCKER_HOST, else /var/run/docker.sock

	// RouterImage names the image of the waybill binary, as the engine can pull it. It is called
	// only when a router has to be made. selfimage.Push makes one.
	RouterImage func(ctx context.Context) (ref string, err error)

	RegistryAuth      authn.Keychain // credentials for pulling; nil: none
	PostgresSocketDir string         // mounted at /run/waybill/pg; empty: not mounted
	UID, GID          int            // of the processes and of their files
	NoNetwork         bool           // containers reach nothing but what is mounted: for copies of production, which must not send anything
	CPUShares         int64          // relative weight of each container where CPUs are scarce; 0: the engine's default, 1024
	Log               *slog.Logger   // nil: silent
}

// Runtime is a runtime.Runtime on a Docker Engine. Close it when done.
type Runtime struct {
	opt Options
	api *client.Client
	log *slog.Logger

	// networks serialises making and taking away networks within this process: the engine
	// itself accepts two networks of one name.
	networks sync.Mutex
	owner    *folder.Owner
	sockets  socketFolders
}

// New returns a Runtime. It does not talk to the engine yet: an engine that is away shows as
// runtime.ErrUnavailable in the calls that need it.
func New(opt Options) (*Runtime, error) {
	if !instanceName.MatchString(opt.Instance) {
		return nil, fmt.Errorf("docker runtime: instance %q: expected 1 to 30 of a-z, 0-9 and -, beginning and ending with a letter or digit", opt.Instance)
	}
	if !filepath.IsAbs(opt.DataDir) {
		return nil, fmt.Errorf("docker runtime: data folder %q: expected an absolute path", opt.DataDir)
	}
	if opt.UID <= 0 || opt.GID <= 0 {
		return nil, fmt.Errorf("docker runtime: user %d:%d: containers do not run as root; give an unprivileged user and group", opt.UID, opt.GID)
	}
	if euid := os.Geteuid(); euid != 0 && euid != opt.UID {
		return nil, fmt.Errorf("docker runtime: this process runs as user %d and cannot give files to user %d: run it as root or let the containers run as user %d", euid, opt.UID, euid)
	}
	if opt.Host == "" {
		opt.Host = os.Getenv(client.EnvOverrideHost)
	}
	if opt.Host == "" {
		opt.Host = client.DefaultDockerHost
	}
	if !strings.HasPrefix(opt.Host, "unix://") {
		return nil, fmt.Errorf("docker runtime: engine at %s: folders of this machine are mounted into containers, so the engine must be on this machine; give DOCKER_HOST as unix:///path/docker.sock", opt.Host)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	api, err := client.New(client.WithHost(opt.Host))
	if err != nil {
		return nil, fmt.Errorf("docker runtime: client for %s: %w", opt.Host, err)
	}
	return &Runtime{opt: opt, api: api, log: opt.Log, owner: &folder.Owner{UID: opt.UID, GID: opt.GID}}, nil
}

// Close lets go of connections and folders. Containers stay as they are.
func (r *Runtime) Close() error {
	return errors.Join(r.sockets.close(), r.api.Close())
}

// Leftovers lists every container and network of this instance, by name. It is empty once every
// environment was removed.
func (r *Runtime) Leftovers(ctx context.Context) ([]string, error) {
	var names []string
	containers, err := r.list(ctx, labels{})
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		names = append(names, "container "+strings.TrimPrefix(slices.Concat(c.Names, []string{c.ID})[0], "/"))
	}
	networks, err := r.listNetworks(ctx, labels{})
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		names = append(names, "network "+n.Name)
	}
	slices.Sort(names)
	return names, nil
}
