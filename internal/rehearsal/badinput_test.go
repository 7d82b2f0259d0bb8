package rehearsal

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// oneJob is an update that goes as the test says, on a real scratch server.
type oneJob struct {
	noJobs
	do func(context.Context) (runtime.JobState, error)
}

func (j oneJob) WaitJob(ctx context.Context, _, _ string) (runtime.JobState, error) { return j.do(ctx) }

// TestUpdateGoesWrong: what hangs, eats memory or loses its server says so, and proves nothing that it should not.
func TestUpdateGoesWrong(t *testing.T) {
	long.Test(t)
	dir, removed := folder(t), 0
	r := rehearser(dir, &removed)
	r.rooms.Image = func(release.Release) string { return "image" }
	s, err := r.open(t.Context(), "wrong", &likeness{settings: map[string]string{}, pages: map[string]int64{}}, limits())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.remove(context.Background(), "wrong")) })
	t.Cleanup(s.close)
	require.NoError(t, s.server.Create(t.Context(), pristine, ownerRole))
	require.NoError(t, s.in(t.Context(), pristine, func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), odooTables)
		return err
	}))
	require.NoError(t, s.prepareTrace(t.Context()))

	try := func(do func(context.Context) (runtime.JobState, error)) (*Report, error) {
		subject := Subject{ID: "wrong", Tenant: estate.Tenant{Name: "acme", Database: "acme"}, Limits: limits(),
			Release: release.Release{Name: "r2", Series: "19.0", Base: release.Base{AddonsPaths: []string{"/odoo/addons"}}}}
		one := *s
		one.jobs = oneJob{noJobs{dir, &removed}, do}
		run := &run{Rehearser: r, subject: subject, scratch: &one, manifest: &checkpoint.Manifest{}, progress: func(string) {}, report: newReport(subject)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return run.report, run.update(ctx)
	}
	result := func(r bridge.JobResult) runtime.Files {
		content, err := json.Marshal(r)
		require.NoError(t, err)
		return runtime.Files{bridge.ResultFile: content}
	}

	t.Run("it hangs", func(t *testing.T) {
		report, err := try(func(ctx context.Context) (runtime.JobState, error) {
			other := asUpdate(t, s, "acme", "BEGIN", "LOCK TABLE stock_move")
			hanging := asUpdate(t, s, "acme")
			ended := make(chan error, 1)
			bounded, cancel := context.WithTimeout(ctx, 3*time.Second) // several looks of the trace long; it is the update's deadline
			defer cancel()
			go func() {
				_, err := hanging.Exec(bounded, "UPDATE stock_move SET kind = 'hunter2'")
				ended <- err
			}()
			assert.Error(t, <-ended)
			assert.NoError(t, other.Close(ctx))
			return runtime.JobState{ExitCode: bridge.ExitDeadline, Out: result(bridge.JobResult{Error: "the deadline has passed", Module: "acme_dock"})}, nil
		})
		require.NoError(t, err)
		assert.Equal(t, Fails, report.Outcome)
		assert.Contains(t, report.Failure, "the update did not end in time in module acme_dock; it waited for: Lock relation behind process ")
		assert.Contains(t, report.Failure, "UPDATE stock_move SET kind = ?")
	})

	t.Run("it eats memory", func(t *testing.T) {
		report, err := try(func(context.Context) (runtime.JobState, error) {
			return runtime.JobState{ExitCode: 137, OOM: true, Log: "module acme_dock\nKilled\n"}, nil
		})
		require.NoError(t, err)
		assert.Equal(t, Fails, report.Outcome)
		assert.Contains(t, report.Failure, "exit code 137; it ran out of memory")
		assert.Contains(t, report.Failure, "module acme_dock")
	})

	t.Run("somebody else ends it", func(t *testing.T) {
		for says, state := range map[string]runtime.JobState{
			"killed from outside, or for lack of memory that the engine did not see (exit code 137): module acme_dock": {ExitCode: 137, Log: "module acme_dock"},
			"stopped from outside": {ExitCode: bridge.ExitFailed, Out: result(bridge.JobResult{Error: "told to stop (SIGTERM): nothing was committed"})},
		} {
			report, err := try(func(context.Context) (runtime.JobState, error) { return state, nil })
			require.ErrorContains(t, err, says)
			assert.Empty(t, report.Outcome, "it says nothing of the release")
		}
	})

	t.Run("the image lacks a module", func(t *testing.T) {
		require.NoError(t, s.in(t.Context(), pristine, func(conn *pgx.Conn) error {
			_, err := conn.Exec(t.Context(), "CREATE TABLE res_lang (code text, active bool); DELETE FROM ir_config_parameter; INSERT INTO ir_module_module VALUES ('base', 'installed', '19.0.1.3'), ('acme_dock', 'installed', '19.0.1.0')")
			return err
		}))
		subject := Subject{Release: release.Release{Name: "r2", Series: "19.0", Base: release.Base{Modules: []release.Module{{Name: "base", Version: "19.0.1.3"}}}}}
		run := &run{Rehearser: r, subject: subject, scratch: s, report: newReport(subject)}
		require.NoError(t, run.makePlan(t.Context()))
		assert.Equal(t, Fails, run.report.Outcome, "so nothing is run: all stops here")
		assert.Equal(t, "the release lacks modules that are installed in the database: [acme_dock]", run.report.Failure)
	})

	t.Run("the scratch server dies", func(t *testing.T) { // the last one: it stays dead
		content, err := os.ReadFile(filepath.Join(s.dir, "postgres", "data", "postmaster.pid"))
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(content), "\n", 2)[0]))
		require.NoError(t, err)
		report, err := try(func(ctx context.Context) (runtime.JobState, error) {
			conn := asUpdate(t, s, "acme")
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			for conn.Ping(ctx) == nil && ctx.Err() == nil { // its processes notice, and end
				if _, err := conn.Exec(ctx, "SELECT pg_sleep(0.05)"); err != nil {
					break
				}
			}
			return runtime.JobState{ExitCode: 1, Log: "server closed the connection unexpectedly"}, nil
		})
		require.ErrorContains(t, err, "the scratch server died")
		assert.Empty(t, report.Outcome, "an update that lost its server is no failed update")
	})
}

// TestCheckpointGoesWrong: a whole rehearsal on a real checkpoint that was damaged, and on one that is gone. The report
// says so and keeps what it has, and nothing is left.
func TestCheckpointGoesWrong(t *testing.T) {
	long.Test(t)
	dir, removed := folder(t), 0
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	offline, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	bucket := filepath.Join(dir, "bucket")
	kept, err := checkpoint.Open(t.Context(), "file://"+bucket, []age.Recipient{key.Recipient(), offline.Recipient()}, []age.Identity{key})
	require.NoError(t, err)
	kept.TempDir = filepath.Join(dir, "tmp")
	t.Cleanup(func() { assert.NoError(t, kept.Close()) })
	server, err := database.Open(t.Context(), tenants(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(server.Close)
	require.NoError(t, server.EnsureOwner(t.Context(), ownerRole))
	require.NoError(t, server.Create(t.Context(), "wrong", ownerRole))
	conn, err := pgx.Connect(t.Context(), tenants(t).URL("wrong"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), odooTables)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	taken, err := kept.Capture(t.Context(), checkpoint.Subject{Environment: "production", Tenant: "acme", Database: "wrong", AdminURL: tenants(t).URL("postgres")}, nil)
	require.NoError(t, err)

	rehearse := func(id string) *Report {
		r := rehearser(dir, &removed)
		r.rooms.Checkpoints = kept
		before := removed
		report, err := r.Run(t.Context(), Subject{ID: id, Environment: estate.Environment{Name: "production"}, Tenant: estate.Tenant{Name: "acme", Database: "wrong"},
			Release: release.Release{Name: "r2", Series: "19.0"}, Old: release.Release{Name: "r1", Series: "19.0"}, Checkpoint: checkpoint.Ref{Environment: "production", Tenant: "acme"}, ServerURL: tenants(t).URL("postgres")}, nil)
		require.NoError(t, err)
		assert.Equal(t, taken.Ref().String(), report.Checkpoint)
		assert.Greater(t, removed, before, "containers are removed")
		entries, err := os.ReadDir(r.dir)
		require.NoError(t, err)
		assert.Empty(t, entries, "nothing is left")
		assert.Empty(t, report.Class)
		return report
	}

	t.Run("it does not restore", func(t *testing.T) {
		for _, object := range taken.Dump { // half of each part is gone
			file := filepath.Join(bucket, filepath.FromSlash(object.Key))
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(file, info.Size()/2))
		}
		report := rehearse("damaged")
		assert.Equal(t, Unfinished, report.Outcome)
		assert.Contains(t, report.Failure, "restore checkpoint "+taken.Ref().String())
		assert.Zero(t, report.Restore.Rows)
		assert.Equal(t, []string{"look", "scratch server", "restore"}, steps(report), "what went well until then is told")
	})

	t.Run("it is gone", func(t *testing.T) {
		require.NoError(t, kept.Delete(t.Context(), taken.Ref()))
		r := rehearser(dir, &removed)
		r.rooms.Checkpoints = kept
		report, err := r.Run(t.Context(), Subject{ID: "gone", Environment: estate.Environment{Name: "production"}, Tenant: estate.Tenant{Name: "acme", Database: "wrong"},
			Checkpoint: taken.Ref(), ServerURL: tenants(t).URL("postgres")}, nil)
		require.NoError(t, err)
		assert.Equal(t, Unfinished, report.Outcome)
		assert.Contains(t, report.Failure, taken.ID)
	})
}

func steps(r *Report) (names []string) {
	for _, s := range r.Steps {
		names = append(names, s.Name)
	}
	return names
}
