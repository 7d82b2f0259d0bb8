//go:build odoo && docker

package rehearsal

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/server"
)

// release builds a release of the corpus, unless it is there.
func release(t *testing.T, s *stage.Stage, name string) {
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
