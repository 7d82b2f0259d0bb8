//go:build odoo && docker

package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/server"
)

// release builds a release of the corpus, unless it is there.
func release(t testing.TB, s *stage.Stage, name string) {
	t.Helper()
	require.NoError(t, s.Ask(t.Context(), nil, "build", "--source", filepath.Join(s.Folder, "source"), "--name", name, "--commit", name))
}

// killed: a server that is killed in the middle of a rehearsal leaves nothing once it is up again, and says so.
func killed(t *testing.T, s *stage.Stage) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	release(t, s, "nullable")
	var asked api.Rehearsal
	require.NoError(t, s.Ask(ctx, &asked, "rehearse", "nullable", "--env", "production", "--detach"))
	jobs := filepath.Join(s.Data(), "rehearsals", asked.ID, "environments", "rehearsal", "jobs")
	require.NoError(t, stage.Poll(ctx, 100*time.Millisecond, "the update's container", func() (bool, error) {
		entries, err := os.ReadDir(jobs)
		return err == nil && len(entries) > 0, nil
	}))
	content, err := os.ReadFile(filepath.Join(s.Data(), server.AddressFile))
	require.NoError(t, err)
	var address server.Address
	require.NoError(t, json.Unmarshal(content, &address))
	require.NoError(t, syscall.Kill(address.PID, syscall.SIGKILL))
	<-s.Server.Ended
	require.NoError(t, s.Up(ctx))
	require.NoError(t, stage.Poll(ctx, 200*time.Millisecond, "the sweep", func() (bool, error) {
		entries, err := os.ReadDir(filepath.Join(s.Data(), "rehearsals"))
		return err == nil && len(entries) == 0, nil
	}))
	nothingLeft(t, s)
	var list []api.Rehearsal
	require.NoError(t, s.Ask(ctx, &list, "rehearsal", "list", "--limit", "1"))
	assert.Equal(t, asked.ID, list[0].ID)
	assert.Equal(t, "unfinished", list[0].Outcome)
}

// promotion: where the environment requires a rehearsal, the class comes from one, made now if there is none yet.
func promotion(t *testing.T, s *stage.Stage) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	release(t, s, "python")
	var p api.Promotion
	require.NoError(t, s.Ask(ctx, &p, "promote", "python", "production"))
	assert.Equal(t, "swap", p.Class)
	require.Len(t, p.Rollouts, 1)
	step := func(name string) api.Step {
		i := slices.IndexFunc(p.Rollouts[0].Steps, func(s api.Step) bool { return s.Name == name && !s.Undo })
		require.GreaterOrEqual(t, i, 0, name)
		return p.Rollouts[0].Steps[i]
	}
	assert.Contains(t, step("rehearse").Detail, "updating wbc_python changes nothing in the database")
	assert.Equal(t, "skipped", step("update").Outcome)
	nothingLeft(t, s)
}

// calibration: what was predicted and what happened stand side by side, and bear on the next prediction.
func calibration(t *testing.T, s *stage.Stage) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	release(t, s, "nullable")
	var p api.Promotion
	require.NoError(t, s.Ask(ctx, &p, "promote", "nullable", "production"))
	assert.Equal(t, "compatible", p.Class)
	require.Len(t, p.Rollouts, 1)
	first := p.Rollouts[0]
	assert.Positive(t, first.Predicted)
	assert.Positive(t, first.HeldSeconds)
	t.Logf("predicted %.1f s, held for %.1f s", first.Predicted, first.HeldSeconds)
	assert.Contains(t, first.Steps[len(first.Steps)-1].Detail, fmt.Sprintf("people waited %.1f s, predicted were %.1f s", first.HeldSeconds, first.Predicted))

	// The promotion's own checkpoint is of before its update: neither by itself nor by name does it prove anything now.
	var list []struct {
		ID string `json:"id"`
	}
	require.NoError(t, s.Ask(ctx, &list, "checkpoint", "list", tenant))
	require.NotEmpty(t, list)
	release(t, s, "view")
	for _, c := range []struct {
		args []string
		says string
	}{{nil, "no checkpoint since its database was last updated"}, {[]string{"--checkpoint", list[0].ID}, "of another schema than the database has now"}} {
		err := s.Ask(ctx, nil, append([]string{"rehearse", "view", "--env", "production"}, c.args...)...)
		var refused *waybill.Refused
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Output, c.says)
	}
	require.NoError(t, s.Ask(ctx, nil, "checkpoint", "create", tenant))
	var next api.Rehearsal
	require.NoError(t, s.Ask(ctx, &next, "rehearse", "view", "--env", "production"))
	require.NotNil(t, next.Report)
	assert.Equal(t, 1, next.Report.Calibration.Promotions)
	assert.InDelta(t, first.HeldSeconds/first.Predicted, next.Report.Calibration.Ratio, 0.01)
	assert.InDelta(t, next.Report.ComputedSeconds*next.Report.Calibration.Ratio, next.Report.PredictedSeconds, 0.01)
	nothingLeft(t, s)
}

// traffic uses, in production, the table that the corpus names for it, until quiet is called, which tells how often a
// second it was used.
func traffic(t *testing.T, s *stage.Stage, c change) (quiet func() (rate float64)) {
	table := c.expect["traffic"]
	if table == "" {
		return func() float64 { return 0 }
	}
	url, err := s.DatabaseURL(stage.TenantsServer, database)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	uses, began, failed := 0, time.Now(), make(chan error, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				failed <- nil
				return
			case <-tick.C:
			}
			if _, err := conn.Exec(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()+" WHERE id = 1"); err != nil {
				failed <- err
				return
			}
			uses++
		}
	}()
	return func() float64 {
		cancel()
		assert.NoError(t, <-failed)
		seconds := time.Since(began).Seconds()
		assert.NoError(t, conn.Close(context.Background()))
		return float64(uses) / seconds
	}
}

// blocked holds what the locks would mean to production against how often the table really was used.
func blocked(t *testing.T, c change, r *rehearsal.Report, rate float64) {
	require.NotNil(t, r.Timeline)
	table := "public." + c.expect["traffic"]
	i := slices.IndexFunc(r.Timeline.Locks, func(l rehearsal.Lock) bool { return l.Table == table && l.Blocks == "reads and writes" })
	require.GreaterOrEqual(t, i, 0, "%v", r.Timeline.Locks)
	l := r.Timeline.Locks[i]
	want := rate * l.HeldSeconds // without what the update waited for a CPU meanwhile
	t.Logf("%.1f uses a second, locked for %.1f s, %.1f of them of its own: %.0f would wait, %.0f were told", rate, l.To-l.From, l.HeldSeconds, want, l.Blocked)
	assert.Positive(t, l.HeldSeconds)
	assert.LessOrEqual(t, l.HeldSeconds, l.To-l.From+.01)
	assert.Greater(t, l.Blocked, want/2)
	assert.Less(t, l.Blocked, want*2)
}
