package telemetry

import (
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

var cluster = postgrestest.Shared(postgres.Options{})
