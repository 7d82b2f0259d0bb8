package rehearsal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// tenants is a server like a tenant's, for all tests of the package.
var tenants *postgres.Cluster

func TestMain(m *testing.M) { os.Exit(testAll(m)) }

func testAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wbrh")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err == nil {
		tenants, err = postgres.Start(ctx, postgres.Options{Dir: filepath.Join(dir, "tenants"), Password: "pw", Preload: []string{"pg_stat_statements"},
			Settings: map[string]string{"work_mem": "7MB", "random_page_cost": "1.3", "shared_buffers": "64MB"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = tenants.Stop(ctx)
	}()
	return m.Run()
}
