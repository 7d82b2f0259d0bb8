package shutin

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listen(t *testing.T) (address string, end func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func() { require.NoError(t, l.Close()) }
}

func TestCheck(t *testing.T) {
	open, _ := listen(t)
	shut, end := listen(t)
	closed, endAtOnce := listen(t)
	endAtOnce()
	brief := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	require.NoError(t, Check(t.Context(), open, []string{closed}))
	require.ErrorContains(t, Check(brief(), open, []string{closed, shut}), "this pod reaches "+shut+", which no network policy lets it")
	require.ErrorContains(t, Check(brief(), closed, []string{closed}), "does not reach "+closed)
	require.Error(t, Check(t.Context(), open, nil), "nothing to compare with")
	require.Error(t, Check(t.Context(), "", []string{closed}))

	// The cluster comes round to the pod a moment later.
	done := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		close(began)
		done <- Check(t.Context(), open, []string{shut})
	}()
	<-began
	end()
	require.NoError(t, <-done)
}
