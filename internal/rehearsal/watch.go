package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoSpace means that the disk is, or became, too small for a rehearsal.
var ErrNoSpace = errors.New("no space left for the rehearsal")

// enoughDisk checks the disk beforehand, and sets the limit where none was given. A dump is plain data: with indexes a
// database takes about twice as much. There are two copies, an update may write the larger tables anew, and the
// dump itself lies there while it is restored.
func (r *run) enoughDisk() error {
	var dump, files int64
	for _, o := range r.manifest.Dump {
		dump += o.Size
	}
	for _, f := range r.manifest.Files {
		files += f.Size
	}
	need := dump + 3*2*dump + files + (1 << 30)
	if r.subject.Limits.Disk > 0 && r.subject.Limits.Disk < need {
		return fmt.Errorf("it may take %d MiB, and %d MiB are allowed: %w", need>>20, r.subject.Limits.Disk>>20, ErrNoSpace)
	}
	if r.subject.Limits.Disk == 0 {
		r.subject.Limits.Disk = 2 * need
	}
	have, err := free(r.dir)
	if err != nil {
		return err
	}
	if have-r.subject.Limits.Reserve < need {
		return fmt.Errorf("it may take %d MiB in %s, where %d MiB are free (%d MiB of which stay free): %w: free some, or put the data folder on a larger disk",
			need>>20, r.dir, have>>20, r.subject.Limits.Reserve>>20, ErrNoSpace)
	}
	if r.rooms.Files == "" {
		return nil
	}
	if have, err = free(r.rooms.Files); err == nil && have-r.subject.Limits.Reserve < files {
		err = fmt.Errorf("the copy of the filestore takes %d MiB in %s, where %d MiB are free (%d MiB of which stay free): %w: enlarge the volume",
			files>>20, r.rooms.Files, have>>20, r.subject.Limits.Reserve>>20, ErrNoSpace)
	}
	return err
}

// watchDisk stops the rehearsal when it takes more than allowed, or leaves too little to others.
func (r *run) watchDisk(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	disks := []string{r.dir}
	if r.rooms.Files != "" {
		disks = append(disks, r.rooms.Files)
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, dir := range disks {
				if have, err := free(dir); err == nil && have < r.subject.Limits.Reserve {
					r.stop(fmt.Errorf("only %d MiB are left on the disk of %s: %w", have>>20, dir, ErrNoSpace))
					return
				}
			}
			if n%5 != 0 {
				continue
			}
			if size := used(filepath.Join(r.scratch.dir, "postgres")); size > r.subject.Limits.Disk {
				r.stop(fmt.Errorf("the scratch server takes %d MiB, more than the %d MiB allowed: %w", size>>20, r.subject.Limits.Disk>>20, ErrNoSpace))
				return
			}
		}
	}()
	return func() { stop(); <-done }
}

// growing tells every now and then what is going on and how much the databases have grown by it, until end is called:
// a large table takes minutes without a word of its own. what may be called from another goroutine.
func (r *run) growing(what func() string) (end func()) {
	base := filepath.Join(r.scratch.dir, "postgres", "data", "base")
	before := used(base)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.progress(fmt.Sprintf("%s, %d MiB so far", what(), max(0, used(base)-before)>>20))
			}
		}
	}()
	return func() { close(stop); <-done }
}

// copy makes the tenant's database anew from the restored one.
func (r *run) copy(ctx context.Context) error {
	end := r.growing(func() string {
		return fmt.Sprintf("copy of the restored database, of %d MiB", r.report.Restore.Bytes>>20)
	})
	defer end()
	return r.scratch.copy(ctx, r.database(), r.parameters())
}

// used is what the files in a folder take; those that vanish meanwhile take nothing.
func used(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// wal is how much write-ahead log the server has written so far.
func (s *scratch) wal(ctx context.Context) (n int64, err error) {
	err = s.in(ctx, "postgres", func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").Scan(&n)
	})
	return n, err
}

// tell passes on what a job says of its progress.
func (r *run) tell(ctx context.Context, name string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state, err := r.scratch.jobs.Job(ctx, environment, name)
		if err != nil || !state.Running {
			continue
		}
		if now := latest(state.Log); now != "" && now != last {
			last = now
			r.progress(name + ": " + now)
		}
	}
}

// latest reads the last event of the bridge's lines.
func latest(log string) string {
	lines := strings.Split(log, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		var e struct {
			Event, Name  string
			Index, Count int
		}
		if !strings.HasPrefix(lines[i], "{") || json.Unmarshal([]byte(lines[i]), &e) != nil {
			continue
		}
		switch {
		case e.Count > 0:
			return fmt.Sprintf("%s %s, %d of %d", e.Event, e.Name, e.Index, e.Count)
		case e.Event == "loaded" || e.Event == "script_end":
			continue
		}
		return strings.TrimSpace(e.Event + " " + e.Name)
	}
	return ""
}

// tail is the end of a log, in one line.
func tail(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return oneLine(strings.Join(lines[max(0, len(lines)-3):], " / "))
}
