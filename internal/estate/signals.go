package estate

// AtDeadline says what becomes of a traffic step that has no verdict by its deadline.
type AtDeadline string

// The ends of a step without a verdict.
const (
	GoBack AtDeadline = "back" // the release goes back
	Ask    AtDeadline = "ask"  // the traffic goes back, and a person is asked whether to try again
)

// SignalRule says how one signal is judged, where the default does not fit.
type SignalRule struct {
	Signal     string     `yaml:"signal" json:"signal"`                 // a signal by its name, like order_confirm.failed, or with * for the call, like *.seconds; the last rule that fits counts
	Role       SignalRole `yaml:"role" json:"role,omitempty"`           // trigger: the release goes back; warning: the step waits; record: it is written down; off: it is not looked at; default: that of the signal
	Tolerance  *float64   `yaml:"tolerance" json:"tolerance,omitempty"` // how much worse is not bad enough, in the signal's unit: a share for .failed and .refused, a part of the time for .seconds, seconds for cron.late; default: that of the signal
	Importance float64    `yaml:"importance" json:"importance"`         // of the triggers among themselves: what is three times as important gets three times as much of alpha, and speaks sooner; default 1
	Required   bool       `yaml:"required" json:"required,omitempty"`   // no step passes before this signal is known to be no worse than tolerated
}

// SignalRole says what follows when a signal is worse on the new release.
type SignalRole string

// The roles of a signal.
const (
	Trigger SignalRole = "trigger"
	Warning SignalRole = "warning"
	Record  SignalRole = "record"
	Off     SignalRole = "off"
)

// DefaultAlpha is the chance that a release with nothing wrong is taken back in a whole shift.
const DefaultAlpha = 0.01

// Chance is Alpha, or its default.
func (r Rollout) Chance() float64 {
	if r.Alpha == 0 {
		return DefaultAlpha
	}
	return r.Alpha
}
