package estate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// gitLimit is for one call of git; a status of a large repository on a slow disk takes seconds.
const gitLimit = 20 * time.Second

// gitState returns the commit that the folder is at and whether its content differs from it.
// A folder outside any repository, and a machine without git, give neither.
func gitState(ctx context.Context, dir string) (commit string, dirty bool, err error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", false, nil
	}
	said, err := git(ctx, dir, "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=normal", "--", ".")
	switch {
	case err != nil && (strings.Contains(err.Error(), "not a git repository") || strings.Contains(err.Error(), "must be run in a work tree")):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("estate: find the commit of %s: %w", dir, err)
	}
	for line := range strings.Lines(said) {
		header, is := strings.CutPrefix(line, "# ")
		if oid, found := strings.CutPrefix(header, "branch.oid "); is && found {
			commit = strings.TrimSpace(oid)
		}
		dirty = dirty || !is
	}
	if commit == "(initial)" { // a repository without a commit
		return "", true, nil
	}
	return commit, dirty, nil
}

// git runs one reading command. Variables such as GIT_DIR, which a hook or another tool may have
// set, would lead to another repository, so none is passed on; nothing that the repository
// configures is executed.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GIT_") && !strings.HasPrefix(variable, "LC_") && !strings.HasPrefix(variable, "LANG") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	cmd.WaitDelay = time.Second
	out, failure := &head{}, &head{}
	cmd.Stdout, cmd.Stderr = out, failure
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("git %s: %w", args[0], ctx.Err())
		}
		line, _, _ := strings.Cut(strings.TrimSpace(failure.String()), "\n")
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, line)
	}
	return strings.TrimSpace(out.String()), nil
}

// head keeps the first 64 KiB of what is written and lets the rest go.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := 64<<10 - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
