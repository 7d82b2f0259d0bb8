package estate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	signalRule = regexp.MustCompile(`^(\*|[a-z][a-z0-9_]{0,62})\.[a-z][a-z_]{0,30}$`)

	signalRoles = []string{string(Trigger), string(Warning), string(Record), string(Off)}
	deadlines   = []string{string(GoBack), string(Ask)}

	alphaSpan      = span[float64]{0.0001, 0.2}
	toleranceSpan  = span[float64]{0, 86400}
	importanceSpan = span[float64]{0.01, 100}
)

// measures are what is known of a call, and calls those that have one thing each.
var (
	measures = []string{"failed", "refused", "seconds"}
	singles  = append([]string{"requests.seconds", "log.errors", "log.warnings", "log.slow", "postgres.waiting", "postgres.transaction", "postgres.connections", "cron.failing", "cron.late"}, gauges...)
	// gauges are numbers that both pools share.
	gauges = []string{"postgres.replication_lag", "postgres.connections_used", "mail.waiting", "mail.oldest", "mail.failed", "queue.waiting", "queue.oldest", "queue.failed", "redis.memory", "redis.memory_used", "redis.evicted"}
)

const maxSignalRules = 50

// fillSignals fills in the defaults of the rules.
func (r *Rollout) fillSignals(given func(string) bool) {
	for i := range r.Signals {
		or(given, fmt.Sprintf("rollout.signals[%d].importance", i), &r.Signals[i].Importance, 1)
	}
}

// evidence checks what a step's verdict is made of.
func (d *document) evidence(r Rollout) {
	within(d, "rollout.events", r.Events, requestsSpan, "0 asks for none")
	within(d, "rollout.alpha", r.Alpha, alphaSpan, "0.01 or 1% is one good release in a hundred that is taken back")
	if d.given("rollout.at_deadline") && !d.unread("rollout.at_deadline") {
		d.oneOf("rollout.at_deadline", string(r.AtDeadline), deadlines)
	}
	if len(r.Signals) > maxSignalRules {
		d.problem("rollout.signals", fmt.Sprintf("has %d rules; at most %d are possible", len(r.Signals), maxSignalRules), "")
	}
	for i, rule := range r.Signals[:min(len(r.Signals), maxSignalRules)] {
		field := fmt.Sprintf("rollout.signals[%d]", i)
		if d.unread(field) {
			continue
		}
		d.signalName(field+".signal", rule.Signal)
		if role := field + ".role"; d.given(role) && !d.unread(role) {
			d.oneOf(role, string(rule.Role), signalRoles)
		}
		if rule.Tolerance != nil {
			most := toleranceSpan
			if slices.Contains(gauges, rule.Signal) {
				most.most = 1 << 40 // redis.memory is in bytes
			} else if strings.HasSuffix(rule.Signal, ".failed") || strings.HasSuffix(rule.Signal, ".refused") {
				most = errorSpan
			}
			within(d, field+".tolerance", *rule.Tolerance, most, "0.02 or 2%; for .seconds 0.25 is a quarter longer, for cron.late it is seconds")
		}
		within(d, field+".importance", rule.Importance, importanceSpan, "1 is as important as the others")
		if rule.Required && (rule.Role == Record || rule.Role == Off || rule.Role == Warning) {
			d.problem(field+".required", "only a trigger can be required; this one is "+string(rule.Role), "remove the line, or make it role: trigger")
		}
		if slices.Contains(gauges, rule.Signal) && rule.Required {
			d.problem(field+".required", "both pools share "+rule.Signal+", which no step could wait for", "remove the line; role: trigger or warning says what it may do")
		}
		if !strings.HasPrefix(rule.Signal, "cron.") {
			continue
		}
		if rule.Required {
			d.problem(field+".required", "the scheduler moves with the last step, so that no step could wait for it", "remove the line; rollout.bake is when it is watched")
		}
		if rule.Role == Warning || rule.Role == Record {
			d.problem(field+".role", "the scheduler is watched after the last step, where nothing waits; trigger or off expected", "")
		}
	}
}

// signalName checks a signal's name as far as the estate can know it: addons name calls of their own.
func (d *document) signalName(field, name string) {
	if d.unread(field) {
		return
	}
	hint := "for example order_confirm.failed, *.seconds, " + strings.Join(singles, ", ")
	call, measure, _ := strings.Cut(name, ".")
	switch {
	case name == "":
		d.problem(field, "is missing; the name of a signal expected", hint)
	case !signalRule.MatchString(name):
		d.problem(field, shorten(name)+" is no name of a signal; CALL.failed, CALL.refused or CALL.seconds expected", hint)
	case name == "requests.failed":
		d.problem(field, "requests.failed is judged by rollout.max_error_rate and rollout.requests", "remove the rule")
	case slices.Contains(singles, name):
	case !slices.Contains(measures, measure) || slices.ContainsFunc(singles, func(s string) bool { return strings.HasPrefix(s, call+".") }):
		d.problem(field, shorten(name)+" is no signal", suggest(name, singles)+"; of a call: "+strings.Join(measures, ", "))
	}
}
