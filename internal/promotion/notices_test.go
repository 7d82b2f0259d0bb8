package promotion

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/store"
)

// What people are told of a rollout, and of what not.
func TestNews(t *testing.T) {
	at := time.Date(2026, 11, 24, 21, 0, 0, 0, time.UTC)
	p := store.Promotion{ID: "p1", Kind: KindPromote, ReleaseName: "r3", RequestedBy: "ann"}
	gatesStep := slices.IndexFunc(procedures[KindPromote], func(s Step) bool { return s.Name == "gates" })
	require.Positive(t, gatesStep)
	person := (&NeedsPerson{Reason: "going back loses orders", Choices: []string{"keep it: waybill promotion resume p1", "waybill rollback p1 --accept-loss"}}).Error()
	for name, c := range map[string]struct {
		kind   string
		memory Memory
		next   store.Rollout
		want   notify.Message // empty: nobody is told
	}{
		"goes on":  {next: store.Rollout{State: store.Running, WaitsFor: "bakes"}},
		"undoes":   {next: store.Rollout{State: store.Undoing, Reason: "shift: failed"}},
		"promoted": {next: store.Rollout{State: store.Done, Outcome: store.Promoted}},
		"rolled back": {next: store.Rollout{State: store.Done, Outcome: store.RolledBack, Reason: "shift: 4 of 60 orders failed"},
			want: notify.Message{Event: estate.EventRolledBack, Title: "production/acme: promote r3 was rolled back", Text: "shift: 4 of 60 orders failed", Key: "rolled_back/x/7",
				Needed: "whoever made the release looks into it; it stays out of production until: waybill quarantine lift production r3"}},
		"not let in": {memory: Memory{NotAdmitted: true}, next: store.Rollout{State: store.Done, Outcome: store.RolledBack, Reason: "admit: not trusted"},
			want: notify.Message{Event: estate.EventFailed, Title: "production/acme: promote r3 was not let in", Text: "admit: not trusted", Key: "failed/x/7", Needed: "ann, who asked for it, looks into it; nothing was touched"}},
		"restore failed": {kind: KindRestore, next: store.Rollout{State: store.Done, Outcome: store.RolledBack, Reason: "restore: disk full"},
			want: notify.Message{Event: estate.EventFailed, Title: "production/acme: restore r3 failed, and was undone", Text: "restore: disk full", Key: "failed/x/7", Needed: "ann, who asked for it, looks into it: waybill promotion show p1"}},
		"gates cannot be asked": {next: store.Rollout{State: store.Running, Step: gatesStep, Attempt: 1, WaitsFor: "tries again: no connection"}},
		"waits at the gates": {next: store.Rollout{State: store.Running, Step: gatesStep, WaitsFor: "one approval of an approver is missing"},
			want: notify.Message{Event: estate.EventWaiting, Title: "production/acme: promote r3 waits to be let in", Text: "It waits before anything is touched, and goes on by itself once nothing is missing.",
				Key: "waiting/p1/gates", Needed: "one approval of an approver is missing"}},
		"waits for a person": {next: store.Rollout{State: store.Waiting, Outcome: store.WaitingForPerson, Reason: person},
			want: notify.Message{Event: estate.EventWaiting, Title: "production/acme: promote r3 waits for a person", Text: "going back loses orders", Key: "waiting/x/7",
				Needed: "an operator chooses: keep it: waybill promotion resume p1; or waybill rollback p1 --accept-loss"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Work{env: Snapshot{Tenants: []estate.Tenant{{Name: "acme"}}}, promotion: p, lease: store.Lease{Rollout: "x", Epoch: 7}, memory: c.memory}
			if c.kind != "" {
				w.promotion.Kind = c.kind
			}
			c.next.ID, c.next.Environment, c.next.Tenant = "x", "production", "acme"
			got, told := w.news(c.next, at)
			require.Equal(t, c.want.Event != "", told)
			if told {
				c.want.Environment, c.want.Tenant, c.want.Release, c.want.Promotion, c.want.At = "production", "acme", "r3", "p1", at
				require.Equal(t, c.want, got)
			}
		})
	}
}

// The notice is written with the outcome, once.
func TestNoticeOfAnOutcome(t *testing.T) {
	b := setup(t, Step{Name: "break", Do: func(context.Context, *Work) (string, error) { return "", failed("the disk is full") }})
	e, _ := b.engine("one")
	r := b.until(b.start(e), func(r store.Rollout) bool { return r.State == store.Done })
	var event string
	var data []byte
	require.NoError(t, b.store.Pool.QueryRow(t.Context(), "select event, data from notices where environment = $1", b.kind).Scan(&event, &data))
	require.Equal(t, estate.EventFailed, event)
	var m notify.Message
	require.NoError(t, json.Unmarshal(data, &m))
	require.Equal(t, r.Reason, m.Text)
	require.Contains(t, m.Text, "the disk is full")
}
