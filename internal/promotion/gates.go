package promotion

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// Evidence is what is known of a release beside what it is: it comes from what is attached to its image and
// from the vulnerability databases. A nil part is not known; Why then says why not.
type Evidence struct {
	Signatures      *Signatures
	Checks          *gate.Checks
	Vulnerabilities *gate.Vulnerabilities
	Why             map[string]string // by the name of a group of facts: "checks", "vulnerabilities", "release.signed"
}

// Signatures are those that the estate trusts.
type Signatures struct{ By []string }

// Approvals are what an environment's approvals ask of a promotion, and what it has.
type Approvals struct {
	Needed  int
	Have    int
	Missing string // in words: of whom what is missing, and what lapsed and why
	Given   []gate.Approval
}

// Gates are the rooms that a gate asks; each may be nil, and its facts are then not known.
type Gates struct {
	// Evidence is asked where a rule reads facts that it tells.
	Evidence func(ctx context.Context, r release.Release, s Snapshot) (Evidence, error)
	// Approvals tells what is asked of people, and what they have said, for one tenant of a promotion; for all of them where
	// none is named. nil where nobody is asked.
	Approvals func(ctx context.Context, promotion, tenant string) (*Approvals, error)
	// Authors tells who has made a release: their names and addresses.
	Authors func(ctx context.Context, digest string) ([]string, error)
	// Calendar answers for a tenant, a time and a predicted duration; nil where no calendar is about it.
	Calendar func(ctx context.Context, environment string, t estate.Tenant, at time.Time, predicted time.Duration) (*gate.Calendar, error)
}

// never is a time that a rollout waits for that waits for an event alone.
const never = 100 * 365 * 24 * time.Hour

// gates asks the estate's policies, the environment's approvals and the calendar, before anything is touched. It
// waits for what may still change, and refuses where nothing may.
func gates(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true // going back from here says nothing of the release
	g := w.gatherer(ctx)
	facts, err := g.subject(w)
	if err != nil {
		return "", err
	}
	policies, err := g.policies(w, facts)
	if err != nil {
		return "", err
	}
	if len(policies) == 0 {
		return w.begin(ctx, "nothing is asked")
	}
	set, err := w.rules.Compile(policies)
	if err != nil { // checked when the estate was read; only a Waybill of another version may know other facts
		return "", failed("the estate's policies cannot be read: %w. Mend them, and ask for the promotion again", err)
	}
	reads := set.Reads(facts)
	if err := w.rooms.Store.WatchGate(ctx, w.lease, w.topics(reads)); err != nil {
		return "", err
	}
	clear(g.approvals) // what was given meanwhile told nobody
	if g.confirmBy, err = g.emergency(w); err != nil {
		return "", err
	}
	if err := g.gather(w, facts, reads); err != nil {
		return "", err
	}
	result := set.Evaluate(facts)
	w.fault("inside:gates")
	kept := store.Gate{Policies: encode(policies), Facts: encode(facts), Result: encode(result)}
	if result.Verdict == gate.Waits {
		kept.Topics = w.topics(result.Waiting)
	}
	if err := w.rooms.Store.KeepGate(ctx, w.lease, kept); err != nil {
		return "", err
	}
	switch result.Verdict {
	case gate.Allowed:
		return w.begin(ctx, oneLine(result.Summary()))
	case gate.Denied:
		return "", failed("%s", result.Summary())
	}
	if err := w.loseTurn(ctx); err != nil {
		return "", err
	}
	wait := &Wait{Until: wakeAt(result), Reason: oneLine(result.Summary())}
	if !g.confirmBy.IsZero() {
		if g.confirmBy.Before(wait.Until) {
			wait.Until = g.confirmBy
		}
		w.secondAlone = len(result.Keeps()) == 1
	}
	return "", wait
}

// begin is what is left once the gates are open: its turn among the tenants.
func (w *Work) begin(ctx context.Context, said string) (string, error) {
	said, err := w.turn(ctx, said)
	if err == nil {
		w.memory.NotAdmitted = false
	}
	return said, err
}

// wakeAt is when time alone may change an answer.
func wakeAt(r gate.Result) time.Time {
	if r.Next.IsZero() {
		return r.At.Add(never)
	}
	return r.Next
}

// guarded: something may be asked of this rollout. Where nothing can be, the step leaves no trace.
var guarded condition = func(w *Work) (bool, string) {
	return len(w.env.Policies) > 0 || w.env.Environment.Approvals != nil || w.env.Calendars || w.env.Environment.Emergency != nil || w.env.Reviews || w.rollout.Ring != "", ""
}

// topics are what events must be about that change these facts, or facts of these groups.
func (w *Work) topics(names []string) []string {
	var topics []string
	for _, name := range names {
		topic := ""
		switch groupOf(name) {
		case "approval", "approvals":
			topic = ApprovalTopic(w.promotion.ID)
		case "previous":
			topic = EnvironmentTopic(w.env.Before)
		case "rehearsal":
			topic = RehearsalTopic(w.rollout.Environment, w.tenant.Name)
		case "checkpoint":
			topic = CheckpointTopic(w.rollout.Environment, w.tenant.Name)
		case "vulnerabilities":
			topic = VulnerabilityTopic
		case "calendar":
			topic = CalendarTopic
		case "emergency":
			topic = ReviewTopic(w.rollout.Environment)
			if w.options.Emergency != nil {
				topic = EmergencyTopic(w.promotion.ID)
			}
		}
		if topic != "" && !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}

// What an event may be about, for Engine.Changed.
const (
	VulnerabilityTopic = "vulnerabilities" // the databases were renewed
	CalendarTopic      = "calendar"        // a calendar was changed, or everything was stopped or let go on
)

// ApprovalTopic is about the approvals of a promotion.
func ApprovalTopic(promotion string) string { return "approval:" + promotion }

// EmergencyTopic is about the confirmation of an emergency promotion.
func EmergencyTopic(promotion string) string { return "emergency:" + promotion }

// ReviewTopic is about the reviews of an environment's emergency promotions.
func ReviewTopic(environment string) string { return "review:" + environment }

// EnvironmentTopic is about what an environment serves.
func EnvironmentTopic(environment string) string { return "environment:" + environment }

// RehearsalTopic is about the rehearsals of a tenant.
func RehearsalTopic(environment, tenant string) string {
	return "rehearsal:" + environment + "/" + tenant
}

// CheckpointTopic is about the checkpoints of a tenant.
func CheckpointTopic(environment, tenant string) string {
	return "checkpoint:" + environment + "/" + tenant
}

// Answer is the answer of a rollout's gate, as it was last given.
func Answer(g store.Gate) (gate.Result, error) {
	var r gate.Result
	if err := json.Unmarshal(g.Result, &r); err != nil {
		return r, fmt.Errorf("what is stored of the gate of rollout %s does not parse: %w", g.RolloutID, err)
	}
	return r, nil
}
