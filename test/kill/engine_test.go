//go:build odoo

package kill

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// TestKillEngine restarts the Docker Engine while the update works in one of its containers.
func TestKillEngine(t *testing.T) {
	fullOnly(t)
	engineOfOurOwn(t)
	s := theStage(t)
	play(t, scenario{release: "r2", meddle: func(ctx context.Context, t *testing.T) {
		awaitUpdate(ctx, t, s)
		if out, err := setup(ctx, "restart"); err != nil {
			t.Fatalf("restart the engine: %v: %s", err, out)
		}
	}})
	mayEnterAgain(t, "r2")
}

// setup runs hack/setup.sh; what it prints for its caller is returned, with its complaints where it failed.
func setup(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "../../hack/setup.sh", args...)
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		return complaints.String(), err
	}
	return string(out), nil
}

// engineOfOurOwn makes sure that the engine in use is one that the set-up started: no other may be
// restarted. Where it is not, it starts one, and a stage on it, for this test.
func engineOfOurOwn(t *testing.T) {
	t.Helper()
	if host := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"); strings.HasPrefix(host, "/run/waybill-") {
		if _, err := os.Stat(filepath.Join(filepath.Dir(host), "engine")); err == nil {
			return
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "waybill")
	if given := os.Getenv("WAYBILL_CACHE"); given != "" {
		cache = given
	}
	options, err := stage.Here(t.Context(), "engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_CACHE", filepath.Join(cache, "engine"))
	t.Setenv("DOCKER_HOST", "")
	said, err := setup(t.Context(), "docker")
	if err != nil {
		t.Fatalf("an engine of our own does not start: %v: %s", err, said)
	}
	if !strings.Contains(said, "WAYBILL_ENGINE_STARTED=yes") {
		t.Fatalf("the machine's own Docker Engine answers, and this test restarts none but its own. Stop it for the test: systemctl stop docker.socket docker")
	}
	t.Cleanup(func() {
		if out, err := setup(context.Background(), "stop"); err != nil {
			t.Errorf("stop the engine: %v: %s", err, out)
		}
	})
	_, host, _ := strings.Cut(said, "DOCKER_HOST=")
	host, _, _ = strings.Cut(host, "\n")
	t.Setenv("DOCKER_HOST", host)

	theirs, theirBase, theirLedger, theirTrouble := shared, base, baseLedger, broken
	shared, base, baseLedger, broken = nil, "", nil, nil
	t.Cleanup(func() {
		if shared != nil {
			if err := shared.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		_ = os.Remove(options.Binary)
		shared, base, baseLedger, broken = theirs, theirBase, theirLedger, theirTrouble
	})
	options.Releases, options.Hold = []string{"r1", "r2"}, holdBudget
	options.Log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	if shared, err = stage.Open(context.WithoutCancel(t.Context()), options); err != nil {
		t.Fatal(err)
	}
}
