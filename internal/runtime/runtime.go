// Package runtime is what the procedure asks of the place where Odoo runs: pools, one-off jobs
// and routes. Every name is deterministic and every call idempotent, so that a step that was
// killed can simply be done again: it starts the work or observes the one already under way.
package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/router"
)

// ErrNotFound is returned for a pool or a job that does not exist.
var ErrNotFound = errors.New("not found")

// ErrUnavailable is returned when the place itself, or the registry that it pulls from, does not
// answer. It says nothing of pools and jobs, which go on without it: try again later.
var ErrUnavailable = errors.New("runtime unavailable")

// Environment is what a runtime needs to know of an environment before any pool runs in it.
type Environment struct {
	Name        string
	HTTP        string // address on the host where the router listens, for example "127.0.0.1:8069"
	HTTPS       string // likewise with TLS; empty: none
	Certificate string // file on the host; with HTTPS
	Key         string // file on the host; with HTTPS
}

// Pool is the processes of one release in one environment.
type Pool struct {
	Environment string
	Name        string  // DNS label, unique in the environment
	Group       string  // "shared", or the tenant's name where it is dedicated: own data folder and network
	Image       string  // repository@digest, as the runtime can pull it
	Workers     int     // HTTP worker processes; 0: one threaded process
	Memory      int64   // limit in bytes on each process's container; 0: none
	CPUs        float64 // that each process may use at once; 0: no limit
	Files       Files   // mounted read-only at /etc/waybill
	Web         Scale
}

// Scale is how many pods run a pool's web process, where the runtime can have several. Others run one.
type Scale struct {
	Min int // so many always; 0 is one
	Max int // an autoscaler adds pods up to so many; 0: there is none
	CPU int // percent of Pool.CPUs that the pods use on average, beyond which one is added
}

// Files are contents by file name (no folders): configuration and secrets of a container.
type Files map[string][]byte

// Job is a container that runs to its end once.
type Job struct {
	Environment string
	Name        string // DNS label, unique in the environment, the same for the same piece of work
	Group       string
	Image       string
	Command     []string
	Memory      int64 // limit in bytes; 0: none
	Files       Files // mounted read-only at /etc/waybill
}

// JobState is what is known of a job. Out holds the files that it wrote to /run/waybill/out.
type JobState struct {
	Running  bool
	PID      int // of its first process, as the engine's machine counts; 0: it does not run, or nobody says
	ExitCode int
	Out      Files  // at most 1 MiB each; only once it has ended
	Log      string // the last 64 KiB of output
	// OOM: the engine saw that it was killed for lack of memory. Engines miss some: the kernel's count goes away with
	// the container, sometimes before it was read. Exit code 137 without it may be either.
	OOM bool
}

// PoolState is what is seen of a pool.
type PoolState struct {
	Name     string
	Image    string
	Group    string
	Running  bool     // every process of it is up
	Message  string   // why not
	Bridge   string   // base URL of the web process for the server's own calls, for example "http://172.18.0.3:8069"
	Bridges  []string // of each pod of it that serves, sorted, for calls that each of them must get; empty: Bridge is the only one
	Upstream router.Upstream
}

// Runtime is implemented by runtime/docker (and, later, runtime/kube).
type Runtime interface {
	// EnsureEnvironment makes the environment's network and router, and leaves a running router alone.
	EnsureEnvironment(ctx context.Context, env Environment) error
	// RemoveEnvironment takes away everything that EnsureEnvironment and EnsurePool made, but not
	// what Odoo wrote into the data folders.
	RemoveEnvironment(ctx context.Context, environment string) error

	// EnsurePool starts the pool's processes, or observes them, and returns once they accept connections.
	// It does not open any tenant's database.
	EnsurePool(ctx context.Context, pool Pool) (PoolState, error)
	// ConfigurePool replaces the given files of a running pool, each atomically; files that are not
	// given stay. Processes are not restarted.
	ConfigurePool(ctx context.Context, environment, pool string, files Files) error
	// RemovePool stops the pool's processes gracefully, up to grace, and removes them. Absent is fine.
	RemovePool(ctx context.Context, environment, pool string, grace time.Duration) error
	Pool(ctx context.Context, environment, pool string) (PoolState, error)
	Pools(ctx context.Context, environment string) ([]PoolState, error)

	// StartJob starts the job, or does nothing when one of that name exists, running or ended.
	StartJob(ctx context.Context, job Job) error
	// Job observes a job; ErrNotFound when there is none.
	Job(ctx context.Context, environment, name string) (JobState, error)
	// WaitJob returns when the job has ended, or when ctx is done.
	WaitJob(ctx context.Context, environment, name string) (JobState, error)
	// RemoveJob kills and removes the job. Absent is fine.
	RemoveJob(ctx context.Context, environment, name string) error

	// Router gives control of the environment's router.
	Router(environment string) router.Control

	// Filestore is where the files of a database of a group are.
	Filestore(environment, group, database string) filestore.Store
	// DataDir is the folder on this machine that a group's pools see as /var/lib/odoo. Empty where they share none: then filestores are in a
	// bucket, and sessions in Redis.
	DataDir(environment, group string) string
	// EnsureDataDir makes that folder, where there is one, so that Odoo may write to it. A restore needs it before any pool runs.
	EnsureDataDir(environment, group string) error
}
