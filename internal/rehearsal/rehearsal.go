// Package rehearsal finds out, on a copy of a tenant's real data, what a release's update will do: it restores a
// checkpoint into a scratch server, runs the real update of the real image there under a trace, compares
// the database before and after, and tries the old release on the result. From that evidence, and from nothing
// else, follows the class of the release.
//
// It never touches production: from the tenant's server it only reads settings. What it starts lives in one
// folder and under one name in the container engine or the cluster, reaches the scratch server and nothing else, and is
// removed with the rehearsal, or by Sweep after a kill. It knows no table of Odoo.
package rehearsal

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// Jobs is where the copies' containers run; docker.Runtime and kube.Rehearsal are such.
type Jobs interface {
	StartJob(ctx context.Context, job runtime.Job) error
	Job(ctx context.Context, environment, name string) (runtime.JobState, error)
	WaitJob(ctx context.Context, environment, name string) (runtime.JobState, error)
	RemoveJob(ctx context.Context, environment, name string) error
	RemoveEnvironment(ctx context.Context, environment string) error // with the data in it, where that is not in the rehearsal's folder
	Filestore(environment, group, database string) filestore.Store
	EnsureDataDir(environment, group string) error
	Close() error
}

// Rooms are what a rehearsal acts through.
type Rooms struct {
	Checkpoints *checkpoint.Store
	// Jobs makes containers that see what the Room says, and have no network but that.
	Jobs func(context.Context, Room) (Jobs, error)
	// Address is where containers reach this machine, if they cannot be given a socket of it; nil: they are given the socket.
	Address func(context.Context) (netip.Addr, error)
	// Files is a folder on the disk that Jobs' data folders are on, where that is another than the Rehearser's; else empty.
	Files string
	// Sweep removes every container of any rehearsal that is over, for what a killed one left where the Rehearser's folder says nothing of it; may be nil.
	Sweep func(ctx context.Context, over func(ctx context.Context, id string) (bool, error)) error
	// Image gives the reference under which an engine pulls a release.
	Image func(release.Release) string
	Log   *slog.Logger
}

// Room is one rehearsal's place.
type Room struct {
	ID        string         // of the rehearsal
	Instance  string         // what names begin with that nobody else uses
	DataDir   string         // folder for what containers see
	SocketDir string         // with the scratch server's socket
	Server    netip.AddrPort // where the scratch server listens beside it; the zero value: nowhere, or nothing is to be started any more
}

// Limits bound what one rehearsal may take. Zero values stand for the defaults.
type Limits struct {
	Memory   int64         // bytes: of the update's container, and of each process of the scratch server; default 4 GiB
	Disk     int64         // bytes of the scratch folder; default: what the check beforehand allows for
	Reserve  int64         // bytes that stay free on its disk whatever happens; default 512 MiB
	Deadline time.Duration // of each job; default 1 h
}

func (l *Limits) fill() {
	if l.Memory <= 0 {
		l.Memory = 4 << 30
	}
	if l.Reserve <= 0 {
		l.Reserve = 512 << 20
	}
	if l.Deadline <= 0 {
		l.Deadline = time.Hour
	}
}

// Subject says what is rehearsed.
type Subject struct {
	ID          string // of this rehearsal: 1 to 20 of a-z and 0-9
	Environment estate.Environment
	Tenant      estate.Tenant
	Release     release.Release // that shall enter
	Old         release.Release // that serves now
	Schema      string          // digest of the release that the tenant's database was last updated to
	Checkpoint  checkpoint.Ref  // of the tenant; ID empty: the newest
	ServerURL   string          // of the tenant's server, whose version and settings count; the password in it is never shown
	Limits      Limits
	Untraced    bool        // nothing is watched: no timeline, no locks; it shows what the trace costs
	Calibration Calibration // from the tenant's promotions so far
}

// Rehearser rehearses. Several rehearsals may run side by side, each in a folder of its own.
type Rehearser struct {
	rooms Rooms
	dir   string
}

// New makes a Rehearser that works below dir, an absolute folder that nobody else uses.
func New(dir string, rooms Rooms) *Rehearser {
	if rooms.Log == nil {
		rooms.Log = slog.New(slog.DiscardHandler)
	}
	return &Rehearser{rooms: rooms, dir: dir}
}

// Run rehearses, and returns what was found even where the rehearsal could not be finished: the Report's Outcome
// says so. progress is called by one goroutine at a time and at least every ten seconds; it may be nil. When it returns, nothing of it runs or lies
// about any more; where that could not be brought about, the error says what is left.
func (r *Rehearser) Run(ctx context.Context, s Subject, progress func(string)) (*Report, error) {
	s.Limits.fill()
	if progress == nil {
		progress = func(string) {}
	}
	if err := checkID(s.ID); err != nil {
		return nil, err
	}
	said := &teller{say: progress}
	run := &run{Rehearser: r, subject: s, progress: said.tell, report: newReport(s)}
	defer said.start()()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run.stop = cancel
	err := run.all(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	if err != nil {
		run.report.unfinished(err)
	}
	left := run.clear(context.WithoutCancel(ctx))
	run.report.finish()
	return run.report, left
}

func checkID(id string) error {
	ok := len(id) > 0 && len(id) <= 20
	for _, c := range id {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !ok {
		return fmt.Errorf("rehearsal %q: expected 1 to 20 of a-z and 0-9", id)
	}
	return nil
}
