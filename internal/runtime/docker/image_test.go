//go:build docker

package docker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
	"github.com/waybill-dev/waybill/internal/selfimage"
)

func TestImagePresentNeedsNoRegistry(t *testing.T) {
	requireEngine(t)
	reg := newRegistry(t)
	ref := reg.push(t, "standin", runtimetest.StandIn(t))
	r := setup(t, ref).runtime
	have, err := r.ensureImage(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, ref, have)

	reg.server.Close()
	have, err = r.ensureImage(t.Context(), ref)
	require.NoError(t, err, "by digest, with the registry away")
	require.Equal(t, ref, have)
	_, digest, _ := strings.Cut(ref, "@")
	have, err = r.ensureImage(t.Context(), "127.0.0.1:1/moved@"+digest)
	require.NoError(t, err, "the same digest under another name")
	require.True(t, strings.HasSuffix(have, "@"+digest), have)
}

func TestPullFaults(t *testing.T) {
	requireEngine(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	defer refusing.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	digest := "@sha256:" + strings.Repeat("1", 64)
	r := setup(t, "").runtime
	for _, tt := range []struct {
		what, host, want string
		unavailable      bool
	}{
		{"refuses", strings.TrimPrefix(refusing.URL, "http://"), "check the credentials", false},
		{"away", strings.TrimPrefix(gone.URL, "http://"), "does not answer", true},
		{"no such image", newRegistry(t).host, "has no such image", false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := r.ensureImage(t.Context(), tt.host+"/acme"+digest)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "registry "+tt.host)
			require.Equal(t, tt.unavailable, isUnavailable(err), err)
		})
	}
}

func isUnavailable(err error) bool { return errors.Is(err, runtime.ErrUnavailable) }

func TestBinaryImage(t *testing.T) {
	requireEngine(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\nfunc main() { println(\"alive\") }\n"), 0o600))
	binary := filepath.Join(dir, "binary")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	reg, again := newRegistry(t), newRegistry(t)
	ref, err := selfimage.PushBinary(t.Context(), binary, reg.host, nil, nil)
	require.NoError(t, err)
	forgetAfter(t, ref)
	second, err := selfimage.PushBinary(t.Context(), binary, reg.host, nil, nil)
	require.NoError(t, err)
	require.Equal(t, ref, second)
	require.NoError(t, os.Chtimes(binary, time.Unix(1, 0), time.Unix(1, 0)))
	other, err := selfimage.PushBinary(t.Context(), binary, again.host, nil, nil)
	require.NoError(t, err)
	_, digest, _ := strings.Cut(ref, "@")
	require.True(t, strings.HasSuffix(other, "@"+digest), "the same binary gave another image")
	parsed, err := name.ParseReference(other)
	require.NoError(t, err)
	image, err := remote.Image(parsed)
	require.NoError(t, err)
	layers, err := image.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)

	r := setup(t, ref).runtime
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(func() { require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(ctx), "e")) })
	require.NoError(t, r.StartJob(ctx, runtime.Job{Environment: "e", Name: "run", Image: ref, Command: []string{"/waybill"}}))
	state, err := r.WaitJob(ctx, "e", "run")
	require.NoError(t, err)
	require.Zero(t, state.ExitCode, state.Log)
	require.Contains(t, state.Log, "alive")

	_, err = selfimage.PushBinary(t.Context(), "/bin/ls", reg.host, nil, nil)
	require.ErrorContains(t, err, "CGO_ENABLED=0")
}

func TestEngineNeverThere(t *testing.T) {
	r, err := New(Options{Instance: "t", DataDir: t.TempDir(), Host: "unix:///nowhere/docker.sock", UID: testUID, GID: testGID})
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Pools(t.Context(), "production")
	require.ErrorIs(t, err, runtime.ErrUnavailable)
	require.ErrorContains(t, err, "systemctl start docker")
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Instance: "i", DataDir: "/data", Host: client.DefaultDockerHost, UID: 1, GID: 1}
	r, err := New(good)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for what, change := range map[string]func(*Options){
		"no instance":     func(o *Options) { o.Instance = "" },
		"bad instance":    func(o *Options) { o.Instance = "A_b" },
		"relative folder": func(o *Options) { o.DataDir = "data" },
		"root":            func(o *Options) { o.UID = 0 },
		"far engine":      func(o *Options) { o.Host = "tcp://192.0.2.1:2375" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		require.Error(t, err, what)
	}
}
