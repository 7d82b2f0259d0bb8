// Package long marks tests that take long: which are killed at each boundary in turn, wait for real time to pass, or do one thing thousands of
// times. make test runs them; make test-unit, which is for the minutes between two changes, leaves them out.
package long

import "testing"

// Test leaves a test out where short ones alone were asked for.
func Test(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: make test runs it")
	}
}
