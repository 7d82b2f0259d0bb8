package cli

import (
	"context"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// authors are the addresses of those who have made a commit: author, committer and co-authors. They do not approve
// what is built of it.
func authors(ctx context.Context, folder, commit string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "-C", folder, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "log", "-1", "--no-show-signature",
		"--format=<%ae>%n<%ce>%n%(trailers:key=Co-authored-by,valueonly)", commit, "--")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GIT_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find out who has made commit %.10s of %s: %w", commit, folder, err)
	}
	var found []string
	for _, line := range strings.Split(string(out), "\n") {
		if parsed, err := mail.ParseAddress(strings.TrimSpace(line)); err == nil {
			found = append(found, strings.ToLower(parsed.Address))
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), 100)], nil
}
