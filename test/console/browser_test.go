//go:build browser

package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// interrupted is done when somebody ends the test early: what was started is then stopped as at its end.
var interrupted context.Context

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	interrupted = ctx
	code := m.Run()
	stop()
	os.Exit(code)
}

// pictures is where screenshots are written, those of what failed in failed/.
func pictures(t *testing.T, of string) string {
	t.Helper()
	folder := os.Getenv("WAYBILL_PICTURES")
	if folder == "" {
		cache := os.Getenv("WAYBILL_CACHE")
		if cache == "" {
			user, err := os.UserCacheDir()
			require.NoError(t, err)
			cache = filepath.Join(user, "waybill")
		}
		folder = filepath.Join(cache, "console-pictures")
	}
	folder = filepath.Join(folder, of)
	require.NoError(t, os.RemoveAll(folder))
	require.NoError(t, os.MkdirAll(folder, 0o755))
	return folder
}

// scene is what the browser's side is told; see browser/scene.ts.
type scene struct {
	URL       string            `json:"url"`
	Waybill   string            `json:"waybill"`
	Data      string            `json:"data"`
	Pictures  string            `json:"pictures"`
	Passwords map[string]string `json:"passwords"`
	Ids       map[string]string `json:"ids"`
}

// play runs projects of playwright.config.ts on a server, one after the other. Browsers that it started end with it, also when the test is
// ended early.
func play(t *testing.T, s *server, ids map[string]string, into string, projects ...string) {
	t.Helper()
	said := scene{URL: s.url, Waybill: s.cli.Binary, Data: s.cli.Data, Pictures: pictures(t, into), Passwords: s.passwords, Ids: ids}
	content, err := json.Marshal(said)
	require.NoError(t, err)
	ctx := interrupted
	if deadline, limited := t.Deadline(); limited { // so that there is time to stop what was started
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Minute))
		defer cancel()
	}
	temporary := t.TempDir() // of the browsers, by which they are known
	file := filepath.Join(temporary, "scene.json")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	for _, project := range projects {
		if ctx.Err() != nil {
			break
		}
		assert.NoError(t, playwright(ctx, project, file, temporary), "%s: what failed is above; pictures of it are in %s", project, said.Pictures)
	}
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	assert.NoError(t, stage.Poll(ending, 100*time.Millisecond, "the browsers to end", func() (bool, error) { return len(processes(temporary)) == 0, nil }), "%q", processes(temporary))
	require.NoError(t, ctx.Err())
	t.Logf("pictures: %s", said.Pictures)
}

func playwright(ctx context.Context, project, file, temporary string) error {
	arguments := []string{"node_modules/@playwright/test/cli.js", "test", "--project", project}
	if only := os.Getenv("WAYBILL_CONSOLE"); only != "" {
		arguments = append(arguments, "--grep", only, "--pass-with-no-tests")
	}
	command := exec.CommandContext(ctx, "node", arguments...)
	command.Env = append(os.Environ(), "WAYBILL_SCENE="+file, "TMPDIR="+temporary)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                       // a Ctrl-C in the terminal is for the test, which then
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) } // has it close its browsers
	command.WaitDelay = 20 * time.Second
	if err := command.Start(); err != nil {
		return err
	}
	err := command.Wait()
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // of its group, whatever is left
	return err
}

// processes are those that name a folder in their command line.
func processes(folder string) []string {
	var found []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		content, err := os.ReadFile(line)
		if err == nil && bytes.Contains(content, []byte(folder)) {
			found = append(found, strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}
