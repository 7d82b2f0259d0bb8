package estate

import (
	"slices"
	"time"
)

// Notifications says who is told what, and how. At most one document; without it nobody is told.
// kind: Notifications.
type Notifications struct {
	Targets      []NotificationTarget `yaml:"targets" json:"targets"`
	FreezeNotice time.Duration        `yaml:"freeze_notice" json:"freeze_notice"` // how long before a freeze begins it is announced; default 24h
}

// NotificationTarget is one place where people look: a mailbox, a chat, a webhook.
type NotificationTarget struct {
	Name         string   `yaml:"name" json:"name"`
	URL          string   `yaml:"url" json:"url"`                             // where the address stands, which is a secret: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY. It holds smtp(s)://USER:PASSWORD@HOST:PORT, https://… for a webhook, or slack://, teams://, mattermost:// and others for a chat
	From         string   `yaml:"from" json:"from,omitempty"`                 // mail alone: the sender's address
	To           []string `yaml:"to" json:"to,omitempty"`                     // mail alone: the receivers' addresses
	Events       []string `yaml:"events" json:"events,omitempty"`             // waiting, failed, rolled_back, freeze, emergency, isolation, limit, noisy; default: all
	Environments []string `yaml:"environments" json:"environments,omitempty"` // default: all
}

// The events that people may be told of.
const (
	EventWaiting    = "waiting"     // a promotion waits for a person
	EventFailed     = "failed"      // something ended without its result, and nothing was touched or all is as before
	EventRolledBack = "rolled_back" // a promotion was taken back
	EventFreeze     = "freeze"      // a freeze is about to begin
	EventEmergency  = "emergency"   // somebody broke the glass: it is to be confirmed, goes on, or is to be reviewed
	EventLimit      = "limit"       // a tenant takes nearly as much as it may, or more
	EventNoisy      = "noisy"       // a tenant leaves too little to the others of its pool
	EventIsolation  = "isolation"   // a pool can reach what belongs to another tenant, or could and no longer can
	EventDrift      = "drift"       // an object in a cluster is not as Waybill applied it, or comes back to that whatever is done
)

// Wants says whether the target is to be told of an event in an environment.
func (t NotificationTarget) Wants(event, environment string) bool {
	return (len(t.Events) == 0 || slices.Contains(t.Events, event)) &&
		(len(t.Environments) == 0 || slices.Contains(t.Environments, environment))
}

func (n *Notifications) fill(given func(string) bool) {
	or(given, "freeze_notice", &n.FreezeNotice, 24*time.Hour)
}
