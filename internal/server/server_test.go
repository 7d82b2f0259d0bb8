package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

// folder makes one that PostgreSQL's unprivileged user can pass.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wbsrv")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// declared writes an estate into a folder.
func declared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range estate.Skeleton("shop") {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

type running struct {
	t    *testing.T
	url  string
	data string
	stop func() error
}

// start runs a server until the test ends, and then everything that it left running.
func start(t *testing.T, c Config) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan string, 1), make(chan error, 1)
	c.Ready, c.Log = func(url string) { ready <- url }, slog.New(slog.DiscardHandler)
	go func() { ended <- Run(ctx, c) }()
	r := running{t: t, data: c.Data}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		require.NoError(t, r.stop())
		require.NoError(t, Down(context.Background(), c.Data, nil, slog.New(slog.DiscardHandler)))
	})
	select {
	case r.url = <-ready:
	case err := <-ended:
		stopped = true
		cancel()
		require.NoError(t, err, "the server did not come up")
	}
	return r
}

func (r running) token() string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.data, "keys", "token"))
	require.NoError(r.t, err)
	return strings.TrimSpace(string(content))
}

func (r running) ask(method, path, token string, body io.Reader) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, body)
	require.NoError(r.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return answer.StatusCode, string(content)
}

func TestUp(t *testing.T) {
	long.Test(t)
	config := Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", Version: "test"}
	told := expectNotice(t, config.Estate)
	r := start(t, config)
	told()

	code, content := r.ask("GET", "/api/v1/status", r.token(), nil)
	require.Equal(t, http.StatusOK, code, content)
	var status api.Status
	require.NoError(t, json.Unmarshal([]byte(content), &status))
	require.Len(t, status.Environments, 2)
	code, _ = r.ask("GET", "/healthz", "", nil)
	require.Equal(t, http.StatusOK, code)
	code, _ = r.ask("GET", "/v2/", "", nil)
	require.Equal(t, http.StatusOK, code, "the registry answers on the same port")

	err := Run(t.Context(), Config{Data: config.Data, Estate: config.Estate, Listen: "127.0.0.1:0"})
	require.ErrorIs(t, err, ErrAlreadyUp)
	require.Contains(t, err.Error(), r.url, "it says which one")

	offline, err := os.ReadFile(filepath.Join(config.Data, "OFFLINE-KEY-take-me-off-this-machine.txt"))
	require.NoError(t, err)
	require.Contains(t, string(offline), "AGE-SECRET-KEY-1")

	require.NoError(t, r.stop())
	require.NoFileExists(t, filepath.Join(config.Data, AddressFile), "nobody is sent to a server that is gone")
	again := start(t, config)
	require.Equal(t, r.token(), again.token())
	code, _ = again.ask("GET", "/api/v1/status", again.token(), nil)
	require.Equal(t, http.StatusOK, code)
}

func TestWhoMayAsk(t *testing.T) {
	long.Test(t)
	r := start(t, Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", DatabaseURL: storetest.Database(t, cluster(t))})
	for _, token := range []string{"", "wrong", r.token() + "x", r.token()[1:]} {
		code, content := r.ask("GET", "/api/v1/status", token, nil)
		require.Equal(t, http.StatusUnauthorized, code)
		require.NotContains(t, content, r.token())
	}
	code, _ := r.ask("POST", "/v2/acme/blobs/uploads/", "", nil)
	require.Equal(t, http.StatusUnauthorized, code, "nobody pushes without the token")
	for name, test := range map[string]struct {
		method, path, body string
		code               int
	}{
		"not JSON":            {"POST", "/api/v1/promotions", "{", 400},
		"a field unknown":     {"POST", "/api/v1/promotions", `{"release":"r1","environment":"test","x":1}`, 422},
		"a field missing":     {"POST", "/api/v1/promotions", `{"release":"r1"}`, 422},
		"a release unknown":   {"POST", "/api/v1/promotions", `{"release":"r1","environment":"test"}`, 422},
		"environment unknown": {"POST", "/api/v1/promotions", `{"release":"r1","environment":"moon"}`, 422},
		"no such promotion":   {"GET", "/api/v1/promotions/none", "", 404},
		"nothing to resume":   {"POST", "/api/v1/promotions/none/resume", "", 404},
		"too much":            {"POST", "/api/v1/promotions", `{"release":"` + strings.Repeat("r", 2<<20) + `"}`, 413},
		"no such path":        {"GET", "/api/v1/nothing", "", 404},
		"no such image":       {"POST", "/api/v1/releases", `{"ref":"acme@sha256:0000000000000000000000000000000000000000000000000000000000000000"}`, 422},
	} {
		code, content := r.ask(test.method, test.path, r.token(), bytes.NewBufferString(test.body))
		require.Equal(t, test.code, code, "%s: %s", name, content)
	}
}

// What `waybill serve` is given by URL does the same work as what `waybill up` brings along.
func TestServe(t *testing.T) {
	long.Test(t)
	dir := folder(t)
	images, err := registry.Handler(filepath.Join(dir, "images"), func(string, string) bool { return true })
	require.NoError(t, err)
	elsewhere := httptest.NewServer(images)
	t.Cleanup(elsewhere.Close)
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("checkpoints"))
	objects := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(objects.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")

	r := start(t, Config{
		Data: filepath.Join(dir, "data"), Estate: declared(t), Listen: "127.0.0.1:0",
		DatabaseURL: storetest.Database(t, cluster(t)), Registry: strings.TrimPrefix(elsewhere.URL, "http://"),
		Bucket: "s3://checkpoints?region=us-east-1&use_path_style=true&endpoint=" + objects.URL,
	})
	require.NoDirExists(t, filepath.Join(r.data, "postgres-state"))
	require.NoDirExists(t, filepath.Join(r.data, "objects"))
	code, _ := r.ask("GET", "/v2/", "", nil)
	require.Equal(t, http.StatusNotFound, code, "it serves no registry of its own")
	code, content := r.ask("GET", "/api/v1/doctor", r.token(), nil)
	require.Equal(t, http.StatusOK, code)
	var findings []api.Finding
	require.NoError(t, json.Unmarshal([]byte(content), &findings))
	for _, f := range findings {
		if f.Name == "own database" || f.Name == "bucket" {
			require.True(t, f.OK, "%s: %s", f.Name, f.Detail)
		}
	}
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = Run(ctx, Config{Data: folder(t), Estate: declared(t), Listen: listener.Addr().String()})
	require.ErrorContains(t, err, "--listen")
	require.ErrorContains(t, err, listener.Addr().String())
}

func TestTheEstateComesFromGit(t *testing.T) {
	long.Test(t)
	data, local, remote, work := folder(t), declared(t), t.TempDir(), t.TempDir()
	git := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "commit.gpgsign=false"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
		return strings.TrimSpace(string(out))
	}
	commit := func(name, content string) string {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(work, name), []byte(content), 0o644))
		git(work, "add", "-A")
		git(work, "commit", "-q", "-m", name)
		git(work, "push", "-q", "origin", "HEAD:main")
		return git(work, "rev-parse", "HEAD")
	}
	git(remote, "init", "-q", "--bare", "-b", "main")
	git(work, "clone", "-q", remote, ".")
	require.NoError(t, os.CopyFS(filepath.Join(work, "estate"), os.DirFS(local)))
	good := commit("README", "The estate.\n")
	require.NoError(t, os.WriteFile(filepath.Join(local, "repository.yaml"), []byte("kind: Repository\nremote: "+remote+"\npoll: 0s\n"), 0o644))

	r := start(t, Config{Data: data, Estate: local, Listen: "127.0.0.1:0", Version: "test", DatabaseURL: storetest.Database(t, cluster(t))})
	tells := func(method, path string) (told api.Estate) {
		t.Helper()
		code, content := r.ask(method, path, r.token(), nil)
		require.Equal(t, http.StatusOK, code, content)
		require.NoError(t, json.Unmarshal([]byte(content), &told))
		return told
	}
	require.Equal(t, good, tells("GET", "/api/v1/estate").Commit)
	commit("broken.yaml", "kind: Product\n")
	told := tells("POST", "/api/v1/estate/refresh")
	require.Contains(t, told.Problem, "broken.yaml")
	require.Equal(t, good, told.Commit, "what was in force stays")
	require.NoError(t, os.Remove(filepath.Join(work, "broken.yaml")))
	commit("policy.yaml", "kind: Policy\nname: typo\nrules:\n  - {id: soak, expr: release.sigend, why: a typo}\n")
	require.Contains(t, tells("POST", "/api/v1/estate/refresh").Problem, "policy.yaml")

	code, content := r.ask("POST", "/api/v1/promotions", r.token(), strings.NewReader(`{"release":"r1","environment":"production"}`))
	require.Equal(t, http.StatusUnprocessableEntity, code)
	require.Contains(t, content, "no release is known as r1")
}
