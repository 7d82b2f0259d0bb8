// Package runtimetest is the conformance suite of runtimes: every implementation of
// runtime.Runtime passes it against the real thing. In the place of Odoo and of the router it
// runs a small program that listens where they listen and tells what it sees; nothing here says
// whether Odoo itself comes up, which is for the implementation's own tests.
package runtimetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// Bundle is one fresh place to run the suite's tests in. Nothing of another bundle is seen in it.
type Bundle struct {
	Runtime     runtime.Runtime
	Image       string              // of StandIn, as the runtime can pull it
	Missing     string              // reference of an image that the registry does not have
	Environment runtime.Environment // not made yet; its addresses are free
	UID         int                 // of the processes
	Begins      time.Duration       // within which a process has surely begun, where that takes more than a few seconds

	Scales bool // a pool's web process can have several pods

	// Leftovers lists what the runtime has made and not taken away.
	Leftovers func(ctx context.Context) ([]string, error)
	// FreeAddress is an address like the environment's, that nothing has; nil: any free port of this machine.
	FreeAddress func(t *testing.T) string
	// Occupy takes an address away from the runtime, as somebody else of its place would; nil: by listening on it.
	Occupy func(t *testing.T, address string) (release func())
	// Disconnect cuts every connection between the runtime and its place, and refuses new ones
	// until the returned function is called.
	Disconnect func() (reconnect func())
}

// deadline bounds every test of the suite.
const deadline = 3 * time.Minute

// Run runs the suite. setup is called once for each test.
func Run(t *testing.T, setup func(t *testing.T) Bundle) {
	tests := []struct {
		name string
		test func(context.Context, *testing.T, Bundle)
	}{
		{"EnvironmentIsEnsuredAndObserved", environmentIsEnsuredAndObserved},
		{"RouterIsReplacedWhenItsAddressChanges", routerIsReplacedWhenItsAddressChanges},
		{"RouterSpeaksTLS", routerSpeaksTLS},
		{"PortInUseIsNamed", portInUseIsNamed},
		{"PoolComesUp", poolComesUp},
		{"PoolIsObserved", poolIsObserved},
		{"PoolServesFromTwoPods", poolServesFromTwoPods},
		{"PoolIsReplacedWhenItsSpecChanges", poolIsReplacedWhenItsSpecChanges},
		{"ConcurrentEnsuresAgree", concurrentEnsuresAgree},
		{"ConfigurationIsReplacedInPlace", configurationIsReplacedInPlace},
		{"PoolIsRemovedGracefully", poolIsRemovedGracefully},
		{"BusyPoolIsRemovedAfterItsGrace", busyPoolIsRemovedAfterItsGrace},
		{"PoolThatEndsIsAnError", poolThatEndsIsAnError},
		{"DeafPoolIsGivenUp", deafPoolIsGivenUp},
		{"DedicatedGroupIsApart", dedicatedGroupIsApart},
		{"DedicatedGroupsDisturbNobody", dedicatedGroupsDisturbNobody},
		{"MissingImageIsNamed", missingImageIsNamed},
		{"AbsentIsNotFound", absentIsNotFound},
		{"BadInputIsRefused", badInputIsRefused},
		{"JobSucceeds", jobSucceeds},
		{"JobFails", jobFails},
		{"JobOutputIsBounded", jobOutputIsBounded},
		{"JobRunsOutOfMemory", jobRunsOutOfMemory},
		{"HangingJobIsRemoved", hangingJobIsRemoved},
		{"WaitSurvivesALostConnection", waitSurvivesALostConnection},
		{"AwayIsUnavailable", awayIsUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			b := setup(t)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
				defer cancel()
				require.NoError(t, b.Runtime.RemoveEnvironment(ctx, b.Environment.Name))
				require.NoError(t, b.Runtime.RemoveEnvironment(ctx, b.Environment.Name), "a second time")
				left, err := b.Leftovers(ctx)
				require.NoError(t, err)
				require.Empty(t, left, "left over after RemoveEnvironment")
			})
			tt.test(ctx, t, b)
		})
	}
}

// pool is a pool of the bundle's environment.
func (b Bundle) pool(name string, workers int) runtime.Pool {
	return runtime.Pool{
		Environment: b.Environment.Name, Name: name, Group: "shared", Image: b.Image, Workers: workers,
		Files: runtime.Files{"odoo.conf": []byte("[options]\n"), "pool.json": []byte(`{"generation": 1}`)},
	}
}

func (b Bundle) job(name string, command ...string) runtime.Job {
	return runtime.Job{
		Environment: b.Environment.Name, Name: name, Group: "shared", Image: b.Image,
		Command: append([]string{"odoo", "job"}, command...),
		Files:   runtime.Files{"job.json": []byte(`{"promotion": "p1"}`)},
	}
}

func (b Bundle) freeAddress(t *testing.T) string {
	if b.FreeAddress != nil {
		return b.FreeAddress(t)
	}
	return FreeAddress(t)
}

func (b Bundle) occupy(t *testing.T, address string) (release func()) {
	t.Helper()
	if b.Occupy != nil {
		return b.Occupy(t, address)
	}
	taken, err := net.Listen("tcp", address)
	require.NoError(t, err)
	return func() { require.NoError(t, taken.Close()) }
}

// misbehave is a pool's file that makes the stand-in misbehave.
func misbehave(t *testing.T, how map[string]any) []byte {
	t.Helper()
	content, err := json.Marshal(how)
	require.NoError(t, err)
	return content
}

// starts are how often the role's process was started.
func (b Bundle) starts(t *testing.T, group, role string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(b.Runtime.DataDir(b.Environment.Name, group), "starts-"+role))
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return strings.Count(string(content), "\n")
}

// get returns status and body of a page.
func get(ctx context.Context, t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// page is the body of a page that must be there.
func page(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	status, body := get(ctx, t, url)
	require.Equal(t, http.StatusOK, status, "GET %s: %s", url, body)
	return body
}

// eventually polls until ok answers true, and fails with what it last said.
func eventually(ctx context.Context, t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		var done bool
		if done, last = ok(); done {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(t, fmt.Sprintf("%s: not in time; last: %s", what, last))
		}
	}
}
