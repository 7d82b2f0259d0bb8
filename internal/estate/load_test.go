package estate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	productYAML     = "kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [test]\n"
	environmentYAML = "kind: Environment\nname: test\nruntime: {docker: {http: \"127.0.0.1:8079\"}}\n"
)

// write makes a folder with files; a content that starts with "-> " makes a link.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, link := strings.CutPrefix(content, "-> "); link {
			require.NoError(t, os.Symlink(target, path))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

func small() map[string]string {
	return map[string]string{"product.yaml": productYAML, "deep/er/test.yml": environmentYAML}
}

func TestLoad(t *testing.T) {
	files := small()
	files[".hidden.yaml"] = "not: an estate"
	files[".git2/config.yaml"] = "not: an estate"
	files["notes.txt"] = "not an estate"
	files["tenants.yaml"] = "-> .data/tenants.yaml"
	files[".data/tenants.yaml"] = "kind: Tenant\nname: acme\nenvironment: test\nhosts: [acme.localhost]\n"
	files["link.yaml"] = "-> deep" // a link to a folder is passed by
	dir := write(t, files)
	e, err := Load(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, dir, e.Root)
	require.Empty(t, e.Commit)
	require.False(t, e.Dirty)
	require.Len(t, e.Tenants, 1)
	require.Equal(t, "acme_test", e.Tenants[0].Database)
}

func TestLoadRefuses(t *testing.T) {
	outside := write(t, map[string]string{"secret.yaml": "password: hunter2\n"})
	cases := map[string]struct {
		change func(files map[string]string)
		want   string
	}{
		"link leads out":         {func(f map[string]string) { f["x.yaml"] = "-> " + outside + "/secret.yaml" }, "x.yaml: cannot be read: path escapes from parent (a link must stay inside the estate's folder)"},
		"link leads out upwards": {func(f map[string]string) { f["x.yaml"] = "-> ../../etc/passwd" }, "x.yaml: cannot be read: path escapes from parent (a link must stay inside the estate's folder)"},
		"link leads nowhere":     {func(f map[string]string) { f["x.yaml"] = "-> gone.yaml" }, "x.yaml: cannot be read: no such file or directory (a link must stay inside the estate's folder)"},
		"too large":              {func(f map[string]string) { f["x.yaml"] = strings.Repeat("#\n", maxFileSize/2+1) }, "x.yaml: is 1048577 bytes; at most 1048576 are read (split it into several files)"},
		"binary":                 {func(f map[string]string) { f["x.yaml"] = "kind: Tenant\nname: \xff\n" }, "x.yaml:2:1: is not plain UTF-8 text"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := small()
			c.change(files)
			_, err := Load(t.Context(), write(t, files))
			require.EqualError(t, err, c.want)
		})
	}
}

func TestLoadManyFiles(t *testing.T) {
	before := maxFiles
	maxFiles = 20
	t.Cleanup(func() { maxFiles = before })
	dir := write(t, small())
	for i := range maxFiles {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("n%04d.yaml", i)), nil, 0o644))
	}
	_, err := Load(t.Context(), dir)
	require.ErrorContains(t, err, "has more than 20 YAML files; give the estate a folder of its own")
}

func TestLoadMuch(t *testing.T) {
	dir := write(t, small())
	big := bytes.Repeat([]byte("# nothing\n"), maxFileSize/10)
	for i := range maxSize/len(big) + 1 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("n%04d.yaml", i)), big, 0o644))
	}
	_, err := Load(t.Context(), dir)
	require.ErrorContains(t, err, "bytes of YAML; give the estate a folder of its own")
}

func TestLoadPipe(t *testing.T) {
	dir := write(t, small())
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600))
	_, err := Load(t.Context(), dir) // must not wait for a writer
	require.EqualError(t, err, "pipe.yaml: is no regular file")
}

func TestLoadNothing(t *testing.T) {
	_, err := Load(t.Context(), filepath.Join(t.TempDir(), "gone"))
	require.ErrorContains(t, err, "does not exist; write a first estate with: waybill init")
	_, err = Load(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "has no *.yaml file; write a first estate with: waybill init")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Load(ctx, write(t, small()))
	require.ErrorIs(t, err, context.Canceled)
}

func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"}, args...)...).CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func TestLoadGit(t *testing.T) {
	repo := write(t, map[string]string{"estate/product.yaml": productYAML, "estate/test.yaml": environmentYAML, "code.py": ""})
	dir := filepath.Join(repo, "estate")
	runGit(t, repo, "init", "-q")

	load := func() *Estate {
		t.Helper()
		e, err := Load(t.Context(), dir)
		require.NoError(t, err)
		return e
	}
	e := load()
	require.Empty(t, e.Commit, "a repository without a commit")
	require.True(t, e.Dirty)

	runGit(t, repo, "add", ".")
	runGit(t, repo, "commit", "-q", "-m", "first")
	head := runGit(t, repo, "rev-parse", "HEAD")
	e = load()
	require.Equal(t, head, e.Commit)
	require.False(t, e.Dirty)

	require.NoError(t, os.WriteFile(filepath.Join(repo, "code.py"), []byte("changed"), 0o644))
	require.False(t, load().Dirty, "a change beside the estate's folder does not make it dirty")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new.yaml"), []byte("# new\n"), 0o644))
	e = load()
	require.True(t, e.Dirty)
	require.Equal(t, head, e.Commit)

	// GIT_DIR of whoever started us must not lead to another repository.
	other := write(t, map[string]string{"a": "b"})
	runGit(t, other, "init", "-q")
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	require.Equal(t, head, load().Commit)
}

func TestGitFails(t *testing.T) {
	dir := write(t, small())
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".git"), []byte("gitdir: /nonexistent\n"), 0o644))
	_, err := Load(t.Context(), dir)
	if err != nil { // git words it differently by version; what counts is that no wrong commit comes out
		require.ErrorContains(t, err, "estate: find the commit of")
	}
}
