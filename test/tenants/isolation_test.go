//go:build odoo

package tenants

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/isolation"
)

// isolation tries, from inside each pool, to reach what belongs to others: all is refused. Then a wall is opened, one after the
// other, and each time that is found, and found mended.
func (e *estate) isolation() {
	e.t.Helper()
	shut := e.probe(isolation.Pass)
	require.Len(e.t, shut.Report.Pools, 2, "%v", shut.Report.Pools)
	require.Zero(e.t, shut.Report.Left)
	require.Greater(e.t, shut.Report.Controls, 10)
	tried := map[string]int{}
	for _, d := range shut.Report.Doors {
		tried[d.Door] = d.Tried
	}
	for _, door := range isolation.Doors {
		if door.Name != isolation.DoorService { // not every release takes remote calls
			assert.Positive(e.t, tried[door.Name], "%s was not tried: %v", door.Name, tried)
		}
	}
	e.apart(true)

	const others = "fern_production" // the dedicated tenant's
	url, err := e.DatabaseURL(stage.TenantsServer, "postgres")
	require.NoError(e.t, err)
	db, err := pgx.Connect(e.t.Context(), url)
	require.NoError(e.t, err)
	defer db.Close(e.t.Context())
	at := slices.IndexFunc(shut.Report.Pools, func(p string) bool { return strings.HasPrefix(p, stage.Environment+"/r-") })
	require.GreaterOrEqual(e.t, at, 0, "the shared pool: %v", shut.Report.Pools)
	login := pgx.Identifier{"wb_" + strings.ReplaceAll(shut.Report.Pools[at], "/", "_")}.Sanitize()
	e.breach("connect", others,
		func() {
			_, err := db.Exec(e.t.Context(), "grant connect on database "+others+" to "+login)
			require.NoError(e.t, err)
		},
		func() {
			_, err := db.Exec(e.t.Context(), "revoke connect on database "+others+" from "+login)
			require.NoError(e.t, err)
			_, err = db.Exec(e.t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename = $2", others, strings.Trim(login, `"`))
			require.NoError(e.t, err)
		})

	copied := filepath.Join(e.Data(), "environments", stage.Environment, "data", "shared", "filestore", others)
	e.breach("filestore", stage.Environment+"/fern",
		func() {
			require.NoError(e.t, os.MkdirAll(filepath.Join(copied, "ab"), 0o755))
			require.NoError(e.t, os.Chown(copied, stage.OdooUser, stage.OdooUser))
		},
		func() { require.NoError(e.t, os.RemoveAll(copied)) })
}

// breach opens a wall, looks whether that is found and said, and closes it again.
func (e *estate) breach(door, whose string, open, shut func()) {
	e.t.Helper()
	open()
	found := func() api.IsolationRun {
		defer shut()
		run := e.probe(isolation.Fail)
		e.apart(false)
		return run
	}()
	for _, f := range found.Report.Findings {
		require.Equal(e.t, door, f.Door, "%+v", f)
		require.Contains(e.t, f.Target, whose)
		require.True(e.t, f.Breach(), "%+v", f)
	}
	e.probe(isolation.Pass)
	e.apart(true)
}

// probe runs `waybill isolation check`.
func (e *estate) probe(want isolation.Verdict) api.IsolationRun {
	e.t.Helper()
	var run api.IsolationRun
	err := e.Ask(e.t.Context(), &run, "isolation", "check", stage.Environment)
	var refused *waybill.Refused
	if errors.As(err, &refused) {
		require.NoError(e.t, json.Unmarshal([]byte(refused.Output), &run), "%s", refused.Complaint)
	} else {
		require.NoError(e.t, err)
	}
	require.NotNil(e.t, run.Report)
	e.t.Logf("isolation: %s: %s, %d controls", run.Verdict, run.Says, run.Report.Controls)
	require.Equal(e.t, string(want), run.Verdict, "%s\n%+v", run.Says, run.Report.Findings)
	return run
}

// apart looks what status and doctor say.
func (e *estate) apart(want bool) {
	e.t.Helper()
	var said api.Status
	require.NoError(e.t, e.Ask(e.t.Context(), &said, "status"))
	problem := slices.ContainsFunc(said.Environments[0].Problems, func(p string) bool { return strings.Contains(p, "tenants are not apart") })
	require.Equal(e.t, want, !problem, "%v", said.Environments[0].Problems)
	var findings []api.Finding
	err := e.Ask(e.t.Context(), &findings, "doctor")
	var refused *waybill.Refused
	if errors.As(err, &refused) {
		require.NoError(e.t, json.Unmarshal([]byte(refused.Output), &findings))
	} else {
		require.NoError(e.t, err)
	}
	at := slices.IndexFunc(findings, func(f api.Finding) bool { return f.Name == "isolation" })
	require.GreaterOrEqual(e.t, at, 0)
	require.Equal(e.t, want, findings[at].OK, findings[at].Detail)
}
