package gitops

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
)

// proposes has the server push a branch for r2, for people to merge.
func (o *office) proposes() Proposal {
	o.t.Helper()
	p, err := o.Target(o.t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, true)
	require.NoError(o.t, err)
	require.Equal(o.t, "waybill/production-323232323232", p.Branch)
	require.NoError(o.t, o.turn())
	require.Empty(o.t, o.promotions(), "a branch promotes nothing before it is merged")
	return p
}

func TestAPullRequestIsMerged(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	p := o.proposes()
	again := o.proposes()
	require.Equal(t, p.Branch, again.Branch, "asked twice, it is there already")
	o.forge.push(t, map[string]string{"README": "meanwhile\n"})
	o.forge.work(t, func(dir string) { run(t, dir, "merge", "-q", "--no-ff", "-m", "Merge", "origin/"+p.Branch) })
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions(), "asked by whom the server knew, not by whom merged")
}

func TestAPullRequestThatConflicts(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	p := o.proposes()
	o.forge.push(t, to("r3"))
	require.NoError(t, o.turn())
	o.forge.work(t, func(dir string) {
		cmd := exec.Command("git", "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "merge", "-q", "origin/"+p.Branch)
		cmd.Dir = dir
		require.Error(t, cmd.Run(), "two targets for one environment do not merge by themselves")
		run(t, dir, "checkout", "--theirs", filepath.Join("targets", "production.yaml"))
		run(t, dir, "add", "-A")
		run(t, dir, "commit", "-q", "-m", "Merge, and r2 it is")
	})
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Len(t, o.promotions(), 1, "one after the other")
	o.ends("promoted", digest("r3"))
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Len(t, o.promotions(), 2)
	o.ends("promoted", digest("r2"))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 2, "nothing twice, nothing lost")
}

func TestABranchThatSaysSomethingElse(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	p := o.proposes()
	o.forge.work(t, func(dir string) {
		run(t, dir, "checkout", "-q", "-b", "other")
		write(t, dir, to("r3"))
		run(t, dir, "commit", "-q", "-m", "Other")
		run(t, dir, "push", "-q", "--force", "origin", "other:"+p.Branch)
		run(t, dir, "checkout", "-q", "main")
	})
	_, err := o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, true)
	require.ErrorContains(t, err, "is there already and says something else")
}

// A merge that is taken off the branch again while Git is away during the rollback: what serves is what Git says then.
func TestAMergeThatIsForcedAway(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	before := run(t, o.forge.folder, "rev-parse", "main")[:40]
	p := o.proposes()
	run(t, o.forge.folder, "update-ref", "refs/heads/main", p.Commit)
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1)
	o.forge.down.Store(true)
	o.ends("rolled_back", digest("r1"))
	require.ErrorIs(t, o.turn(), ErrUnreachable)
	run(t, o.forge.folder, "update-ref", "refs/heads/main", before)
	o.forge.down.Store(false)
	require.NoError(t, o.turn())
	require.Contains(t, o.problem(), "was rewritten")
	require.Equal(t, "r1", o.wanted())
	require.NoError(t, o.store.AcceptEstate(t.Context(), before))
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Empty(t, o.problem())
	left, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	require.Len(t, o.promotions(), 1, "nothing twice")
}
