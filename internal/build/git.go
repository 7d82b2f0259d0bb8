package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// repository is a Git repository on this machine, read through the git binary: it knows every
// format of Git's object store, and no hook or filter of the repository is run.
type repository struct {
	dir    string
	prefix string // of dir within the work tree: "" or "sub/folder/"
	bare   bool
}

func openRepository(ctx context.Context, dir string) (*repository, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, errors.New("the program git is not installed; apt-get install -y git")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("source %s is no folder", dir)
	}
	r := &repository{dir: dir}
	out, err := r.git(ctx, "rev-parse", "--is-bare-repository", "--is-shallow-repository", "--show-prefix")
	if err != nil {
		return nil, fmt.Errorf("source %s is no Git repository that can be read: %w", dir, err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	r.bare = lines[0] == "true"
	if len(lines) > 1 && lines[1] == "true" {
		return nil, fmt.Errorf("source %s is a shallow clone: the time of a module's last change is not in it, and the digest would differ from a full clone's; run: git fetch --unshallow", dir)
	}
	if len(lines) > 2 {
		r.prefix = lines[2]
	}
	return r, nil
}

func (r *repository) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"}, args...)...)
	cmd.Dir = r.dir
	for _, kv := range os.Environ() {
		// GIT_DIR and its like, set where Waybill is called from a hook, would name another repository.
		if !strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANGUAGE=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1")
	return cmd
}

func (r *repository) git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	var stderr bytes.Buffer
	out := bounded{limit: maxGitOutput}
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if out.full {
		return nil, fmt.Errorf("git %s names more than %d MB of files; is this the right repository?", args[0], maxGitOutput>>20)
	}
	if err != nil {
		if message := strings.TrimSpace(stderr.String()); message != "" {
			return nil, fmt.Errorf("git %s: %s", args[0], message)
		}
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out.content, nil
}

// maxGitOutput bounds what is kept of one answer of git, in bytes: a million names.
const maxGitOutput = 128 << 20

// bounded keeps what is written to it up to a limit, then ends the writer.
type bounded struct {
	content []byte
	limit   int
	full    bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.content)+len(p) > b.limit {
		b.full = true
		return 0, errors.New("too much")
	}
	b.content = append(b.content, p...)
	return len(p), nil
}

// resolve returns the full name of a commit.
func (r *repository) resolve(ctx context.Context, commit string) (string, error) {
	if strings.HasPrefix(commit, "-") {
		return "", fmt.Errorf("%q is no commit", commit)
	}
	out, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", commit+"^{commit}")
	if err != nil {
		if commit == "HEAD" {
			return "", fmt.Errorf("source %s has no commit yet", r.dir)
		}
		return "", fmt.Errorf("there is no commit %q in %s", commit, r.dir)
	}
	return strings.TrimSpace(string(out)), nil
}

// lastChange is the time of the last commit up to the given one that touched the path; with an
// empty path, the commit's own.
func (r *repository) lastChange(ctx context.Context, commit, path string) (time.Time, error) {
	args := []string{"log", "-1", "--format=%ct", commit}
	if path != "" {
		args = append(args, "--", ":(top,literal)"+path)
	}
	out, err := r.git(ctx, args...)
	if err != nil {
		return time.Time{}, fmt.Errorf("git log: the time of the last change of %q: %w", path, err)
	}
	text := strings.TrimSpace(string(out))
	if text == "" {
		return time.Time{}, fmt.Errorf("git log names no commit that touched %q", path)
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("git log: %w", err)
	}
	return time.Unix(max(seconds, 0), 0).UTC(), nil
}

// changes lists what differs between the work tree's paths and HEAD, at most a few.
func (r *repository) changes(ctx context.Context, paths []string) ([]string, error) {
	specs := make([]string, len(paths))
	for i, path := range paths {
		specs[i] = ":(literal)" + path
	}
	out, err := r.git(ctx, append([]string{"status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none", "--"}, specs...)...)
	if err != nil {
		return nil, err
	}
	var changed []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if len(entry) > 3 {
			changed = append(changed, entry[3:])
		}
	}
	return changed, nil
}

// entry is one file of a tree.
type entry struct {
	path string // from the repository's root
	mode string // 100644, 100755, 120000 (link) or 160000 (submodule)
	size int64
	// object names the content, where Git keeps it; empty in a work tree.
	object string
	open   func() (io.ReadCloser, error)
}

// tree lists the files under a folder (from the repository's root; "" is all) at a commit.
func (r *repository) tree(ctx context.Context, commit, folder string, objects *objectReader) ([]entry, error) {
	args := []string{"ls-tree", "-r", "-z", "-l", "--full-tree", commit}
	if folder != "" {
		args = append(args, "--", folder+"/")
	}
	out, err := r.git(ctx, args...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, path, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 4 {
			return nil, fmt.Errorf("git ls-tree answered %q, which is not understood", line)
		}
		e := entry{path: path, mode: fields[0]}
		if fields[3] != "-" {
			if e.size, err = strconv.ParseInt(fields[3], 10, 64); err != nil {
				return nil, fmt.Errorf("git ls-tree answered %q: %w", line, err)
			}
		}
		e.object = fields[2]
		e.open = func() (io.ReadCloser, error) { return objects.open(fields[2]) }
		entries = append(entries, e)
	}
	return entries, nil
}
