package promotion

import "testing"

// For tests that use a room which knows this one.

// SharedCluster is the server that this package's tests share.
var SharedCluster = cluster

// Define adds a procedure until the test ends.
func Define(t *testing.T, kind string, steps ...Step) {
	procedures[kind] = steps
	t.Cleanup(func() { delete(procedures, kind) })
}

// Kills lets the server die once at each of those points.
func Kills(t *testing.T, e *Engine, points ...string) { kills(t, e, points...) }

// Fails is a step that says no.
func Fails(reason string) error { return failed("%s", reason) }
