//go:build gitea

package gitops

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/forge"
)

// gitea is a real Gitea on a database of its own, with a user of Waybill's, one who merges, and a repository.
type gitea struct {
	t             *testing.T
	url           string // http://127.0.0.1:PORT
	waybill, bobs string // tokens
}

const giteaProject = "waybill/estate"

// startGitea starts the one in $WAYBILL_TEST_GITEA, which hack/tools.sh gitea makes.
func startGitea(t *testing.T) *gitea {
	t.Helper()
	tools := os.Getenv("WAYBILL_TEST_GITEA")
	require.NotEmpty(t, tools, "make test-forge sets WAYBILL_TEST_GITEA")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	g := &gitea{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	database := fmt.Sprintf("gitea_%d", port)
	admin, err := pgx.Connect(t.Context(), cluster(t).URL("postgres"))
	require.NoError(t, err)
	_, err = admin.Exec(t.Context(), "create database "+database)
	require.NoError(t, err)
	require.NoError(t, admin.Close(t.Context()))
	at, err := pgx.ParseConfig(cluster(t).URL(database))
	require.NoError(t, err)

	root := t.TempDir()
	ini := filepath.Join(root, "app.ini")
	require.NoError(t, os.WriteFile(ini, fmt.Appendf(nil, `
APP_NAME = Test
RUN_MODE = prod
RUN_USER = root
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = %[1]s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]d
ROOT_URL = %[3]s/
STATIC_ROOT_PATH = %[4]s
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = postgres
HOST = %[5]s:%[6]d
NAME = %[7]s
USER = %[8]s
PASSWD = %[9]s
[security]
INSTALL_LOCK = true
SECRET_KEY = for-a-test
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
[log]
LEVEL = Warn
[cron]
ENABLED = false
`, root, port, g.url, tools, at.Host, at.Port, database, at.User, at.Password), 0o600))

	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(tools, "gitea"), append([]string{"--config", ini, "--work-path", root}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+root, "GITEA_WORK_DIR="+root)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	out, err := command("migrate").CombinedOutput()
	require.NoError(t, err, "%s", out)
	token := func(user string) string {
		out, err := command("admin", "user", "create", "--username", user, "--email", user+"@acme.example", "--password", "Not-4-anybody", "--must-change-password=false",
			"--access-token", "--access-token-name", "test", "--access-token-scopes", "write:repository,write:user").CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, word := range strings.Fields(string(out)) {
			if len(word) == 40 && strings.Trim(word, "0123456789abcdef") == "" {
				return word
			}
		}
		t.Fatalf("no token in %s", out)
		return ""
	}
	g.waybill, g.bobs = token("waybill"), token("bob")

	log, err := os.Create(filepath.Join(root, "log"))
	require.NoError(t, err)
	server := command("web")
	server.Stdout, server.Stderr = log, log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		_ = log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("Gitea's log:\n%s", said)
		}
	})
	require.Eventually(t, func() bool {
		response, err := http.Get(g.url + "/api/healthz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond, "Gitea answers")

	g.call(g.waybill, http.MethodPost, "/user/repos", map[string]any{"name": "estate", "default_branch": "main"}, nil)
	g.call(g.waybill, http.MethodPut, "/repos/"+giteaProject+"/collaborators/bob", map[string]any{"permission": "write"}, nil)
	return g
}

// call asks Gitea's API for what a person would do there.
func (g *gitea) call(token, method, path string, in, out any) {
	g.t.Helper()
	content, err := json.Marshal(in)
	require.NoError(g.t, err)
	request, err := http.NewRequestWithContext(context.Background(), method, g.url+"/api/v1"+path, bytes.NewReader(content))
	require.NoError(g.t, err)
	request.Header.Set("Authorization", "token "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(g.t, err)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	require.NoError(g.t, err)
	require.Less(g.t, response.StatusCode, 300, "%s %s: %s", method, path, answer)
	if out != nil {
		require.NoError(g.t, json.Unmarshal(answer, out))
	}
}

// office is a server that follows the repository at this Gitea and is told of pushes, with nothing polled.
func (g *gitea) office() (o *office, told chan struct{}) {
	g.t.Helper()
	at, err := url.Parse(g.url)
	require.NoError(g.t, err)
	at.User, at.Path = url.UserPassword("waybill", g.waybill), "/"+giteaProject+".git"
	o = newOffice(g.t)
	o.forge.folder = at.String() // where people push
	at.User = url.User("waybill")
	o.Repository = open(g.t, Remote{URL: at.String(), Password: func() (string, error) { return g.waybill, nil }})
	o.Forge = &forge.Forge{Kind: forge.Gitea, Base: g.url, Project: giteaProject, Token: func() (string, error) { return g.waybill, nil }}
	o.Hook = func() (string, error) { return "hook-secret", nil }
	told = make(chan struct{}, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.Webhook().ServeHTTP(w, r)
		told <- struct{}{}
	}))
	g.t.Cleanup(hook.Close)
	g.call(g.waybill, http.MethodPost, "/repos/"+giteaProject+"/hooks", map[string]any{"type": "gitea", "active": true, "events": []string{"push"},
		"config": map[string]string{"url": hook.URL, "content_type": "json", "secret": "hook-secret"}}, nil)
	return o, told
}

// A promotion by pull request at a real forge: opened there by Waybill, once; merged there by a person; told by the
// forge's own webhook.
func TestAPullRequestAtAForge(t *testing.T) {
	g := startGitea(t)
	o, told := g.office()
	o.begin()
	woken := func() {
		select {
		case <-o.wakes(): // a signature that counts wakes the follower, and nothing else here does
		case <-time.After(30 * time.Second):
			t.Fatal("the forge did not tell of the push, or not so that it counted")
		}
	}
	<-told
	woken()

	bob := Author{"bob", "bob@acme.example"}
	r2 := estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}
	p, err := o.Target(t.Context(), r2, bob, true)
	require.NoError(t, err)
	require.Equal(t, g.url+"/"+giteaProject+"/pulls/1", p.Link)
	again, err := o.Target(t.Context(), r2, bob, true)
	require.NoError(t, err)
	require.Equal(t, p.Link, again.Link, "asked twice, opened once")
	var pull struct {
		Title, Body string
		Mergeable   bool
		Head        struct{ Ref string }
	}
	g.call(g.bobs, http.MethodGet, "/repos/"+giteaProject+"/pulls/1", nil, &pull)
	require.Equal(t, "production: release r2", pull.Title)
	require.Contains(t, pull.Body, "bob asks for release r2 (`"+digest("r2")+"`) in production.")
	require.Equal(t, p.Branch, pull.Head.Ref)
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions(), "nothing begins before it is merged")

	// Closed without a merge, it may be asked for again: a new one.
	g.call(g.bobs, http.MethodPatch, "/repos/"+giteaProject+"/pulls/1", map[string]any{"state": "closed"}, nil)
	anew, err := o.Target(t.Context(), r2, bob, true)
	require.NoError(t, err)
	require.Equal(t, g.url+"/"+giteaProject+"/pulls/2", anew.Link)

	for len(told) > 0 {
		<-told
	}
	select { // of the branches that were pushed
	case <-o.wakes():
	default:
	}
	g.merge(2)
	<-told
	woken()
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions())
	require.Equal(t, "r2", o.wanted())

	// What went back is committed there as well, and asks for nothing anew.
	o.ends("rolled_back", digest("r1"))
	require.NoError(t, o.turn())
	require.Equal(t, "r1", o.wanted())
	require.Len(t, o.promotions(), 1)
}

// merge has bob merge a pull request, once Gitea has looked whether it merges.
func (g *gitea) merge(number int) {
	g.t.Helper()
	path := fmt.Sprintf("/repos/%s/pulls/%d", giteaProject, number)
	require.Eventually(g.t, func() bool {
		var pull struct{ Mergeable bool }
		g.call(g.bobs, http.MethodGet, path, nil, &pull)
		return pull.Mergeable
	}, time.Minute, 100*time.Millisecond, "the pull request can be merged")
	g.call(g.bobs, http.MethodPost, path+"/merge", map[string]any{"Do": "merge"}, nil)
}

// What a forge refuses is told in words that lead on, and the branch stays for the next try.
func TestAForgeThatRefuses(t *testing.T) {
	g := startGitea(t)
	o, _ := g.office()
	o.begin()
	r2 := estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}
	bob := Author{"bob", "bob@acme.example"}
	works := o.Forge
	for name, c := range map[string]struct {
		change func(*forge.Forge)
		want   string
	}{
		"token that is not known": {func(f *forge.Forge) { f.Token = func() (string, error) { return strings.Repeat("0", 40), nil } }, "the token is not known there, or has expired"},
		"other project":           {func(f *forge.Forge) { f.Project = "waybill/other" }, "there is no waybill/other for the token's owner"},
		"no forge there":          {func(f *forge.Forge) { f.Base = "http://127.0.0.1:1" }, "connection refused"},
	} {
		broken := *works
		c.change(&broken)
		o.Forge = &broken
		p, err := o.Target(t.Context(), r2, bob, true)
		require.ErrorIs(t, err, ErrNoPullRequest, name)
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), strings.Repeat("0", 40), "a token is never repeated")
		require.NotEmpty(t, p.Branch, name)
	}
	o.Forge = works
	p, err := o.Target(t.Context(), r2, bob, true)
	require.NoError(t, err)
	require.Equal(t, g.url+"/"+giteaProject+"/pulls/1", p.Link, "asked again, it is opened")
}
