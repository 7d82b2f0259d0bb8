package promotion

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/store"
)

// takeCheckpoint captures the tenant while it serves; it is what a restore by hand starts from.
func takeCheckpoint(ctx context.Context, w *Work) (string, error) {
	if w.memory.Checkpoint == "" {
		w.memory.Checkpoint = checkpointID(w.rollout.ID, "live")
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	detail, err := w.capture(ctx, w.memory.Checkpoint)
	if err != nil || w.state.Live.Leaving == nil {
		return detail, err
	}
	// Nobody has written since the tenant was deleted: this one is as good as the one that was the last, which may be damaged.
	return detail, w.change(ctx, func(l *store.Live) {
		if l.Leaving != nil {
			l.Leaving.Checkpoint = w.memory.Checkpoint
		}
	})
}

// takeFenceCheckpoint captures the tenant while nobody can write: going back to it loses nothing.
func takeFenceCheckpoint(ctx context.Context, w *Work) (string, error) {
	id := w.memory.FenceCheckpoint
	if id == "" {
		id = checkpointID(w.rollout.ID, "fence")
	}
	detail, err := w.capture(ctx, id)
	if err == nil {
		w.memory.FenceCheckpoint = id // only a whole one is a way back
	}
	return detail, err
}

// checkpointID sorts by time and is the same when a capture is done again.
func checkpointID(rollout, mark string) string {
	id := time.Now().UTC().Format("20060102T150405Z") + "-" + rollout
	if mark != "" {
		id += "-" + mark
	}
	return id
}

func (w *Work) capture(ctx context.Context, id string) (string, error) {
	if err := w.holdGarbage(ctx, true); err != nil {
		return "", err
	}
	w.fault("inside:checkpoint")
	m, err := w.rooms.Checkpoints.Capture(ctx, w.subject(id), w.progress(ctx))
	if err != nil {
		return "", err
	}
	ref := checkpoint.Ref{Environment: w.rollout.Environment, Tenant: w.tenant.Name, ID: id}
	if _, err := w.rooms.Checkpoints.Verify(ctx, ref, w.progress(ctx)); err != nil {
		return "", fmt.Errorf("the checkpoint cannot be read back: %w", err)
	}
	if err := w.holdGarbage(ctx, false); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s: %s in %.1f s, %s new, read back", id, size(m.Bytes), m.Seconds, plural(m.NewFiles, "file"))
	if len(m.Missing) > 0 {
		detail += fmt.Sprintf("; %s named by the database and absent from the filestore", plural(len(m.Missing), "file"))
	}
	return detail, nil
}

func (w *Work) subject(id string) checkpoint.Subject {
	return checkpoint.Subject{
		ID: id, Environment: w.rollout.Environment, Tenant: w.tenant.Name, Database: w.state.Database,
		AdminURL:  w.place.AdminURL(w.state.Database),
		Filestore: w.filestore(),
		Config: checkpoint.Config{
			EstateCommit: w.env.Commit, Release: w.state.SchemaRelease, Serving: w.state.ServingRelease, Image: w.env.Product.Name,
			Owner: ownerRole(w.rollout.Environment, w.state.Group), Roles: w.roles(), Settings: w.env.Environment.Settings,
			Hosts: w.state.Hosts, WaybillBinary: w.rooms.Version,
		},
	}
}

func (w *Work) roles() []string {
	var roles []string
	for _, pool := range poolsOf(w.state.Live.Stable, w.state.Live.Canary) {
		roles = append(roles, poolRole(w.rollout.Environment, pool))
	}
	return roles
}

func (w *Work) filestore() filestore.Store {
	return w.place.Filestore(w.rollout.Environment, w.state.Group, w.state.Database)
}

// holdGarbage keeps Odoo from collecting files that the dump still names.
func (w *Work) holdGarbage(ctx context.Context, on bool) error {
	if err := w.change(ctx, func(l *store.Live) { l.GCHold = on }); err != nil {
		return err
	}
	generation, err := w.tellPools(ctx, w.place, w.rollout.Environment)
	if err != nil || !on || w.memory.Held || len(w.state.Live.Access) == 0 { // behind the fence no pool reaches the database
		return err
	}
	for _, pool := range poolsOf(w.state.Live.Stable, w.state.Live.Canary) {
		if state, err := w.place.Runtime.Pool(ctx, w.rollout.Environment, pool); err == nil && !state.Running {
			continue // nothing collects there, and a checkpoint matters most when a pool is down
		}
		if err := w.seen(ctx, pool, generation); err != nil {
			return err
		}
	}
	return nil
}

// seen waits until a pool has read what it was told.
func (w *Work) seen(ctx context.Context, pool string, generation int64) error {
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return poll(bounded, 50*time.Millisecond, func() (bool, error) {
		client, err := w.bridge(bounded, pool)
		if err != nil {
			return false, err
		}
		status, err := client.Status(bounded)
		return err == nil && status.Generation >= generation, err
	})
}

func freeGarbageCollector(ctx context.Context, w *Work) (string, error) {
	return "the filestore's garbage collector may run again", w.holdGarbage(ctx, false)
}

// progress passes on how far a capture or a restore is, at most twice a second.
func (w *Work) progress(ctx context.Context) func(checkpoint.Progress) {
	var last time.Time
	return func(p checkpoint.Progress) {
		if time.Since(last) > 500*time.Millisecond {
			last = time.Now()
			w.note(ctx, "%s: %d of %d", p.Stage, p.Done, p.Total)
		}
	}
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
}

// poll asks again and again until it is so, or ctx is done; the last error then says why.
func poll(ctx context.Context, every time.Duration, ready func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		ok, err := ready()
		if ok {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return last
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}
