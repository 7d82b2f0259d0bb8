package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/secret"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	lookEvery   = time.Second // for notices and deliveries that are due
	freezeEvery = time.Minute // for freezes that are about to begin
	atOnce      = 8           // deliveries under way
	keep        = 30 * 24 * time.Hour
)

// pauses are between the tries of one delivery; after the last one it is given up. Together they are about a day.
var pauses = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour}

// pause is the one before the next try; false when there is none.
func pause(attempts int) (time.Duration, bool) {
	if attempts < 1 || attempts > len(pauses) {
		return 0, false
	}
	return pauses[attempts-1], true
}

// Dispatcher takes notices from the outbox to the targets of the estate.
type Dispatcher struct {
	Store  *store.Store
	Estate func(context.Context) (*estate.Estate, error)
	Log    *slog.Logger
	// Secret reads what a target's reference stands for; nil: estate.Secret.
	Secret func(ctx context.Context, root, reference, target string) (string, error)
	// Tried is told of each try: delivered, failed (there is another) or given_up. May be nil.
	Tried func(target, outcome string)

	send  func(ctx context.Context, t estate.NotificationTarget, address string, m Message) error // nil: Send
	every time.Duration                                                                           // 0: lookEvery
	hold  time.Duration                                                                           // for which a delivery is one server's, then it is due again; 0: twice the longest try
	now   func() time.Time                                                                        // nil: time.Now
}

// Run works until ctx is done. Several servers may run one on the same store.
func (d *Dispatcher) Run(ctx context.Context) error {
	look, slow := time.NewTicker(cmp.Or(d.every, lookEvery)), time.NewTicker(freezeEvery)
	defer look.Stop()
	defer slow.Stop()
	report := d.onceAFault()
	report("announce freezes", d.freezes(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-slow.C:
			report("announce freezes", d.freezes(ctx))
			report("forget old notices", d.Store.ForgetNotices(ctx, d.clock().Add(-keep)))
		case <-look.C:
			report("deliver notices", d.deliver(ctx))
		}
	}
}

// onceAFault logs a fault when it first appears, and not every second.
func (d *Dispatcher) onceAFault() func(what string, err error) {
	last := map[string]string{}
	return func(what string, err error) {
		switch {
		case err == nil:
			delete(last, what)
		case !errors.Is(err, context.Canceled) && last[what] != err.Error():
			last[what] = err.Error()
			d.Log.Warn(what, "error", err)
		}
	}
}

func (d *Dispatcher) clock() time.Time {
	if d.now != nil {
		return d.now()
	}
	return time.Now()
}

// deliver addresses fresh notices and tells those targets whose time has come.
func (d *Dispatcher) deliver(ctx context.Context) error {
	if due, err := d.Store.NoticesDue(ctx); err != nil || !due {
		return err
	}
	declared, err := d.Estate(ctx)
	if err != nil {
		return err
	}
	var targets []estate.NotificationTarget
	if declared.Notifications != nil {
		targets = declared.Notifications.Targets
	}
	if err := d.Store.Address(ctx, func(n store.Notice) []string {
		names := []string{}
		for _, t := range targets {
			if t.Wants(n.Event, n.Environment) {
				names = append(names, t.Name)
			}
		}
		return names
	}); err != nil {
		return err
	}
	for ctx.Err() == nil {
		due, err := d.Store.TakeDeliveries(ctx, atOnce, cmp.Or(d.hold, 2*sendLimit))
		if err != nil || len(due) == 0 {
			return err
		}
		var group sync.WaitGroup
		for _, delivery := range due {
			group.Go(func() { d.try(ctx, declared.Root, targets, delivery) })
		}
		group.Wait()
	}
	return nil
}

// try tells one target, and notes how that ended.
func (d *Dispatcher) try(ctx context.Context, root string, targets []estate.NotificationTarget, delivery store.Delivery) {
	err := d.tell(ctx, root, targets, delivery)
	if ctx.Err() != nil && err != nil {
		return // the server stops; the delivery is due again when its hold is over
	}
	failure, again, outcome := "", (*time.Time)(nil), "delivered"
	if err != nil {
		failure, outcome = err.Error(), "failed"
		if wait, more := pause(delivery.Attempts); more && !isPermanent(err) {
			at := d.clock().Add(wait)
			again = &at
		} else {
			outcome = "given_up"
			d.Log.Error("somebody could not be told, and it is given up", "target", delivery.Target, "notice", delivery.NoticeData.Key, "attempts", delivery.Attempts, "error", failure)
		}
	}
	if d.Tried != nil {
		d.Tried(delivery.Target, outcome)
	}
	if err := d.Store.EndDelivery(context.WithoutCancel(ctx), delivery, failure, again); err != nil {
		d.Log.Warn("note how a notice was delivered", "target", delivery.Target, "notice", delivery.NoticeData.Key, "error", err)
	}
}

func (d *Dispatcher) tell(ctx context.Context, root string, targets []estate.NotificationTarget, delivery store.Delivery) error {
	i := slices.IndexFunc(targets, func(t estate.NotificationTarget) bool { return t.Name == delivery.Target })
	if i < 0 {
		return permanent{fmt.Errorf("notify: the estate has no target %s any more", delivery.Target)}
	}
	var m Message
	if err := json.Unmarshal(delivery.NoticeData.Data, &m); err != nil {
		return permanent{err}
	}
	read := d.Secret
	if read == nil {
		read = func(ctx context.Context, root, reference, _ string) (string, error) {
			return secret.Read(ctx, root, reference)
		}
	}
	address, err := read(ctx, root, targets[i].URL, delivery.Target)
	if err != nil {
		return err
	}
	send := Send
	if d.send != nil {
		send = d.send
	}
	return send(ctx, targets[i], address, m)
}

// Notice is the message as a row of the outbox.
func (m Message) Notice() (store.Notice, error) {
	data, err := json.Marshal(m)
	return store.Notice{Key: m.Key, Event: m.Event, Environment: m.Environment, Data: data}, err
}

// freezes announces those that begin within the estate's notice, once for each environment.
func (d *Dispatcher) freezes(ctx context.Context) error {
	declared, err := d.Estate(ctx)
	if err != nil || declared.Notifications == nil || declared.Notifications.FreezeNotice == 0 {
		return err
	}
	set, err := declared.Calendar()
	if err != nil {
		return err
	}
	now := d.clock()
	agenda, err := set.Agenda(now, now.Add(declared.Notifications.FreezeNotice), nil)
	if err != nil {
		return err
	}
	return d.Store.In(ctx, func(tx pgx.Tx) error {
		for _, o := range agenda {
			if o.Kind != calendar.Freeze || !o.Start.After(now) {
				continue
			}
			for _, env := range declared.Environments {
				if m, concerned := freezeMessage(o, env.Name, declared.Subjects(), now); concerned {
					notice, err := m.Notice()
					if err == nil {
						err = d.Store.Announce(ctx, tx, notice)
					}
					if err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// freezeMessage says that a freeze is about to begin in an environment, if it concerns somebody there.
func freezeMessage(o calendar.Occurrence, environment string, subjects []calendar.Subject, now time.Time) (Message, bool) {
	concerned, others := []string{}, 0
	for _, x := range subjects {
		switch {
		case x.Environment != environment:
		case o.Scope.Concerns(x):
			concerned = append(concerned, x.String())
		default:
			others++
		}
	}
	if len(concerned) == 0 {
		return Message{}, false
	}
	ends := "until further notice"
	if !o.End.IsZero() {
		ends = "until " + calendar.Told(o.End, o.End.Location())
	}
	m := Message{
		Key:   fmt.Sprintf("freeze/%s/%s/%s/%d/%s", o.Calendar, o.Name, o.Event, o.Start.Unix(), environment),
		Event: estate.EventFreeze, Environment: environment, At: now,
		Title: fmt.Sprintf("%s: freeze %q begins %s", environment, o.Name, calendar.Told(o.Start, o.Start.Location())),
		Text:  fmt.Sprintf("%s begins in %s and lasts %s. Promotions wait meanwhile.", capital(o.Title()), calendar.Spoken(o.Start.Sub(now)), ends),
	}
	if o.Reason != "" {
		m.Text += "\nWhy: " + o.Reason
	}
	if others > 0 {
		const most = 20
		list := concerned[:min(len(concerned), most)]
		m.Text += fmt.Sprintf("\nIt concerns %v", list)
		if n := len(concerned) - len(list); n > 0 {
			m.Text += fmt.Sprintf(" and %d more", n)
		}
	}
	m.Needed = "nothing; whoever wants to promote before that has until then"
	return m, true
}

func capital(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}
