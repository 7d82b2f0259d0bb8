// Package identity says who somebody is and what they may do. People and their roles are declared in the
// estate (kind: Access); their tokens are kept in the store, as hashes. What each role may do is one table,
// which every operation of the API names and from which the documentation is made.
//
// It does not know what a promotion is: whoever calls says in which environment something happens, and
// whether it is the person's own.
package identity

import (
	"slices"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Role is what somebody does in an environment.
type Role = estate.Role

// The roles.
const (
	Viewer   = estate.RoleViewer
	Author   = estate.RoleAuthor
	Approver = estate.RoleApprover
	Operator = estate.RoleOperator
	Security = estate.RoleSecurity
	Auditor  = estate.RoleAuditor
	Admin    = estate.RoleAdmin
)

// Operation is something that can be asked of the API.
type Operation string

// The operations. What they are and who may is in the table below.
const (
	LogIn             Operation = "login"
	LogOut            Operation = "logout"
	WhoAmI            Operation = "whoami"
	StatusRead        Operation = "status.read"
	DoctorRead        Operation = "doctor.read"
	MetricsRead       Operation = "metrics.read"
	ReleaseRead       Operation = "release.read"
	ReleaseRegister   Operation = "release.register"
	PromotionRead     Operation = "promotion.read"
	PromotionStart    Operation = "promotion.start"
	PromotionForce    Operation = "promotion.force"
	PromotionApprove  Operation = "promotion.approve"
	PromotionReject   Operation = "promotion.reject"
	PromotionBreak    Operation = "promotion.emergency"
	PromotionConfirm  Operation = "promotion.confirm"
	PromotionResume   Operation = "promotion.resume"
	PromotionAbandon  Operation = "promotion.abandon"
	PromotionRollback Operation = "promotion.rollback"
	PromotionLoss     Operation = "promotion.accept-loss"
	ReviewRead        Operation = "review.read"
	ReviewClose       Operation = "review.close"
	QuarantineLift    Operation = "quarantine.lift"
	CheckpointRead    Operation = "checkpoint.read"
	CheckpointCreate  Operation = "checkpoint.create"
	CheckpointPrune   Operation = "checkpoint.prune"
	CheckpointCopy    Operation = "checkpoint.copy"
	RestoreStart      Operation = "restore.start"
	RestoreDrop       Operation = "restore.drop"
	TenantCreate      Operation = "tenant.create"
	TenantSuspend     Operation = "tenant.suspend"
	TenantMove        Operation = "tenant.move"
	TenantDelete      Operation = "tenant.delete"
	RunbookRead       Operation = "runbook.read"
	RehearsalRead     Operation = "rehearsal.read"
	RehearsalStart    Operation = "rehearsal.start"
	ImpactRead        Operation = "impact.read"
	RehearsalCancel   Operation = "rehearsal.cancel"
	VulnerabilityRead Operation = "vulnerability.read"
	VulnerabilityScan Operation = "vulnerability.scan"
	UserRead          Operation = "user.read"
	PasswordSet       Operation = "password.set"
	TokenRead         Operation = "token.read"
	TokenCreate       Operation = "token.create"
	TokenRevoke       Operation = "token.revoke"
	LedgerRead        Operation = "ledger.read"
	EstateRead        Operation = "estate.read"
	EstateRefresh     Operation = "estate.refresh"
	EstateAccept      Operation = "estate.accept"
	SecretRead        Operation = "secret.read"
	SecretRotate      Operation = "secret.rotate"
	IsolationRead     Operation = "isolation.read"
	IsolationCheck    Operation = "isolation.check"
	DriftRead         Operation = "drift.read"
	ReportRead        Operation = "report.read"
	CalendarRead      Operation = "calendar.read"
)

// Reach is where a role must hold.
type Reach string

// The reaches.
const (
	Open       Reach = "for anybody, without login"
	Here       Reach = "in that environment"
	Anywhere   Reach = "in any environment"
	Everywhere Reach = "in all environments"
)

// Rule says who may do something: with what others have made, and with what is their own.
type Rule struct {
	Operation Operation
	Does      string
	Reach     Reach
	Others    []Role
	Own       []Role
}

var (
	everybody = estate.Roles
	operators = []Role{Operator, Admin}
	makers    = []Role{Author, Operator, Admin}
	nobody    = []Role{}
)

// rules is the table. What is not in it, nobody may do.
var rules = []Rule{
	{LogIn, "log in, and see which ways there are", Open, everybody, everybody},
	{LogOut, "log out", Open, everybody, everybody},
	{WhoAmI, "see one's own name, roles and token", Anywhere, everybody, everybody},
	{StatusRead, "see what runs", Here, everybody, everybody},
	{DoctorRead, "see whether the installation is well", Anywhere, []Role{Operator, Security, Auditor, Admin}, []Role{Operator, Security, Auditor, Admin}},
	{MetricsRead, "read metrics of the whole installation, as Prometheus does", Everywhere, everybody, everybody},
	{ReleaseRead, "see releases", Anywhere, everybody, everybody},
	{ReleaseRegister, "make a release known to the server, as waybill build does", Anywhere, makers, makers},
	{PromotionRead, "see promotions and their steps", Here, everybody, everybody},
	{PromotionStart, "ask for a promotion", Here, makers, makers},
	{PromotionForce, "promote although the environment before has not had the release", Here, operators, []Role{Admin}},
	{PromotionApprove, "approve a promotion", Here, estate.ApprovingRoles, nobody},
	{PromotionReject, "reject a promotion", Here, []Role{Approver, Operator, Security, Admin}, []Role{Author, Approver, Operator, Security, Admin}},
	{PromotionBreak, "ask for an emergency promotion", Here, operators, operators},
	{PromotionConfirm, "confirm an emergency promotion as the second person that it names", Here, []Role{Approver, Operator, Security, Admin}, nobody},
	{PromotionResume, "let a promotion go on that waits for a person", Here, operators, operators},
	{PromotionAbandon, "leave a promotion at the tenants that it has reached", Here, operators, operators},
	{PromotionRollback, "take a promotion back", Here, operators, makers},
	{PromotionLoss, "take one back although what was written since is lost", Here, operators, operators},
	{ReviewRead, "see the reviews of emergency promotions", Here, everybody, everybody},
	{ReviewClose, "close the review of an emergency promotion", Here, []Role{Approver, Operator, Security, Admin}, nobody},
	{QuarantineLift, "let a release in again that was taken back", Here, operators, []Role{Admin}},
	{CheckpointRead, "see checkpoints", Here, everybody, everybody},
	{CheckpointCreate, "take a checkpoint", Here, operators, operators},
	{CheckpointPrune, "remove old checkpoints", Here, []Role{Admin}, []Role{Admin}},
	{CheckpointCopy, "copy a checkpoint's data into another tenant", Here, operators, operators},
	{RestoreStart, "restore a checkpoint", Here, operators, operators},
	{RestoreDrop, "take away what was restored beside a tenant", Here, operators, operators},
	{TenantCreate, "make a tenant's database", Here, operators, operators},
	{TenantSuspend, "close a tenant to its people, and open it again; take back one that was deleted", Here, operators, operators},
	{TenantMove, "move a tenant between shared pools and its own, and give it other hosts", Here, operators, operators},
	{TenantDelete, "delete a tenant: its data goes after a time of grace", Here, []Role{Admin}, []Role{Admin}},
	{RunbookRead, "print what to do when something breaks, with people, places and commands", Here, []Role{Approver, Operator, Security, Auditor, Admin}, []Role{Approver, Operator, Security, Auditor, Admin}},
	{RehearsalRead, "see rehearsals and their reports", Here, everybody, everybody},
	{ImpactRead, "see what a release would do to each tenant", Here, everybody, everybody},
	{RehearsalStart, "ask for a rehearsal", Here, makers, makers},
	{RehearsalCancel, "end a rehearsal", Here, operators, makers},
	{VulnerabilityRead, "see what is known to be vulnerable", Here, everybody, everybody},
	{VulnerabilityScan, "compare what runs with the advisories now", Anywhere, []Role{Operator, Security, Admin}, []Role{Operator, Security, Admin}},
	{UserRead, "see users and their roles", Everywhere, []Role{Security, Auditor, Admin}, everybody},
	{PasswordSet, "set or remove a password; one's own, with the one before", Everywhere, []Role{Admin}, everybody},
	{TokenRead, "see tokens: never their text", Everywhere, []Role{Security, Auditor, Admin}, everybody},
	{TokenCreate, "make a token", Everywhere, []Role{Admin}, everybody},
	{EstateRead, "see which commit of the estate is in force, and what waits to be written to Git", Anywhere, everybody, everybody},
	{EstateRefresh, "have the server look at the estate's repository now", Anywhere, makers, makers},
	{EstateAccept, "take the estate although its history was rewritten", Everywhere, []Role{Admin}, []Role{Admin}},
	{LedgerRead, "read and verify the ledger of all environments", Everywhere, []Role{Security, Auditor, Admin}, []Role{Security, Auditor, Admin}},
	{SecretRead, "see which secrets there are, by name, and when they were changed", Here, []Role{Operator, Security, Auditor, Admin}, []Role{Operator, Security, Auditor, Admin}},
	{SecretRotate, "change database logins and bridge keys", Here, []Role{Operator, Security, Admin}, []Role{Operator, Security, Admin}},
	{IsolationRead, "see what was tried to reach other tenants, and what was reached", Here, []Role{Operator, Security, Auditor, Admin}, []Role{Operator, Security, Auditor, Admin}},
	{IsolationCheck, "try now whether tenants are apart", Here, []Role{Operator, Security, Admin}, []Role{Operator, Security, Admin}},
	{DriftRead, "see what in a cluster is not as Waybill applied it, and who changed it", Here, []Role{Operator, Security, Auditor, Admin}, []Role{Operator, Security, Auditor, Admin}},
	{ReportRead, "see the figures of releasing", Here, everybody, everybody},
	{CalendarRead, "see windows, freezes and what is planned", Here, everybody, everybody},
	{TokenRevoke, "revoke a token", Everywhere, []Role{Security, Admin}, everybody},
}

// Rules returns the table, in the order in which the documentation shows it.
func Rules() []Rule { return slices.Clone(rules) }

// RuleOf returns the rule of an operation.
func RuleOf(op Operation) (Rule, bool) {
	for _, r := range rules {
		if r.Operation == op {
			return r, true
		}
	}
	return Rule{}, false
}

// May says whether a role may do something with what is its own, or another's.
func (r Rule) May(role Role, own bool) bool {
	if own {
		return slices.Contains(r.Own, role)
	}
	return slices.Contains(r.Others, role)
}
