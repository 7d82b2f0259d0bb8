package cpuwait

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMeter has two processes share one CPU: each waits about half of the time, and one that sleeps does not.
func TestMeter(t *testing.T) {
	var one unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &one))
	cpu := 0
	for !one.IsSet(cpu) {
		cpu++
	}
	one.Zero()
	one.Set(cpu)
	start := func(script, name string) int {
		cmd := exec.Command("sh", "-c", script, name)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		require.NoError(t, unix.SchedSetaffinity(cmd.Process.Pid, &one))
		return cmd.Process.Pid
	}
	spin, other, idle := start("while :; do :; done", "spinner"), start("while :; do :; done", "spinner"), start("read x; exec sleep 60", "idler")
	var all, none, still, gone Meter
	look := func() (time.Duration, time.Duration, time.Duration, time.Duration) {
		return all.Look(Root{spin, "spinner"}, Root{other, "spinner"}), none.Look(Root{spin, "no such"}), still.Look(Root{idle, ""}), gone.Look(Root{0, ""})
	}
	began := time.Now() // before the first look, from which the meter counts
	a, n, s, g := look()
	assert.Zero(t, a+n+s+g, "what was before the first look does not count")
	require.Eventually(t, func() bool {
		a, n, s, g = look()
		return a > 300*time.Millisecond
	}, time.Minute, 50*time.Millisecond, "two that spin on one CPU wait")
	assert.LessOrEqual(t, a, time.Since(began), "never more than the time that passed")
	assert.Zero(t, n)
	assert.Less(t, s, a/2, "who sleeps does not wait for a CPU, once it has started")
	assert.Zero(t, g)
}
