package gitops

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

// digest is that of a release with this name.
func digest(name string) string { return "sha256:" + strings.Repeat(fmt.Sprintf("%02x", name[1]), 32) }

const declaration = `kind: Product
name: acme
series: "19.0"
environments: [test, production]
---
kind: Environment
name: test
runtime: {docker: {http: "127.0.0.1:8079"}}
---
kind: Environment
name: production
runtime: {docker: {http: "127.0.0.1:8069"}}
---
kind: Tenant
name: acme
environment: production
hosts: [acme.example.com]
---
kind: Access
users:
  - name: bob
    emails: [bob@acme.example]
    roles: [{role: author}]
`

func target(environment, release string) string {
	return fmt.Sprintf("kind: Target\nenvironment: %s\nrelease: %s\nname: %s\n", environment, digest(release), release)
}

// office is a server's follower on a real forge and a real store, with an engine that starts promotions and works on none.
type office struct {
	t      *testing.T
	forge  *gitHost
	store  *store.Store
	engine *promotion.Engine
	*Follower
}

func newOffice(t *testing.T) *office {
	t.Helper()
	s := storetest.Open(t, cluster(t))
	for _, r := range []string{"r1", "r2", "r3"} {
		require.NoError(t, s.PutRelease(t.Context(), release.Release{Digest: digest(r), Repository: "acme", Name: r}))
	}
	o := &office{t: t, forge: newGitHost(t), store: s}
	var err error
	o.engine, err = promotion.New(promotion.Rooms{Store: s}, "test", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	o.Follower = o.another()
	return o
}

// another is the follower of another server, or of this one after a kill.
func (o *office) another() *Follower {
	return &Follower{Repository: open(o.t, o.forge.remote()), Store: o.store, Engine: o.engine, Folder: filepath.Join(o.t.TempDir(), "estate"),
		Propose: estate.ProposeCommit, Log: slog.New(slog.DiscardHandler)}
}

func (o *office) turn() error {
	_, err := o.Turn(o.t.Context())
	return err
}

// promotions are those of production, the oldest first, as "release by whom: outcome".
func (o *office) promotions() (list []string) {
	o.t.Helper()
	found, err := o.store.Promotions(o.t.Context(), "production", 0, 100)
	require.NoError(o.t, err)
	for i := len(found) - 1; i >= 0; i-- {
		p := found[i]
		list = append(list, fmt.Sprintf("%s by %s: %s", p.ReleaseName, p.RequestedBy, or(p.Outcome, "running")))
	}
	return list
}

// ends has the running promotion end, with what then serves, as the engine writes it down.
func (o *office) ends(outcome, serves string) string {
	o.t.Helper()
	found, err := o.store.Promotions(o.t.Context(), "production", 0, 1)
	require.NoError(o.t, err)
	id := found[0].ID
	require.NoError(o.t, o.store.In(o.t.Context(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(o.t.Context(), "update rollouts set state = 'done', outcome = $2, reason = 'picking is broken' where promotion_id = $1", id, outcome); err != nil {
			return err
		}
		if _, err := tx.Exec(o.t.Context(), "update tenants set serving_release = $1 where environment = 'production'", serves); err != nil {
			return err
		}
		if err := o.store.Conclude(o.t.Context(), tx, id); err != nil {
			return err
		}
		return o.store.QueueReversal(o.t.Context(), tx, id)
	}))
	return id
}

func (o *office) wanted() string {
	o.t.Helper()
	head, err := o.Repository.Head(o.t.Context())
	require.NoError(o.t, err)
	content, found, err := o.Repository.File(o.t.Context(), head, "targets/production.yaml")
	require.NoError(o.t, err)
	if !found {
		return ""
	}
	for _, name := range []string{"r1", "r2", "r3"} {
		if strings.Contains(string(content), digest(name)) {
			return name
		}
	}
	return string(content)
}

// begin is an estate of which production serves r1, and Git says so.
func (o *office) begin() {
	o.t.Helper()
	require.NoError(o.t, o.store.PutTenant(o.t.Context(), store.Tenant{Environment: "production", Name: "acme", Database: "acme_production", Hosts: []string{"acme.example.com"}, Group: "shared"}))
	_, err := o.store.Pool.Exec(o.t.Context(), "update tenants set serving_release = $1", digest("r1"))
	require.NoError(o.t, err)
	o.forge.push(o.t, map[string]string{"estate.yaml": declaration, "targets/production.yaml": target("production", "r1")})
	require.NoError(o.t, o.turn())
	require.Empty(o.t, o.promotions(), "what serves already is no promotion")
}

func TestACommitIsAPromotion(t *testing.T) {
	o := newOffice(t)
	o.begin()
	commit := o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")}, "--author=Bob <bob@acme.example>")
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions())
	found, err := o.store.Promotions(t.Context(), "production", 0, 1)
	require.NoError(t, err)
	require.Equal(t, commit, found[0].EstateCommit)

	require.NoError(t, o.turn())
	_, err = o.another().Turn(t.Context()) // another server, or this one after a kill
	require.NoError(t, err)
	require.Len(t, o.promotions(), 1, "nothing is promoted twice")

	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r3")})
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1, "one after the other")
	o.ends("promoted", digest("r2"))
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: promoted", "r3 by git:ann@acme.example: running"}, o.promotions())
	require.Equal(t, "r3", o.wanted(), "what was promoted needs no commit of ours")
}

func TestWhatWentBackIsWrittenDown(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	id := o.ends("rolled_back", digest("r1"))
	require.NoError(t, o.turn())
	require.Equal(t, "r1", o.wanted())
	said := run(t, o.forge.folder, "log", "-1", "--format=%s|%b", "main")
	require.Contains(t, said, "production: back to release r1|picking is broken")
	require.Contains(t, said, "Waybill-Promotion: "+id)
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1, "the commit that says so is no new promotion")

	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 2, "a person may ask for it again")
}

// What came in by the emergency path is written down in Git afterwards, and is not promoted once more.
func TestAnEmergencyIsWrittenDown(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	declared, err := o.Declared(t.Context())
	require.NoError(t, err)
	declared.Environments[1].Emergency = &estate.Emergency{Confirm: time.Hour}
	id, err := o.engine.Start(t.Context(), declared, promotion.Request{Kind: promotion.KindPromote, Environment: "production", Release: digest("r2"), By: "ann",
		Options: promotion.Options{Emergency: &promotion.Emergency{Reason: "nobody can ship", Second: "bob"}}})
	require.NoError(t, err)
	require.NoError(t, o.turn())
	require.Equal(t, "r1", o.wanted(), "it acts first")
	require.NoError(t, o.engine.Confirm(t.Context(), id, "bob"))
	require.Equal(t, id, o.ends("promoted", digest("r2")))
	o.forge.down.Store(true)
	require.ErrorIs(t, o.turn(), ErrUnreachable)
	o.forge.down.Store(false)
	require.NoError(t, o.turn())
	require.Equal(t, "r2", o.wanted())
	said := run(t, o.forge.folder, "log", "-1", "--format=%s|%b", "main")
	require.Contains(t, said, "production: in an emergency release r2|emergency: nobody can ship (asked by ann, confirmed by bob)")
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by ann: promoted"}, o.promotions())
}

func TestGitIsAwayWhileARollbackHappens(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	o.forge.down.Store(true)
	o.ends("rolled_back", digest("r1"))
	for range 3 {
		require.ErrorIs(t, o.turn(), ErrUnreachable)
	}
	waiting, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, 3, waiting[0].Tries)
	require.Len(t, o.promotions(), 1, "what Git still says is not started again")
	o.forge.down.Store(false)
	require.NoError(t, o.turn())
	require.Equal(t, "r1", o.wanted())
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1)
}

func TestAServerDiesAfterItsPush(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	o.ends("rolled_back", digest("r1"))
	// It has pushed, and did not come to write that down.
	waiting, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	_, err = o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r1"), Name: "r1"}, Author{"Waybill", "waybill@localhost"}, false)
	require.NoError(t, err)
	_, err = o.another().Turn(t.Context())
	require.NoError(t, err)
	left, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Empty(t, left)
	require.Len(t, o.promotions(), 1)
}

func TestAPersonWantsSomethingElseMeanwhile(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	o.ends("rolled_back", digest("r1"))
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r3")})
	require.NoError(t, o.turn())
	require.Equal(t, "r3", o.wanted(), "the person's word stands")
	require.Len(t, o.promotions(), 2)
	left, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestHistoryThatWasRewritten(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	in, err := o.store.EstateHead(t.Context())
	require.NoError(t, err)
	rewritten := o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")}, "--amend")
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	head, err := o.store.EstateHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, in.Commit, head.Commit)
	require.Contains(t, head.Problem, "was rewritten")
	require.Contains(t, head.Problem, "waybill estate accept "+rewritten)
	require.NoError(t, o.store.AcceptEstate(t.Context(), rewritten))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1)
}

func TestACommitThatDoesNotHoldTogether(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": "kind: Target\nenvironment: nowhere\nrelease: latest\n"})
	require.NoError(t, o.turn())
	head, err := o.store.EstateHead(t.Context())
	require.NoError(t, err)
	require.Contains(t, head.Problem, "targets/production.yaml")
	declared, err := o.Declared(t.Context())
	require.NoError(t, err)
	require.Equal(t, head.Commit, declared.Commit, "what was in force stays")
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2")})
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1)
}

func TestPromotingCommits(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	p, err := o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, false)
	require.NoError(t, err)
	require.Empty(t, p.Branch)
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions())

	o.Propose = estate.ProposeBranch
	p, err = o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r3"), Name: "r3"}, Author{"bob", "bob@acme.example"}, false)
	require.NoError(t, err)
	require.Equal(t, "waybill/production-333333333333", p.Branch)
	o.ends("promoted", digest("r2"))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1, "a branch promotes nothing before it is merged")
	run(t, o.forge.folder, "update-ref", "refs/heads/main", p.Commit) // the forge merges it
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 2)
}

func TestATargetAmongOtherDocuments(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	require.NoError(t, o.store.PutTenant(t.Context(), store.Tenant{Environment: "production", Name: "acme", Database: "acme_production", Hosts: []string{"acme.example.com"}, Group: "shared"}))
	whole := declaration + "---\n# ours\n" + target("production", "r1") + "---\n" + target("test", "r1")
	o.forge.push(t, map[string]string{"estate.yaml": whole})
	_, err := o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, false)
	require.ErrorContains(t, err, "targets/production.yaml", "the same digest twice in a file: which one?")
	o.forge.push(t, map[string]string{"estate.yaml": declaration + "---\n# ours\n" + target("production", "r1")})
	_, err = o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, false)
	require.NoError(t, err)
	head, err := o.Repository.Head(t.Context())
	require.NoError(t, err)
	content, _, err := o.Repository.File(t.Context(), head, "estate.yaml")
	require.NoError(t, err)
	require.Equal(t, declaration+"---\n# ours\n"+target("production", "r2"), string(content))
}

func TestAReleaseThatNobodyKnows(t *testing.T) {
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r9")})
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	list, err := o.store.Targets(t.Context())
	require.NoError(t, err)
	require.Contains(t, list[0].Problem, "no release is known")
	require.NoError(t, o.store.PutRelease(t.Context(), release.Release{Digest: digest("r9"), Repository: "acme", Name: "r9"}))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 1)
}
