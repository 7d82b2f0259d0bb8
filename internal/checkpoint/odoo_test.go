//go:build odoo

package checkpoint

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// A real Odoo's database and filestore there and back: made by Odoo itself through a login role behind the fence, captured,
// restored, swapped in, and loaded by Odoo again. Needs a Docker Engine and WAYBILL_TEST_BASE.
func TestRealOdoo(t *testing.T) {
	image := os.Getenv("WAYBILL_TEST_BASE")
	require.NotEmpty(t, image, "name an image with Odoo: WAYBILL_TEST_BASE=odoo:19.0 (make base builds one)")
	b := setup(t)
	ctx := context.Background()
	const login, password = "odoo_pool", "pool-secret"
	db := "cp_real"
	require.NoError(t, b.server.EnsureLogin(ctx, login, password, b.owner))
	require.NoError(t, b.server.Create(ctx, db, b.owner))
	t.Cleanup(func() { require.NoError(t, b.server.Drop(ctx, db)) })
	_, err := b.server.SetAccess(ctx, db, []string{login})
	require.NoError(t, err)

	data, err := os.MkdirTemp("", "wbodoo")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(data) })
	require.NoError(t, os.Chmod(data, 0o777))
	conf := filepath.Join(data, "odoo.conf")
	require.NoError(t, os.WriteFile(conf, []byte("[options]\ndb_host = /run/waybill/pg\ndb_user = "+login+"\ndb_password = "+password+"\ndata_dir = /data\nlist_db = False\nmax_cron_threads = 0\n"), 0o644))
	odoo := func(args ...string) (string, error) {
		cmd := exec.Command("docker", append([]string{"run", "--rm", "--network=none", "--name=checkpoint-test-odoo", "--user=0",
			"-v", cluster(t).SocketDir() + ":/run/waybill/pg", "-v", data + ":/data", image, "odoo", "-c", "/data/odoo.conf", "-d", db, "--no-http", "--stop-after-init"}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "checkpoint-test-odoo").Run() })
	out, err := odoo("-i", "sale_stock", "--without-demo=all")
	require.NoError(t, err, out)
	require.NotContains(t, out, " CRITICAL ")

	sub := b.subject("")
	sub.Database, sub.Filestore = db, filestore.Dir(filepath.Join(data, "filestore", db))
	begun := time.Now()
	m, err := b.store.Capture(ctx, sub, nil)
	require.NoError(t, err)
	require.Empty(t, m.Missing)
	require.Empty(t, m.Damaged)
	require.NotEmpty(t, m.Files)
	captured := time.Since(begun)
	begun = time.Now()
	_, err = b.store.Verify(ctx, m.Ref(), nil)
	require.NoError(t, err)
	checked := time.Since(begun)
	begun = time.Now()
	m2, err := b.store.Capture(ctx, sub, nil)
	require.NoError(t, err)
	require.Zero(t, m2.NewFiles)
	second := time.Since(begun)

	want := b.rows(db)
	require.NoError(t, os.RemoveAll(sub.Filestore.String()))
	to := Target{AdminURL: cluster(t).URL("postgres"), Database: db + "_new", Owner: b.owner, Filestore: sub.Filestore}
	t.Cleanup(func() {
		require.NoError(t, b.server.Drop(ctx, to.Database))
		require.NoError(t, b.server.Drop(ctx, db+"_kept"))
	})
	r, err := b.store.Restore(ctx, m2.Ref(), to, nil)
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	require.Equal(t, m.FileCount, r.FilesAdded)
	require.Equal(t, want, b.rows(to.Database))
	require.NoError(t, b.server.Swap(ctx, db, to.Database, db+"_kept"))
	out, err = odoo("-u", "sale_stock")
	require.NoError(t, err, out)
	for _, word := range []string{" ERROR ", " CRITICAL ", "FileNotFoundError"} {
		require.False(t, strings.Contains(out, word), out)
	}
	fmt.Printf("tables %d, files %d, dump and files %d KiB; capture %v, verify %v, second capture %v, restore %v\n",
		len(m.Tables), m.FileCount, m.Bytes>>10, captured.Round(10*time.Millisecond), checked.Round(10*time.Millisecond), second.Round(10*time.Millisecond), r.Duration.Round(10*time.Millisecond))
}
