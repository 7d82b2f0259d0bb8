package estate

import (
	"slices"
	"time"
)

// Access says who people are and what they may do where. Their tokens are not here: the server keeps
// them, and a token can do no more than what is written here on the day it is used. kind: Access.
type Access struct {
	Users  []User  `yaml:"users" json:"users,omitempty"`   // people, and machines that act by themselves
	Groups []Group `yaml:"groups" json:"groups,omitempty"` // roles that several users share
}

// User is somebody, or something, that a token is made for.
type User struct {
	Name   string   `yaml:"name" json:"name"`               // small letters, digits and dashes
	Emails []string `yaml:"emails" json:"emails,omitempty"` // addresses; a commit with one of them is this user's
	Groups []string `yaml:"groups" json:"groups,omitempty"` // groups that the user belongs to
	Roles  []Grant  `yaml:"roles" json:"roles,omitempty"`   // roles, beside those of the groups
}

// Group has a name and roles.
type Group struct {
	Name  string  `yaml:"name" json:"name"`             // small letters, digits and dashes
	Roles []Grant `yaml:"roles" json:"roles,omitempty"` // roles that each member has
}

// Grant is a role in environments.
type Grant struct {
	Role         Role     `yaml:"role" json:"role"`                           // viewer, author, approver, operator, security, auditor or admin
	Environments []string `yaml:"environments" json:"environments,omitempty"` // where the role holds; default: in all, those to come included
}

// Role is what somebody does in an environment; docs/roles.md says what each may do.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"
	RoleAuthor   Role = "author"
	RoleApprover Role = "approver"
	RoleOperator Role = "operator"
	RoleSecurity Role = "security"
	RoleAuditor  Role = "auditor"
	RoleAdmin    Role = "admin"
)

// Roles are all roles, in the order in which people explain them.
var Roles = []Role{RoleViewer, RoleAuthor, RoleApprover, RoleOperator, RoleSecurity, RoleAuditor, RoleAdmin}

// ApprovingRoles are those whose approval can count at all.
var ApprovingRoles = []Role{RoleApprover, RoleSecurity, RoleAdmin}

// Approvals says who must agree before a release enters an environment. Nobody approves what they have made or
// asked for themselves. An approval is of one release, one environment and one plan; it lapses when one of them
// changes or its time runs out.
type Approvals struct {
	Required       int           `yaml:"required" json:"required"`                       // people who must approve; default 1
	Breaking       int           `yaml:"breaking" json:"breaking"`                       // people who must approve a release of class breaking; default 2, or required where that is more
	Roles          []Role        `yaml:"roles" json:"roles"`                             // whose approval counts: approver, security, admin; default [approver, admin]
	Infrastructure *ApprovalRule `yaml:"infrastructure" json:"infrastructure,omitempty"` // asked for where the base image or the configuration changes: beside the rest where the application changes too, else instead; default: no such rule, all changes are the application's
	Expires        time.Duration `yaml:"expires" json:"expires"`                         // how long an approval holds; default 24h
}

// ApprovalRule says how many people of which roles must approve.
type ApprovalRule struct {
	Required int    `yaml:"required" json:"required"` // people who must approve; default 1
	Roles    []Role `yaml:"roles" json:"roles"`       // whose approval counts; default [approver, admin]
}

// fillApprovals gives the defaults of what was asked for.
func (e *Environment) fillApprovals(given func(string) bool) {
	a := e.Approvals
	if a == nil {
		return
	}
	who := []Role{RoleApprover, RoleAdmin}
	or(given, "approvals.required", &a.Required, 1)
	more := 0
	if a.Required > 0 {
		more = max(a.Required, 2)
	}
	or(given, "approvals.breaking", &a.Breaking, more)
	or(given, "approvals.roles", &a.Roles, who)
	or(given, "approvals.expires", &a.Expires, 24*time.Hour)
	if a.Infrastructure != nil {
		or(given, "approvals.infrastructure.required", &a.Infrastructure.Required, 1)
		or(given, "approvals.infrastructure.roles", &a.Infrastructure.Roles, who)
	}
}

func (*Access) fill(func(string) bool) {}

// User returns the user of that name.
func (a *Access) User(name string) (User, bool) {
	if a == nil {
		return User{}, false
	}
	i := slices.IndexFunc(a.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return a.Users[i], true
}

// GrantsOf are the roles of a user, those of the groups included.
func (a *Access) GrantsOf(u User) []Grant {
	grants := slices.Clone(u.Roles)
	for _, g := range a.Groups {
		if slices.Contains(u.Groups, g.Name) {
			grants = append(grants, g.Roles...)
		}
	}
	return grants
}
