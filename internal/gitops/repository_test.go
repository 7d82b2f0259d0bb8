package gitops

import (
	"context"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// forge is a real Git server: git http-backend behind HTTP, with a password, which can go away.
type gitHost struct {
	*httptest.Server
	folder string // the bare repository
	down   atomic.Bool
}

const secret = "let-me-in"

func newGitHost(t *testing.T) *gitHost {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	_, err = os.Stat(backend)
	require.NoError(t, err, "apt-get install -y git")
	root := t.TempDir()
	f := &gitHost{folder: filepath.Join(root, "estate.git")}
	run(t, root, "init", "-q", "--bare", "-b", "main", f.folder)
	run(t, f.folder, "config", "http.receivepack", "true")
	handler := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=waybill"}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		if _, password, _ := r.BasicAuth(); password != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *gitHost) remote() Remote {
	return Remote{URL: strings.Replace(f.URL, "http://", "http://waybill@", 1) + "/estate.git", Password: func() (string, error) { return secret, nil }}
}

// push commits files as a person would, from a clone of its own.
func (f *gitHost) push(t *testing.T, files map[string]string, args ...string) string {
	t.Helper()
	work := t.TempDir()
	run(t, work, "clone", "-q", f.folder, ".")
	run(t, work, "checkout", "-q", "-B", "main")
	for name, content := range files {
		path := filepath.Join(work, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	run(t, work, "add", "-A")
	run(t, work, append([]string{"commit", "-q", "-m", "Change"}, args...)...)
	run(t, work, "push", "-q", "--force", "origin", "main")
	return strings.TrimSpace(run(t, work, "rev-parse", "HEAD"))
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return string(out)
}

func open(t *testing.T, remote Remote) *Repository {
	t.Helper()
	r, err := Open(t.Context(), filepath.Join(t.TempDir(), "clone.git"), remote)
	require.NoError(t, err)
	return r
}

func message(subject string) Message {
	return Message{Subject: subject, Trailers: [][2]string{{"Waybill-Promotion", "abc"}}, Author: Author{"Bob", "bob@acme.example"}, At: time.Unix(1800000000, 0)}
}

func TestHeadFollowsTheRemote(t *testing.T) {
	long.Test(t)
	f := newGitHost(t)
	r := open(t, f.remote())
	head, err := r.Head(t.Context())
	require.NoError(t, err)
	require.Empty(t, head, "the remote has no commit yet")

	first := f.push(t, map[string]string{"estate.yaml": "one\n"})
	head, err = r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, head)
	second := f.push(t, map[string]string{"estate.yaml": "two\n"})
	head, err = r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, head)
	grew, err := r.Follows(t.Context(), first, second)
	require.NoError(t, err)
	require.True(t, grew)

	amended := f.push(t, map[string]string{"estate.yaml": "three\n"}, "--amend")
	head, err = r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, amended, head)
	grew, err = r.Follows(t.Context(), second, amended)
	require.NoError(t, err)
	require.False(t, grew, "a rewritten history is no growth")

	content, found, err := r.File(t.Context(), amended, "estate.yaml")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "three\n", string(content))
	_, found, err = r.File(t.Context(), amended, "none.yaml")
	require.NoError(t, err)
	require.False(t, found)

	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, r.Export(t.Context(), first, dir))
	exported, err := os.ReadFile(filepath.Join(dir, "estate.yaml"))
	require.NoError(t, err)
	require.Equal(t, "one\n", string(exported))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing of ours stays beside the files")
}

func TestCommitChangesNothingElse(t *testing.T) {
	f := newGitHost(t)
	parent := f.push(t, map[string]string{"a.yaml": "a\n", "sub/b.yaml": "b\n", "run.sh": "#!/bin/sh\n"})
	r := open(t, f.remote())
	_, err := r.Head(t.Context())
	require.NoError(t, err)
	commit, err := r.Commit(t.Context(), parent, map[string][]byte{"targets/production.yaml": []byte("kind: Target\n"), "a.yaml": nil}, message("Production goes to r2"))
	require.NoError(t, err)
	again, err := r.Commit(t.Context(), parent, map[string][]byte{"targets/production.yaml": []byte("kind: Target\n"), "a.yaml": nil}, message("Production goes to r2"))
	require.NoError(t, err)
	require.Equal(t, commit, again, "the same act twice is one commit")
	require.NoError(t, r.Push(t.Context(), commit, ""))
	head, err := r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, commit, head)
	require.Equal(t, "D\ta.yaml\nA\ttargets/production.yaml\n", run(t, f.folder, "diff", "--name-status", parent, commit))
	require.Equal(t, "Bob <bob@acme.example> by Waybill: Production goes to r2", strings.TrimSpace(run(t, f.folder, "log", "-1", "--format=%an <%ae> by %cn: %s", commit)))
	require.Equal(t, "abc", strings.TrimSpace(run(t, f.folder, "log", "-1", "--format=%(trailers:key=Waybill-Promotion,valueonly)", commit)))
}

func TestPushNeverForces(t *testing.T) {
	f := newGitHost(t)
	parent := f.push(t, map[string]string{"a.yaml": "a\n"})
	r := open(t, f.remote())
	_, err := r.Head(t.Context())
	require.NoError(t, err)
	ours, err := r.Commit(t.Context(), parent, map[string][]byte{"t.yaml": []byte("x\n")}, message("Ours"))
	require.NoError(t, err)
	theirs := f.push(t, map[string]string{"a.yaml": "b\n"})
	require.ErrorIs(t, r.Push(t.Context(), ours, ""), ErrMoved)
	head, err := r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, theirs, head)

	require.NoError(t, r.Push(t.Context(), ours, "waybill/production-r2"), "a branch of its own is for a pull request")
	require.NoError(t, r.Push(t.Context(), ours, "waybill/production-r2"), "and is there already")
}

func TestRemoteThatRefuses(t *testing.T) {
	f := newGitHost(t)
	parent := f.push(t, map[string]string{"a.yaml": "a\n"})
	hook := filepath.Join(f.folder, "hooks", "pre-receive")
	require.NoError(t, os.WriteFile(hook, []byte("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n"), 0o755))
	r := open(t, f.remote())
	_, err := r.Head(t.Context())
	require.NoError(t, err)
	commit, err := r.Commit(t.Context(), parent, map[string][]byte{"t.yaml": []byte("x\n")}, message("Ours"))
	require.NoError(t, err)
	err = r.Push(t.Context(), commit, "")
	require.ErrorContains(t, err, "refuses the commit")
	require.NotErrorIs(t, err, ErrMoved)
	require.NotErrorIs(t, err, ErrUnreachable)
}

func TestRemoteThatIsAway(t *testing.T) {
	f := newGitHost(t)
	f.push(t, map[string]string{"a.yaml": "a\n"})
	r := open(t, f.remote())
	f.down.Store(true)
	_, err := r.Head(t.Context())
	require.ErrorIs(t, err, ErrUnreachable)
	f.down.Store(false)
	wrong := f.remote()
	wrong.Password = func() (string, error) { return "guess", nil }
	_, err = open(t, wrong).Head(t.Context())
	require.ErrorIs(t, err, ErrUnreachable)
	require.NotContains(t, err.Error(), "guess", "no secret is in an error")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Head(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestURLsThatAreRefused(t *testing.T) {
	for _, remote := range []string{"", "--upload-pack=touch", "ext::sh -c touch", "ftp://git.example/x", "https://bob:secret@git.example/x"} {
		_, err := Open(t.Context(), t.TempDir(), Remote{URL: remote})
		require.Error(t, err, remote)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, branch := range []string{"-x", "a..b", "a b", "x/"} {
		_, err := Open(t.Context(), t.TempDir(), Remote{URL: "/nowhere", Branch: branch})
		require.Error(t, err, branch)
	}
}
