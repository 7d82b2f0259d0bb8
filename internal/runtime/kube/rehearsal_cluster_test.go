//go:build kube

package kube

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/dynamic"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// TestRehearsalIsShutIn tries, from inside a pod of a rehearsal, to reach whatever a copy of production must not reach. Each refusal has a
// control beside it: the same attempt by a pod of an environment, or from the node. Then the rehearsal is left as a kill leaves it, and swept.
func TestRehearsalIsShutIn(t *testing.T) {
	image := pushStandIn(t)
	r, _ := setup(t, image)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	people, err := dynamic.NewForConfig(cluster(t))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "production"))
		require.NoError(t, r.SweepRehearsals(context.WithoutCancel(t.Context()), isOver))
		left, err := r.Leftovers(context.WithoutCancel(t.Context()))
		require.NoError(t, err)
		require.Empty(t, left)
	})

	listen := func() string {
		l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("WAYBILL_KUBE_NODE"), "0"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	scratch, beside := listen(), listen() // on the same machine, another port
	names, err := net.ListenPacket("udp", net.JoinHostPort(os.Getenv("WAYBILL_KUBE_NODE"), "0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = names.Close() })
	postgres, err := url.Parse(os.Getenv("WAYBILL_KUBE_POSTGRES"))
	require.NoError(t, err)
	redis, err := url.Parse(os.Getenv("WAYBILL_KUBE_REDIS"))
	require.NoError(t, err)
	api, err := url.Parse(cluster(t).Host)
	require.NoError(t, err)
	outside := []string{beside, postgres.Host, redis.Host, api.Host, os.Getenv("WAYBILL_KUBE_REGISTRY"), net.JoinHostPort(serviceIP(ctx, t, people), "443")}
	elsewhere := listener(ctx, t, people, r.opt.Prefix+"-db", image) // a pod, which an environment's do not reach either

	dial := func(name string, start func(context.Context, runtime.Job) error, wait func(ctx context.Context, environment, name string) (runtime.JobState, error)) (reached []string, log string) {
		command := append([]string{"odoo", "job", "dial", "udp:" + names.LocalAddr().String(), scratch, elsewhere}, outside...)
		require.NoError(t, start(ctx, runtime.Job{Environment: "production", Name: name, Image: image, Command: command}))
		state, err := wait(ctx, "production", name)
		require.NoError(t, err)
		require.Zero(t, state.ExitCode, state.Log)
		return strings.Fields(string(state.Out["result.json"])), state.Log
	}
	asked := func() bool {
		require.NoError(t, names.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		_, _, err := names.ReadFrom(make([]byte, 10))
		return err == nil
	}
	reached, log := dial("free", r.StartJob, r.WaitJob)
	// An environment's pods are shut out from other pods only a moment after they have begun; a rehearsal's do not begin before.
	require.Subset(t, reached, append([]string{scratch}, outside...), "the control: %s", log)
	require.True(t, asked(), "the control")
	require.NoError(t, dials(ctx, elsewhere), "the control")

	h, err := r.Rehearsal(ctx, "shutin", netip.MustParseAddrPort(scratch), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, h.EnsureDataDir("", sharedGroup))
	require.NoError(t, os.WriteFile(filepath.Join(h.DataDir("", sharedGroup), "copy"), []byte("of a filestore"), 0o644))
	reached, log = dial("shut", h.StartJob, h.WaitJob)
	require.Equal(t, []string{scratch}, reached, log)
	require.False(t, asked(), "a datagram came out")
	require.NoError(t, h.RemoveJob(ctx, "", "shut"))

	// A cluster that lets pods out, as one without policies does: nothing of the copy begins.
	leaky := *h
	leaky.r = ptr(*h.r)
	leaky.r.decoy = scratch
	err = leaky.StartJob(ctx, runtime.Job{Name: "leaks", Image: image, Command: []string{"odoo", "job", "ok"}})
	require.ErrorContains(t, err, "this pod reaches "+scratch+", which no network policy lets it")
	_, err = h.Job(ctx, "", "leaks")
	require.ErrorIs(t, err, runtime.ErrNotFound)

	// Another process's rehearsal, killed while its pod runs.
	require.NoError(t, h.StartJob(ctx, runtime.Job{Name: "hangs", Image: image, Command: []string{"odoo", "job", "hang"}}))
	require.NoError(t, r.SweepRehearsals(ctx, func(_ context.Context, id string) (bool, error) {
		require.Equal(t, "shutin", id)
		return false, nil
	}))
	_, err = h.Job(ctx, "", "hangs")
	require.NoError(t, err, "another server may run it")
	require.DirExists(t, h.DataDir("", sharedGroup))
	require.NoError(t, r.SweepRehearsals(ctx, isOver))
	_, err = h.Job(ctx, "", "hangs")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	all, err := r.Environments(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"production"}, all, "and nothing else")
	_, err = os.Stat(filepath.Join(r.opt.DataDir, environmentDir(h.environment)))
	require.ErrorIs(t, err, os.ErrNotExist, "the copy of the filestore")
	require.DirExists(t, r.DataDir("production", sharedGroup))
	require.NoError(t, r.SweepRehearsals(ctx, isOver), "twice is fine")
}

func isOver(context.Context, string) (bool, error) { return true, nil }
