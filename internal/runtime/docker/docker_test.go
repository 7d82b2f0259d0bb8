//go:build docker

package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
)

// The containers' user in tests.
const testUID, testGID = 12345, 12346

func TestConformance(t *testing.T) {
	requireEngine(t)
	reg := newRegistry(t)
	image := reg.push(t, "standin", runtimetest.StandIn(t))
	t.Run("suite", func(t *testing.T) { // its end is the end of the parallel tests
		runtimetest.Run(t, func(t *testing.T) runtimetest.Bundle {
			b := setup(t, image)
			return runtimetest.Bundle{
				Runtime: b.runtime, Image: image,
				Missing:     reg.host + "/none@sha256:" + strings.Repeat("0", 64),
				Environment: runtime.Environment{Name: "production", HTTP: runtimetest.FreeAddress(t)},
				UID:         testUID,
				Leftovers:   b.runtime.Leftovers,
				Disconnect:  b.proxy.cut,
			}
		})
	})
}

// TestPoolIsBounded looks at what the engine made of a pool: limits survive the later change of its
// restart policy, and its log cannot fill the disk.
func TestPoolIsBounded(t *testing.T) {
	requireEngine(t)
	image := newRegistry(t).push(t, "standin", runtimetest.StandIn(t))
	r := setup(t, image).runtime
	t.Cleanup(func() { require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "e")) })
	_, err := r.EnsurePool(t.Context(), runtime.Pool{
		Environment: "e", Name: "p", Image: image, Memory: 256 << 20, CPUs: 1.5, Files: runtime.Files{"odoo.conf": nil},
	})
	require.NoError(t, err)
	for _, role := range rolesOf(0) {
		c, found, err := r.inspect(t.Context(), r.name("e", poolContainer("p", role)))
		require.NoError(t, err)
		require.True(t, found)
		h := c.HostConfig
		require.Equal(t, container.RestartPolicyUnlessStopped, h.RestartPolicy.Name)
		require.EqualValues(t, 256<<20, h.Memory)
		require.EqualValues(t, 256<<20, h.MemorySwap)
		require.EqualValues(t, 1_500_000_000, h.NanoCPUs)
		require.NotNil(t, h.PidsLimit)
		require.EqualValues(t, 2048, *h.PidsLimit)
		require.Equal(t, "json-file", h.LogConfig.Type)
		require.NotEmpty(t, h.LogConfig.Config["max-size"])
		require.Equal(t, "12345:12346", c.Config.User)
	}
}

// requireEngine fails, with what to do, where no Docker Engine answers.
func requireEngine(t *testing.T) {
	t.Helper()
	api, err := client.New(client.FromEnv)
	require.NoError(t, err)
	defer api.Close()
	_, err = api.Ping(t.Context(), client.PingOptions{})
	require.NoError(t, err, "these tests need a Docker Engine: hack/setup.sh docker starts one, hack/setup.sh env says how to reach it")
}

// bundle is one runtime of an instance of its own, behind a connection that can be cut.
type bundle struct {
	runtime *Runtime
	proxy   *proxy
}

func setup(t *testing.T, image string) bundle {
	t.Helper()
	random := make([]byte, 5)
	_, err := rand.Read(random)
	require.NoError(t, err)
	p := newProxy(t)
	r, err := New(Options{
		Instance: "t-" + hex.EncodeToString(random), DataDir: t.TempDir(), Host: "unix://" + p.path,
		RouterImage: func(context.Context) (string, error) { return image, nil },
		UID:         testUID, GID: testGID,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return bundle{runtime: r, proxy: p}
}

// testRegistry is a registry that lives as long as the test.
type testRegistry struct {
	host   string
	server *httptest.Server
}

func newRegistry(t *testing.T) testRegistry {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return testRegistry{host: strings.TrimPrefix(s.URL, "http://"), server: s}
}

// push returns the reference by digest; the engine forgets the image at the test's end.
func (r testRegistry) push(t *testing.T, repository string, image v1.Image) string {
	t.Helper()
	repo, err := name.NewRepository(r.host + "/" + repository)
	require.NoError(t, err)
	require.NoError(t, remote.Write(repo.Tag("latest"), image))
	digest, err := image.Digest()
	require.NoError(t, err)
	ref := repo.Digest(digest.String()).String()
	forgetAfter(t, ref)
	return ref
}

func forgetAfter(t *testing.T, ref string) {
	t.Cleanup(func() {
		api, err := client.New(client.FromEnv)
		require.NoError(t, err)
		defer api.Close()
		_, _ = api.ImageRemove(context.WithoutCancel(t.Context()), ref, client.ImageRemoveOptions{}) // it may never have been pulled
	})
}

// proxy stands between the runtime and the engine, so that their connection can be cut.
type proxy struct {
	path   string
	engine string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	host := os.Getenv(client.EnvOverrideHost)
	if host == "" {
		host = client.DefaultDockerHost
	}
	dir, err := os.MkdirTemp("", "wb") // short: the path of a socket is limited
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &proxy{path: filepath.Join(dir, "s"), engine: strings.TrimPrefix(host, "unix://"), conns: map[net.Conn]struct{}{}}
	l, err := net.Listen("unix", p.path)
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.carry(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("unix", p.engine)
	if err != nil {
		return
	}
	defer out.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(out, in); _ = out.(*net.UnixConn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
}

func (p *proxy) cut() (reconnect func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		_ = c.Close()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.down = false
	}
}
