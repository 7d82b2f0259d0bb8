package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
)

var quotaObject = drift.Object{APIVersion: "v1", Kind: "ResourceQuota", Namespace: "waybill-production", Name: "waybill"}

func quotaIs(live string, at time.Time) drift.Finding {
	return drift.Finding{Object: quotaObject, Environment: "production",
		Changes: []drift.Change{{Kind: drift.Changed, Path: ".spec.hard.pods", Declared: `"500"`, Live: live, Owner: "kubectl-edit", Way: "Update", At: at}}}
}

// setDrift has the estate say what becomes of drift in its environment production.
func setDrift(t *testing.T, s *server) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(s.config.Estate, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), "kind: Environment\n", "kind: Environment\ndrift: heal\n")
		return os.WriteFile(path, []byte(text), 0o644)
	}))
	declared, err := s.declared(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, declared.Environments)
}

// TestDriftIsWrittenDown: a finding is told once, by whichever server finds it first; what is healed and changed again and again is left
// alone, and whoever does that is named.
func TestDriftIsWrittenDown(t *testing.T) {
	long.Test(t)
	s := isolated(t)
	seen := &drifts{server: s}
	const scope = "cluster/waybill"
	told := func(sql string) (all []string) {
		rows, err := s.store.Pool.Query(t.Context(), sql)
		require.NoError(t, err)
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return all
	}
	titles := func() []string { return told("select data->>'title' from notices order by id") }
	kinds := func() []string { return told("select kind from ledger_outbox order by 1") }
	found := func(f drift.Finding) bool {
		heal, err := seen.Found(t.Context(), scope, f)
		require.NoError(t, err)
		return heal
	}
	began := time.Now().UTC()
	require.False(t, found(drift.Finding{Object: quotaObject, Environment: "production"}), "nothing was open")
	require.False(t, found(quotaIs(`"5000"`, began)), "the estate does not say heal")
	require.False(t, found(quotaIs(`"5000"`, began.Add(time.Second))), "written again, and the same")
	require.Equal(t, []string{"production: ResourceQuota waybill-production/waybill is not as Waybill applied it"}, titles())
	require.Equal(t, []string{ledger.DriftFound}, kinds())
	open, err := seen.Open(t.Context(), scope)
	require.NoError(t, err)
	require.Equal(t, []drift.Object{quotaObject}, open)
	other, err := seen.Open(t.Context(), "another/waybill")
	require.NoError(t, err)
	require.Empty(t, other)
	require.Contains(t, told("select payload::text from ledger_outbox")[0], "kubectl-edit")

	found(quotaIs(`"6000"`, began))
	require.Equal(t, []string{ledger.DriftFound, ledger.DriftFound}, kinds(), "it is another finding")
	found(drift.Finding{Object: quotaObject, Environment: "production"})
	open, err = seen.Open(t.Context(), scope)
	require.NoError(t, err)
	require.Empty(t, open)
	require.Equal(t, []string{ledger.DriftFound, ledger.DriftFound, ledger.DriftMended}, kinds())

	setDrift(t, s)
	before := len(titles())
	for range healsMost {
		require.True(t, found(quotaIs(`"5000"`, began)))
		require.NoError(t, seen.Healed(t.Context(), scope, quotaIs(`"5000"`, began), nil))
		found(drift.Finding{Object: quotaObject, Environment: "production"})
	}
	require.Len(t, titles(), before+1, "that it is healed again and again is told once")
	require.False(t, found(quotaIs(`"5000"`, began)), "it is left alone")
	require.False(t, found(quotaIs(`"5001"`, began)))
	require.Equal(t, "production: ResourceQuota waybill-production/waybill was healed 3 times within the hour and is changed again by kubectl-edit", titles()[before+1])
	require.Len(t, titles(), before+2)
	rows, err := s.store.Drifts(t.Context(), scope)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.True(t, rows[0].Fought)
	// An hour later it is tried again.
	_, err = s.store.Pool.Exec(t.Context(), "update drifts set heals = array(select h - interval '61 minutes' from unnest(heals) h)")
	require.NoError(t, err)
	require.True(t, found(quotaIs(`"5001"`, began)))

	cluster := drift.Finding{Object: drift.Object{Kind: "ValidatingAdmissionPolicy", Name: "waybill-digests"}, Deleted: true}
	require.True(t, found(cluster), "every environment says heal")
}

// TestDeclaredIsSealed: what was declared is read again as it was, by nobody without the key, and as no other object's.
func TestDeclaredIsSealed(t *testing.T) {
	long.Test(t)
	s := isolated(t)
	k, err := s.newKeeper()
	require.NoError(t, err)
	secret := kube.Declared{Object: drift.Object{APIVersion: "v1", Kind: "Secret", Namespace: "n", Name: "s"}, Environment: "production", Manifest: []byte(`{"data":{"key":"hunter2"}}`), Applied: "a", Fingerprint: "f"}
	config := secret
	config.Object.Kind = "ConfigMap"
	space := kube.Declared{Object: drift.Object{APIVersion: "v1", Kind: "Namespace", Name: "n"}, Manifest: []byte(`{}`)}
	for _, d := range []kube.Declared{secret, config, space} {
		require.NoError(t, k.Keep(t.Context(), "c", d))
		require.NoError(t, k.Keep(t.Context(), "c", d))
	}
	read, found, err := k.KeptOne(t.Context(), "c", secret.Object)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, secret, read)
	all, err := k.Kept(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, []kube.Declared{config, space, secret}, all)
	_, found, err = k.KeptOne(t.Context(), "another", secret.Object)
	require.NoError(t, err)
	require.False(t, found)

	var raw string
	require.NoError(t, s.store.Pool.QueryRow(t.Context(), "select string_agg(encode(manifest, 'escape'), ' ') from declared_objects").Scan(&raw))
	require.NotContains(t, raw, "hunter2")
	stranger := &server{store: s.store}
	stranger.keys, err = keys.Open(filepath.Join(t.TempDir(), "keys"))
	require.NoError(t, err)
	theirs, err := stranger.newKeeper()
	require.NoError(t, err)
	_, _, err = theirs.KeptOne(t.Context(), "c", secret.Object)
	require.ErrorContains(t, err, "sealed with another key")
	_, err = s.store.Pool.Exec(t.Context(), "update declared_objects set manifest = (select manifest from declared_objects where kind = 'Secret') where kind = 'ConfigMap'")
	require.NoError(t, err)
	_, _, err = k.KeptOne(t.Context(), "c", config.Object)
	require.ErrorContains(t, err, "altered")

	require.NoError(t, k.Drop(t.Context(), "c", config.Object))
	require.NoError(t, k.DropNamespace(t.Context(), "c", "n"))
	all, err = k.Kept(t.Context(), "c")
	require.NoError(t, err)
	require.Empty(t, all)
}
