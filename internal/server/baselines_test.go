package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/baseline"
	"github.com/waybill-dev/waybill/internal/estate"
)

func TestDemand(t *testing.T) {
	threaded := estate.Environment{Name: "test"}
	forked := estate.Environment{Name: "production", Workers: 2}
	require.Equal(t, 64, demandOf(threaded, 1))
	require.Equal(t, 3*8+32, demandOf(forked, 1))
	require.Equal(t, 3*4+16, demandOf(estate.Environment{Workers: 2, Settings: map[string]string{"db_maxconn": "4", "db_maxconn_gevent": "16"}}, 1))
	require.Equal(t, 4*32, demandOf(threaded, 3))
	require.Equal(t, 7*8+32, demandOf(forked, 3))
	elsewhere := forked
	elsewhere.Name, elsewhere.Database.URL = "far", "postgres://u@far/postgres"
	one := func(estate.Environment) int { return 1 }
	declared := &estate.Estate{
		Environments: []estate.Environment{threaded, forked, elsewhere},
		Tenants: []estate.Tenant{
			{Name: "a", Environment: "test"}, {Name: "b", Environment: "test"},
			{Name: "a", Environment: "production"}, {Name: "b", Environment: "production", Hosting: estate.Dedicated},
			{Name: "a", Environment: "far"},
		},
	}
	require.Equal(t, 64+2*56, demand(declared, "", one), "tenants that share a pool share its connections")
	require.Equal(t, 56, demand(declared, "postgres://u@far/postgres", one))
	require.Equal(t, 7*8+32, demand(declared, "postgres://u@far/postgres", func(estate.Environment) int { return 3 }))
	require.Zero(t, demand(declared, "postgres://u@nowhere/postgres", one))
}

func TestShown(t *testing.T) {
	require.Equal(t, []api.Finding{{Name: "redis of test", OK: true, Detail: "well"}}, shown("redis of test", "well", nil))
	require.Equal(t, []api.Finding{
		{Name: "redis of test: a", Detail: "is: risk", Fix: "do"},
		{Name: "redis of test: b", OK: true, Detail: "is: risk", Fix: "do"},
	}, shown("redis of test", "well", []baseline.Deviation{{Name: "a", Is: "is", Risk: "risk", Fix: "do"}, {Name: "b", Advice: true, Is: "is", Risk: "risk", Fix: "do"}}))
}
