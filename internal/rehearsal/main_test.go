package rehearsal

import (
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

// tenants is a server like a tenant's, for all tests of the package.
var tenants = postgrestest.Shared(postgres.Options{Preload: []string{"pg_stat_statements"},
	Settings: map[string]string{"work_mem": "7MB", "random_page_cost": "1.3", "shared_buffers": "64MB"}})
