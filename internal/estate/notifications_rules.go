package estate

import (
	"fmt"
	"net/mail"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/secret"
)

var (
	notificationEvents = []string{EventWaiting, EventFailed, EventRolledBack, EventFreeze, EventEmergency, EventIsolation, EventLimit, EventNoisy, EventDrift}
	freezeNoticeSpan   = span[time.Duration]{0, 30 * 24 * time.Hour}
)

// maxTargets bounds who is told of one thing.
const maxTargets = 50

// notifications checks a Notifications by itself.
func (d *document) notifications(n *Notifications) {
	d.need("targets", "who is told")
	if d.given("targets") && len(n.Targets) == 0 && !d.unread("targets") {
		d.problem("targets", "is empty; at least one target expected", "without targets nobody is told; remove the document")
	}
	within(d, "freeze_notice", n.FreezeNotice, freezeNoticeSpan, "")
	if len(n.Targets) > maxTargets {
		d.problem("targets", fmt.Sprintf("has %d entries; at most %d are possible", len(n.Targets), maxTargets), "")
		return
	}
	names := map[string]bool{}
	for i, t := range n.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		if d.unread(at) {
			continue
		}
		d.name(at+".name", t.Name)
		if t.Name != "" && names[t.Name] {
			d.problem(at+".name", shorten(t.Name)+" names another target already", "")
		}
		names[t.Name] = true
		d.need(at+".url", secret.Forms)
		if d.given(at+".url") && !d.unread(at+".url") && !secret.Is(t.URL) {
			// What stands there may be the secret itself: it is not repeated.
			d.problem(at+".url", "is no reference to a secret; env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY expected", "the address holds a password or a token, which does not belong into an estate")
		}
		d.once(at+".events", t.Events)
		for j, event := range t.Events {
			if field := fmt.Sprintf("%s.events[%d]", at, j); !d.unread(field) {
				d.oneOf(field, event, notificationEvents)
			}
		}
		d.once(at+".environments", t.Environments)
		d.once(at+".to", t.To)
		if len(t.To) > 0 != (t.From != "") && !d.unread(at+".to") && !d.unread(at+".from") {
			d.problem(at, "has one of from and to alone; mail needs both", "")
		}
		if t.From != "" {
			d.mailAddress(at+".from", t.From)
		}
		for j, to := range t.To {
			d.mailAddress(fmt.Sprintf("%s.to[%d]", at, j), to)
		}
	}
}

func (d *document) mailAddress(field, text string) {
	if _, err := mail.ParseAddress(text); err != nil && !d.unread(field) {
		d.problem(field, shorten(text)+" is no mail address", "for example ops@example.com")
	}
}

// notificationsTogether reports a second Notifications, and environments that do not exist.
func (all *declarations) notificationsTogether() {
	var environments []string
	for _, e := range all.environments {
		environments = append(environments, e.value.Name)
	}
	for i, n := range all.notifications {
		if i > 0 {
			first := all.notifications[0].doc
			n.doc.problem("", fmt.Sprintf("is a second Notifications; at most one expected; see %s:%d", first.file, first.at.line), "")
		}
		for j, t := range n.value.Targets {
			for k, name := range t.Environments {
				field := fmt.Sprintf("targets[%d].environments[%d]", j, k)
				if !slices.Contains(environments, name) && !n.doc.unread(field) && !all.unreadable() {
					n.doc.problem(field, "there is no Environment "+shorten(name), suggest(name, environments))
				}
			}
		}
	}
}
