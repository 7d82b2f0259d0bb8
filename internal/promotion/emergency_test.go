package promotion

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// atGlass is a gated bench with an emergency path, a calendar that is closed, and rules of which one is kept.
func atGlass(t *testing.T, confirm time.Duration) *gated {
	t.Helper()
	g := atGates(t, estate.PolicyRule{ID: "nobody", Expr: `promotion.emergency && promotion.change == "application"`, Emergency: "skip", Why: "never holds"},
		estate.PolicyRule{ID: "small", Expr: "release.modules.size() < 5", Why: "is asked of everything"})
	g.emergency = &estate.Emergency{Confirm: confirm, Skips: []string{estate.SkipApprovals, estate.SkipWindow, estate.SkipOrder}}
	g.calendars = []estate.Calendar{{Name: "night"}}
	g.rooms.Calendar = func(context.Context, string, estate.Tenant, time.Time, time.Duration) (*gate.Calendar, error) {
		if g.open.Load() {
			return nil, nil
		}
		return &gate.Calendar{Next: time.Now().Add(time.Hour), Reason: "outside of window night"}, nil
	}
	return g
}

var breaking = Options{Emergency: &Emergency{Reason: "nobody can ship", Second: "bert"}}

func (g *gated) breakGlass(e *Engine) string {
	g.t.Helper()
	id, err := g.request(e, Request{Options: breaking})
	require.NoError(g.t, err)
	return id
}

// notices are the keys of what people were told about a promotion, without its ID.
func (g *gated) notices(promotion string) (list []string) {
	g.t.Helper()
	rows, err := g.store.Pool.Query(g.t.Context(), "select event, data->>'title', data->>'needed' from notices where data->>'promotion' = $1 order by id", promotion)
	require.NoError(g.t, err)
	for rows.Next() {
		var event, title, needed string
		require.NoError(g.t, rows.Scan(&event, &title, &needed))
		list = append(list, event+": "+title+": "+needed)
	}
	require.NoError(g.t, rows.Err())
	return list
}

func TestAnEmergencyWaitsForItsSecondPersonAndIsReviewed(t *testing.T) {
	g := atGlass(t, time.Hour)
	e := g.engine()
	id := g.breakGlass(e)
	r := g.until(id, waitsFor("environment/second: bert confirms until "))
	require.NotContains(t, r.WaitsFor, "window", "that is what the glass was broken for")
	require.WithinDuration(t, time.Now().Add(time.Hour), *r.WakeAt, 30*time.Second, "it ends then")
	x, err := g.store.Emergency(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []string{"environment/window", "environment/order", "p/nobody"}, x.Skipped, "what is not asked is listed, and there are no approvals here")
	require.Equal(t, "ann", x.AskedBy)
	require.False(t, x.Unreviewed(), "nothing was done yet")

	require.ErrorIs(t, e.Confirm(t.Context(), id, "ann"), ErrRefused)
	require.ErrorContains(t, e.Confirm(t.Context(), id, "carl"), "ann named bert to confirm promotion "+id+", and not carl")
	require.ErrorContains(t, e.CloseReview(t.Context(), id, "carl", "all good"), "was not confirmed")
	require.Equal(t, []string{"plan: done", "gates: waits"}, g.outcomes(r.ID))
	require.NoError(t, e.Confirm(t.Context(), id, "bert"))
	require.NoError(t, e.Confirm(t.Context(), id, "bert"), "once more is the same")
	r = g.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	kept, err := g.store.GateOf(t.Context(), r.ID)
	require.NoError(t, err)
	answer, err := Answer(kept)
	require.NoError(t, err)
	require.Contains(t, answer.Summary(), "p/nobody: not asked of an emergency · environment/window: not asked of an emergency")
	require.Equal(t, gate.Allowed, answer.Rules[1].Verdict, "the rule that is kept was asked: %+v", answer.Rules)

	// The next ordinary promotion waits for the review, and goes on when somebody else has closed it.
	g.policies = nil
	g.open.Store(true)
	next := g.ask(e)
	g.until(next, waitsFor("environment/review: somebody else than ann closes the review of emergency promotion "+id+": waybill review close "+id+" --note …"))
	require.ErrorContains(t, e.CloseReview(t.Context(), id, "ann", "all good"), "ann broke the glass")
	require.ErrorContains(t, e.CloseReview(t.Context(), id, "carl", " "), "a note")
	require.ErrorContains(t, e.CloseReview(t.Context(), next, "carl", "x"), "is no emergency")
	require.ErrorContains(t, e.Confirm(t.Context(), next, "bert"), "is no emergency")
	require.ErrorIs(t, e.Confirm(t.Context(), "unknown", "bert"), store.ErrNotFound)
	require.NoError(t, e.CloseReview(t.Context(), id, "carl", "the carrier's change was announced; we read\nthe mails now"))
	require.NoError(t, e.CloseReview(t.Context(), id, "carl", "again"))
	require.ErrorContains(t, e.CloseReview(t.Context(), id, "bert", "mine"), "carl has closed")
	require.Equal(t, store.Promoted, g.until(next, ended).Outcome)
	x, err = g.store.Emergency(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "the carrier's change was announced; we read the mails now", x.Note)
	require.Equal(t, "carl", x.ReviewedBy)

	require.Equal(t, []string{ledger.PromotionAsked, ledger.EmergencyAsked, "rollout.step plan done", "rollout.step gates waits", ledger.EmergencyConfirmed,
		"rollout.step gates done", "rollout.step last done", "rollout.ended promoted", "promotion.ended promoted", ledger.ReviewClosed}, g.told(id))
	told := g.notices(id)
	require.Len(t, told, 3, "%q", told)
	require.Contains(t, told[0], "emergency: "+g.kind+": ann broke the glass for r2: bert confirms it until ")
	require.Contains(t, told[1], "bert confirmed the emergency promotion of r2")
	require.Contains(t, told[2], "is to be reviewed: somebody else than ann looks at it")
}

func TestAnEmergencyThatNobodyConfirms(t *testing.T) {
	long.Test(t)
	g := atGlass(t, 2*time.Second)
	e := g.engine()
	id := g.breakGlass(e)
	r := g.until(id, ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "gates: bert had not confirmed the emergency by ")
	for _, done := range g.outcomes(r.ID) {
		require.NotContains(t, done, "last", "nothing has begun")
	}
	require.ErrorContains(t, e.Confirm(t.Context(), id, "bert"), "the time to confirm promotion "+id+" ended at ")
	require.Contains(t, g.told(id), ledger.EmergencyLapsed)
	promotion, _, err := g.store.Quarantined(t.Context(), g.kind, g.digest())
	require.NoError(t, err)
	require.Empty(t, promotion)
	open, err := g.store.Reviews(t.Context(), g.kind, false)
	require.NoError(t, err)
	require.Empty(t, open, "nothing was done that could be reviewed")
	told := g.notices(id)
	require.Len(t, told, 2, "%q", told)

	g.policies = nil
	g.open.Store(true)
	require.Equal(t, store.Promoted, g.until(g.ask(e), ended).Outcome, "and keeps nothing else out")
}

// A confirmation that comes while the gates are asked, or before they are, is not lost; nor does the kill of a server lose
// the time until which it may come.
func TestConfirmedWhileTheGatesAreAsked(t *testing.T) {
	long.Test(t)
	g := atGlass(t, time.Hour)
	var e *Engine
	id := make(chan string, 1)
	g.fault = func(point string) {
		if point == "inside:gates" {
			select {
			case promotion := <-id:
				require.NoError(t, e.Confirm(context.WithoutCancel(t.Context()), promotion, "bert"))
			default:
			}
		}
	}
	e = g.engine()
	idle, err := New(Rooms{Store: g.store}, "idle", e.log, nil)
	require.NoError(t, err)
	promotion, err := g.request(idle, Request{Options: breaking})
	require.NoError(t, err)
	id <- promotion
	require.Equal(t, store.Promoted, g.until(promotion, ended).Outcome)
}

func TestAnEmergencyOutlivesItsServer(t *testing.T) {
	g := atGlass(t, time.Hour)
	e, stop := g.bench.engine("a")
	id := g.breakGlass(e)
	g.until(id, waitsFor("environment/second"))
	stop()
	idle, err := New(Rooms{Store: g.store}, "idle", e.log, nil)
	require.NoError(t, err)
	require.NoError(t, idle.Confirm(t.Context(), id, "bert"))
	g.engine()
	require.Equal(t, store.Promoted, g.until(id, ended).Outcome)
}

func TestWhatIsNoEmergency(t *testing.T) {
	g := atGlass(t, time.Hour)
	e := g.engine()
	for name, c := range map[string]struct {
		path  *estate.Emergency
		says  Emergency
		error string
	}{
		"no path":   {nil, *breaking.Emergency, "declares no emergency path"},
		"no reason": {g.emergency, Emergency{Reason: " \n", Second: "bert"}, "a reason"},
		"nobody":    {g.emergency, Emergency{Reason: "x"}, "a second person who confirms it"},
		"the same":  {g.emergency, Emergency{Reason: "x", Second: "ann"}, "somebody else than ann"},
	} {
		g.emergency = c.path
		_, err := g.request(e, Request{Options: Options{Emergency: &c.says}})
		require.ErrorIs(t, err, ErrBadRequest, name)
		require.ErrorContains(t, err, c.error, name)
	}
}

// What the estate does not let an emergency skip is asked of it, and the way back is never skipped.
func TestWhatAnEmergencySkips(t *testing.T) {
	snapshot := Snapshot{Before: "uat", Calendars: true, Environment: estate.Environment{Name: "production", Rehearsal: estate.RehearsalRequired, Approvals: &estate.Approvals{Required: 1}}}
	for name, c := range map[string]struct {
		skips, want []string
	}{
		"the defaults": {[]string{estate.SkipApprovals, estate.SkipWindow, estate.SkipOrder}, []string{"environment/approvals", "environment/window", "environment/order"}},
		"everything":   {estate.EmergencySkips, []string{"environment/approvals", "environment/window", "environment/order", "environment/rehearsal"}},
		"nothing":      {nil, []string{}},
	} {
		snapshot.Environment.Emergency = &estate.Emergency{Skips: c.skips}
		require.Equal(t, c.want, skippedIn(snapshot), name)
		w := &Work{env: snapshot, options: breaking}
		for _, what := range estate.EmergencySkips {
			require.Equal(t, snapshot.Environment.Emergency.Skip(what), w.skips(what), name)
			require.False(t, (&Work{env: snapshot}).skips(what), "an ordinary promotion skips nothing")
		}
	}
	for _, s := range procedures[KindPromote] {
		if s.When == nil || s.Name == "gates" {
			continue
		}
		plain, emergency := &Work{env: snapshot, memory: Memory{OldPool: "r1", Plan: Plan{Class: estate.Breaking, Update: []string{"sale"}}}}, &Work{env: snapshot, options: breaking}
		emergency.memory = plain.memory
		a, _ := s.When(plain)
		b, _ := s.When(emergency)
		require.Equal(t, a, b, "%s is done for an emergency as for anything", s.Name)
	}
}

func TestAnEmergencyWhileAnotherPromotionWaits(t *testing.T) {
	g := atGlass(t, time.Hour)
	g.policies = nil
	e := g.engine()
	id := g.ask(e)
	r := g.until(id, waitsFor("environment/window"))
	_, err := g.request(e, Request{Options: breaking})
	require.ErrorIs(t, err, store.ErrTenantBusy)
	require.ErrorContains(t, err, "waybill reject "+id, "it says what is in the way, and what to do")
	require.NoError(t, g.store.Abort(t.Context(), r.ID, "an emergency comes first", false))
	g.until(id, ended)
	g.breakGlass(e)
}

func TestOptionsOfAnEmergencyAreKept(t *testing.T) {
	encoded, err := json.Marshal(breaking)
	require.NoError(t, err)
	require.JSONEq(t, `{"emergency": {"reason": "nobody can ship", "second": "bert"}}`, string(encoded), "the store asks whether there is one, and package approval too")
	encoded, err = json.Marshal(Options{})
	require.NoError(t, err)
	require.JSONEq(t, `{}`, string(encoded))
}
