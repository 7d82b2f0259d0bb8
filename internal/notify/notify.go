// Package notify tells people: by mail, by webhook, by chat. Notices are rows of an outbox, written in
// the transaction of what they tell; a Dispatcher takes them from there, tries again with growing
// pauses, and gives up after a day, which is recorded. A killed server loses none; it may tell one twice.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Message is what a person is told.
type Message struct {
	Key         string    `json:"key"` // the same for the same thing; a receiver can drop what it has had
	Event       string    `json:"event"`
	Environment string    `json:"environment"`
	Tenant      string    `json:"tenant,omitempty"`
	Release     string    `json:"release,omitempty"` // name
	Promotion   string    `json:"promotion,omitempty"`
	Title       string    `json:"title"`            // one line
	Text        string    `json:"text"`             // what happened
	Needed      string    `json:"needed,omitempty"` // what is needed, and of whom
	At          time.Time `json:"at"`
}

// Body is the message as plain text.
func (m Message) Body() string {
	var b strings.Builder
	b.WriteString(m.Text + "\n")
	if m.Needed != "" {
		b.WriteString("\nNeeded: " + m.Needed + "\n")
	}
	for _, line := range []struct{ name, value string }{
		{"Environment", m.Environment}, {"Tenant", m.Tenant}, {"Release", m.Release}, {"Promotion", m.Promotion}, {"At", m.At.UTC().Format("2006-01-02 15:04 UTC")},
	} {
		if line.value != "" {
			fmt.Fprintf(&b, "\n%s: %s", line.name, line.value)
		}
	}
	return b.String() + "\n"
}

// sendLimit bounds one try to tell one target.
const sendLimit = 30 * time.Second

// permanent is an error that another try would not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Send tells one target, at its address. Errors do not hold the address, which is a secret.
func Send(ctx context.Context, t estate.NotificationTarget, address string, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return permanent{fmt.Errorf("notify: tell %s: %s does not hold an address like smtp://…, https://… or slack://…", t.Name, t.URL)}
	}
	switch u.Scheme {
	case "smtp", "smtps":
		err = mailTo(ctx, t, u, m)
	case "http", "https":
		err = webhook(ctx, u, m)
	default:
		err = chat(ctx, t, u, m)
	}
	if err == nil {
		return nil
	}
	told := fmt.Errorf("notify: tell %s by %s: %s", t.Name, u.Scheme, scrub(err.Error(), u))
	if isPermanent(err) {
		return permanent{told}
	}
	return told
}

// scrub takes every part of an address out of a text: any of them may be the secret. What remains of a
// host's name is of no use to anybody without the rest.
func scrub(text string, u *url.URL) string {
	const least = 4 // shorter parts are words
	hide := func(part string) {
		if len(part) >= least {
			text = strings.ReplaceAll(text, part, "…")
		}
	}
	hide(u.String())
	if password, ok := u.User.Password(); ok {
		hide(password)
		hide(url.QueryEscape(password))
		hide(url.PathEscape(password))
	}
	hide(u.User.Username())
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		hide(part)
		if plain, err := url.PathUnescape(part); err == nil {
			hide(plain)
		}
	}
	for _, values := range u.Query() {
		for _, value := range values {
			hide(value)
			hide(url.QueryEscape(value))
		}
	}
	hide(u.Fragment)
	if chats[u.Scheme] { // its host may be a token
		hide(u.Hostname())
	}
	if r := []rune(text); len(r) > 500 {
		text = string(r[:500]) + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}

// isPermanent says whether another try would not help.
func isPermanent(err error) bool {
	var lasting permanent
	return errors.As(err, &lasting)
}
