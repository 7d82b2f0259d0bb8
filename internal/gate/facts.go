package gate

import (
	"reflect"
	"time"
)

// Facts are what rules are about. A field's tags are its contract:
//
//	cel      name within its group
//	changes  whether it may still change while a promotion waits: never; event; clock, where it grows by itself
//	         and no event changes it; time, where both do
//	of       the only words it may be
//	label    how a sentence names it
//	short    the sentence where a duration is too short, or a yes-or-no is no: {value} and {bound}, and other
//	         facts by their names
//	doc      what it is, for people who write rules
//
// docs/gates.md has the table, made from these.
type Facts struct {
	Now             time.Time       `cel:"now" changes:"clock" label:"the time" doc:"the time of the evaluation; the only clock there is"`
	Promotion       Promotion       `cel:"promotion"`
	Environment     Environment     `cel:"environment"`
	Tenant          Tenant          `cel:"tenant"`
	Release         Release         `cel:"release"`
	Checks          Checks          `cel:"checks"`
	Vulnerabilities Vulnerabilities `cel:"vulnerabilities"`
	Rehearsal       Rehearsal       `cel:"rehearsal"`
	Checkpoint      Checkpoint      `cel:"checkpoint"`
	Previous        Previous        `cel:"previous"`
	Approval        ApprovalState   `cel:"approval"`
	Approvals       []Approval      `cel:"approvals" changes:"event" label:"the approvals" doc:"approvals that stand: list of {by, roles, at}; for example approvals.exists(a, \"security\" in a.roles)"`
	Calendar        Calendar        `cel:"calendar"`
	Emergency       EmergencyState  `cel:"emergency"`

	// Unknown says of facts, by group ("checks") or name ("checkpoint.recovery"), that they are not known, why
	// not, and what would make them known. What is in here counts as unknown, whatever its field holds.
	Unknown map[string]string
	// Final are groups of which nothing changes any more for this promotion, whatever their facts' tags say:
	// where there is no environment before, there will be none.
	Final map[string]bool
}

// Promotion is what was asked for.
type Promotion struct {
	ID        string `cel:"id" changes:"never" label:"the promotion" doc:"the promotion's id"`
	Author    string `cel:"author" changes:"never" label:"who asked for the promotion" doc:"who asked for it"`
	Emergency bool   `cel:"emergency" changes:"never" label:"an emergency" doc:"it takes the emergency path"`
	Class     string `cel:"class" changes:"never" of:"swap,compatible,breaking" label:"the class" doc:"how the release may roll: swap, compatible or breaking"`
	Change    string `cel:"change" changes:"never" of:"application,infrastructure,emergency" label:"the kind of change" doc:"what is changed: application, infrastructure or emergency"`
}

// Environment is where it goes.
type Environment struct {
	Name string `cel:"name" changes:"never" label:"the environment" doc:"the environment that the release enters"`
}

// Tenant is whom it concerns.
type Tenant struct {
	Name   string            `cel:"name" changes:"never" label:"the tenant" doc:"the tenant"`
	Ring   string            `cel:"ring" changes:"never" label:"the ring" doc:"the tenant's ring; empty where it has none"`
	Labels map[string]string `cel:"labels" changes:"never" label:"the tenant's labels" doc:"the tenant's labels; for example tenant.labels[\"country\"] == \"de\", or \"country\" in tenant.labels"`
}

// Release is what enters.
type Release struct {
	Digest   string        `cel:"digest" changes:"never" label:"the release" doc:"digest of the image"`
	Name     string        `cel:"name" changes:"never" label:"the release" doc:"what people call it"`
	Commit   string        `cel:"commit" changes:"never" label:"the commit" doc:"full Git commit of the addons"`
	Dirty    bool          `cel:"dirty" changes:"never" label:"built from uncommitted changes" doc:"built from uncommitted changes"`
	Built    time.Time     `cel:"built" changes:"never" label:"the time of the commit" doc:"time of the commit that it was built from"`
	Age      time.Duration `cel:"age" changes:"clock" label:"the age of the release's commit" short:"the release's commit is {value} old, {bound} is needed" doc:"how long ago that commit was"`
	Authors  []string      `cel:"authors" changes:"never" label:"who made the release" doc:"who made it: names of users, and addresses of its commits' people"`
	Modules  []string      `cel:"modules" changes:"never" label:"the modules that change" doc:"modules that the promotion updates or installs"`
	Signed   bool          `cel:"signed" changes:"never" label:"signed" short:"the release is not signed with a key that is trusted" doc:"what was said of it is signed with a key that the estate trusts"`
	SignedBy []string      `cel:"signed_by" changes:"never" label:"the signers" doc:"names of the trusted keys that signed"`
}

// Checks are what the checks of the build found.
type Checks struct {
	Errors            int `cel:"errors" changes:"never" label:"the number of errors of the checks" doc:"findings that refuse the release"`
	Warnings          int `cel:"warnings" changes:"never" label:"the number of warnings of the checks" doc:"findings that warn"`
	ExpiredExceptions int `cel:"expired_exceptions" changes:"never" label:"the number of expired exceptions of the checks" doc:"exceptions of the estate's Checks that have expired"`
}

// Vulnerabilities are what the release is known to have, by the estate's databases and rules.
type Vulnerabilities struct {
	Worst       string        `cel:"worst" changes:"never" of:"none,low,medium,high,critical" label:"the worst known vulnerability" doc:"severity of the worst: none, low, medium, high or critical"`
	Critical    int           `cel:"critical" changes:"never" label:"the number of critical vulnerabilities" doc:"how many are critical, accepted ones left out"`
	High        int           `cel:"high" changes:"never" label:"the number of high vulnerabilities" doc:"how many are high"`
	Medium      int           `cel:"medium" changes:"never" label:"the number of medium vulnerabilities" doc:"how many are medium"`
	Low         int           `cel:"low" changes:"never" label:"the number of low vulnerabilities" doc:"how many are low"`
	DatabaseAge time.Duration `cel:"database_age" changes:"time" label:"the age of the vulnerability database" doc:"age of the newest advisory, in the database where that is oldest"`
}

// Rehearsal is the newest that proves something about this release on this tenant's data.
type Rehearsal struct {
	ID        string        `cel:"id" changes:"event" label:"the rehearsal" doc:"the rehearsal's id"`
	Class     string        `cel:"class" changes:"event" of:"swap,compatible,breaking" label:"the class that the rehearsal proved" doc:"the class that it proved"`
	Subject   string        `cel:"subject" changes:"event" label:"what was rehearsed" doc:"digest of the release that was rehearsed"`
	Age       time.Duration `cel:"age" changes:"time" label:"the age of the data rehearsed on" doc:"age of the checkpoint that it was made on"`
	Predicted time.Duration `cel:"predicted" changes:"event" label:"the time that people are predicted to wait" doc:"how long people are predicted to wait"`
	Recovery  time.Duration `cel:"recovery" changes:"event" label:"the time that a restore took" doc:"how long a restore took when it was measured"`
}

// Checkpoint is the newest one of the tenant.
type Checkpoint struct {
	ID       string        `cel:"id" changes:"event" label:"the checkpoint" doc:"the newest checkpoint's id"`
	Age      time.Duration `cel:"age" changes:"time" label:"the age of the newest checkpoint" doc:"how long ago its recovery point is"`
	Verified bool          `cel:"verified" changes:"event" label:"verified" short:"the newest checkpoint has not been verified" doc:"it was read back whole"`
	Recovery time.Duration `cel:"recovery" changes:"event" label:"the time that a restore takes" doc:"how long the last measured restore took"`
}

// Previous is the environment that comes before this one. Where there is none, all of it is unknown.
type Previous struct {
	Environment string        `cel:"environment" changes:"never" label:"the environment before" doc:"the environment before this one"`
	Digest      string        `cel:"digest" changes:"event" label:"the release in the environment before" doc:"digest that serves there"`
	Same        bool          `cel:"same" changes:"event" label:"the same release" short:"{previous.environment} does not serve this very release" doc:"every tenant there serves this very release"`
	PromotedAt  time.Time     `cel:"promoted_at" changes:"event" label:"the time of the promotion there" doc:"when this release's last promotion there ended"`
	Soaked      time.Duration `cel:"soaked" changes:"time" label:"the time that the release soaked in the environment before" short:"soaked {value} of {bound} in {previous.environment}" doc:"how long this release has been there since then, while it serves"`
	Outcome     string        `cel:"outcome" changes:"event" of:"promoted,rolled_back,halted" label:"the outcome in the environment before" doc:"outcome of this release's last promotion there: promoted, rolled_back or halted"`
}

// ApprovalState is what the environment's own approvals ask and have.
type ApprovalState struct {
	Granted bool   `cel:"granted" changes:"event" label:"approved" short:"{approval.missing}" doc:"all approvals that the environment asks for are there"`
	Needed  int    `cel:"needed" changes:"never" label:"the number of approvals asked for" doc:"how many the environment asks for"`
	Have    int    `cel:"have" changes:"event" label:"the number of approvals" doc:"how many stand"`
	Missing string `cel:"missing" changes:"event" label:"the missing approvals" doc:"what is missing, in words"`
}

// Approval is one that stands.
type Approval struct {
	By    string    `cel:"by" json:"by"`
	Roles []string  `cel:"roles" json:"roles"`
	At    time.Time `cel:"at" json:"at"`
}

// Calendar is what windows and freezes say, the predicted duration included.
type Calendar struct {
	Open   bool      `cel:"open" changes:"time" label:"the window open" short:"{calendar.reason}" doc:"promotions may run now, and the predicted duration fits before the window ends"`
	Until  time.Time `cel:"until" changes:"time" label:"the end of the window" doc:"when the open window ends"`
	Next   time.Time `cel:"next" changes:"time" label:"the next window" doc:"when promotions may run next"`
	Reason string    `cel:"reason" changes:"time" label:"the calendar" doc:"why it is open or closed, in words"`
}

// EmergencyState is where the emergency path of an environment stands.
type EmergencyState struct {
	Confirmed  bool   `cel:"confirmed" changes:"event" label:"confirmed" short:"{emergency.missing}" doc:"the second person has confirmed this emergency promotion; of others, true"`
	Missing    string `cel:"missing" changes:"event" label:"the missing confirmation" doc:"who has still to confirm, and until when, in words"`
	Reviewed   bool   `cel:"reviewed" changes:"event" label:"reviewed" short:"{emergency.unreviewed}" doc:"the review of each earlier emergency promotion into the environment is closed"`
	Unreviewed string `cel:"unreviewed" changes:"event" label:"the open reviews" doc:"which reviews are open, in words"`
}

// Advance makes them the facts of a later time, as far as time alone changes them.
func (f *Facts) Advance(now time.Time) {
	later := f.values().at(now)
	into := reflect.ValueOf(f).Elem()
	for _, fact := range catalogue() {
		if value, known := later.known[fact.Name]; known {
			into.FieldByIndex(fact.index).Set(reflect.ValueOf(value))
		}
	}
}
