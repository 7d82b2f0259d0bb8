package promotion

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// changing is a runtime whose pool has other pods from time to time.
type changing struct {
	runtime.Runtime
	state runtime.PoolState
	err   error
}

func (c *changing) Pool(context.Context, string, string) (runtime.PoolState, error) {
	return c.state, c.err
}

// Whoever keeps a client of a pool hears of pods that come and go.
func TestPodsOfAPoolAreLookedUpAgain(t *testing.T) {
	at := &changing{state: runtime.PoolState{Name: "r1", Bridge: "http://service", Bridges: []string{"http://a", "http://b"}}}
	p := &poolPods{runtime: at, environment: "production", pool: "r1", seen: []string{"http://a"}, at: time.Now()}
	got, err := p.addresses(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"http://a"}, got)
	p.at = time.Now().Add(-podsSeen)
	got, err = p.addresses(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"http://a", "http://b"}, got)

	p.at, at.state.Bridges = time.Now().Add(-podsSeen), nil
	got, err = p.addresses(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"http://service"}, got, "a runtime that has one")
	p.at, at.err = time.Now().Add(-podsSeen), errors.New("away")
	_, err = p.addresses(t.Context())
	require.ErrorContains(t, err, "away")
}
