package promotion

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The policy of an error is in its type. A step returns one of these, or any other error, which
// is taken as transient: tried again with growing pauses, and Failed when that does not help.

// Failed ends the way forward: everything done so far is undone, in reverse order.
type Failed struct {
	Reason string // one line for the person who asks why
	Err    error  // what lies beneath; may be nil
}

func (e *Failed) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *Failed) Unwrap() error { return e.Err }

func failed(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Failed{Reason: oneLine(err.Error())}
}

// Wait asks to be called again, at Until or when something wakes the rollout.
type Wait struct {
	Until  time.Time
	Reason string
}

func (e *Wait) Error() string { return "waits: " + e.Reason }

// NeedsPerson stops the rollout where it is until a person has chosen.
type NeedsPerson struct {
	Reason  string
	Choices []string // commands
}

func (e *NeedsPerson) Error() string {
	return e.Reason + " — choose: " + strings.Join(e.Choices, "; or ")
}

// errAborted is the cause of a step's context when a person asked to go back.
var errAborted = errors.New("a person asked to go back")

// pauses between tries of a step that met a transient error. After the last one it has failed.
var pauses = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}

// undoTries is how often a step back is tried, at most 15 s apart, before a person is asked.
const undoTries = 40

func undoPause(attempt int) time.Duration {
	return min(time.Duration(attempt+1)*500*time.Millisecond, 15*time.Second)
}

// oneLine makes a message fit for a table: no line breaks, bounded length.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 600 {
		s = string(r[:600]) + " …"
	}
	return s
}
