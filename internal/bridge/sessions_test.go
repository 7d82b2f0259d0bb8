package bridge

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// TestSessionsInRedis runs the tests of the bridge's sessions on a real Redis server, with the distribution's Python and client.
func TestSessionsInRedis(t *testing.T) {
	long.Test(t)
	const python = "/usr/bin/python3"
	require.NoError(t, exec.CommandContext(t.Context(), python, "-c", "import redis").Run(), "install what they need: hack/setup.sh packages redis")
	_, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it: hack/setup.sh packages redis")
	command := exec.CommandContext(t.Context(), python, "-B", "-W", "ignore::ResourceWarning", "-m", "unittest", "tests.test_sessions")
	command.Dir = "../../bridge"
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "\nOK\n", "none may be skipped")
	t.Log(string(out))
}
