package estate

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLimitsOf(t *testing.T) {
	of := func(env, tenant *Limits) Limits { return Environment{Limits: env}.LimitsOf(Tenant{Limits: tenant}) }
	assert.Equal(t, Limits{}, of(nil, nil))
	assert.Equal(t, Limits{Connections: 40, StorageGiB: 5}, of(&Limits{Connections: 40, StorageGiB: 5}, nil))
	assert.Equal(t, Limits{Connections: 90, StorageGiB: 5}, of(&Limits{Connections: 40, StorageGiB: 5}, &Limits{Connections: 90}))
	assert.Equal(t, Limits{StorageGiB: 1}, of(nil, &Limits{StorageGiB: 1}))
}
