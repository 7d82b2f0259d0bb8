//go:build odoo

package kill

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
)

const (
	promoted   = "promoted"
	rolledBack = "rolled_back"
)

// goOnLimit is how long, from the start of the server's process, until the next step may begin.
const goOnLimit = 10 * time.Second

// limit bounds one promotion with all its kills; it is no measure, only an end.
const limit = 8 * time.Minute

// crew are the people who work while a case goes on.
type crew struct {
	client.Crew
	stopped bool
}

var crews int

// hire lets three people work; they go home when the test ends.
func hire(t *testing.T, s *stage.Stage) *crew {
	t.Helper()
	crews++
	ledger, err := client.OpenLedger(filepath.Join(t.TempDir(), "orders.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	c := &crew{Crew: client.Crew{
		Site: s.Site, Login: stage.Clerk, Password: s.Initial.Clerk, People: 3, Pace: 2 * time.Second,
		Goods: s.Initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "KILL-" + time.Now().Format("150405.000"),
	}}
	t.Cleanup(func() {
		if !c.stopped {
			_ = c.Stop()
		}
		_ = ledger.Close()
	})
	if err := c.Start(t.Context()); err != nil { // they work for as long as the test goes on
		t.Fatalf("the crew cannot begin to work: %v", err)
	}
	return c
}

// goHome lets the crew prove that they can still work, and compares their record with the database.
func (c *crew) goHome(t *testing.T, s *stage.Stage, r *row) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, before := c.Orders()
	err := stage.Poll(ctx, 200*time.Millisecond, "another order to be shipped after the end", func() (bool, error) {
		_, shipped := c.Orders()
		return shipped >= before+3, nil
	})
	if err != nil {
		t.Errorf("%v; the last failures: %v", err, failures(c.Tally.Since(0)))
	}
	c.stopped = true
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	count := c.Tally.Since(0)
	r.requests, r.failed = count.Requests, count.Failed
	r.acknowledged, r.lost = audit(t, s, c.Ledger)
	if count.Failed > 0 {
		t.Logf("%d of %d requests failed; the first: %v", count.Failed, count.Requests, failures(count))
	}
}

func failures(c client.Count) []string {
	var said []string
	for _, f := range c.Failures[:min(3, len(c.Failures))] {
		said = append(said, f.Started.Format("15:04:05 ")+f.What+": "+f.Err.Error())
	}
	return said
}

func audit(t *testing.T, s *stage.Stage, ledger *client.Ledger) (checked, lost int) {
	t.Helper()
	url, err := s.DatabaseURL(stage.TenantsServer, stage.Database)
	if err != nil {
		t.Fatal(err)
	}
	found, err := ledger.Audit(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Err(); err != nil {
		t.Error(err)
	}
	return found.Checked, found.Missing()
}

// scenario is one procedure during which things are taken away.
type scenario struct {
	release  string   // goes to production
	ask      []string // the verb, where it is not promote
	points   []string // the server is killed at each in turn
	outcome  string   // promoted or rolled_back
	serving  string   // afterwards
	schema   string
	reason   string                                  // words in it, where it is rolled back
	before   func(t *testing.T)                      // takes something away before the procedure is asked
	meddle   func(ctx context.Context, t *testing.T) // takes something else away, once the procedure is asked
	restored bool                                    // the data goes back: what was ordered meanwhile is not looked for
}

// play runs a scenario from r1 and looks at its end.
func play(t *testing.T, sc scenario) {
	t.Helper()
	s := theStage(t)
	base := toBase(t, s)
	r := row{release: sc.release, points: describe(sc)}
	if sc.ask == nil {
		sc.ask = []string{"promote", sc.release, stage.Environment}
	}
	for i := range sc.ask {
		sc.ask[i] = strings.ReplaceAll(sc.ask[i], "BASE", base)
	}
	var people *crew
	if !sc.restored {
		people = hire(t, s)
	}
	if sc.before != nil {
		sc.before(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	p := run(ctx, t, s, sc, &r)
	r.whole, r.outcome, r.held = time.Since(began), p.Outcome, p.Rollouts[0].HeldSeconds
	if people != nil {
		people.goHome(t, s, &r)
	} else {
		r.acknowledged, r.lost = audit(t, s, baseLedger)
	}
	rows = append(rows, r)
	if p.Outcome != sc.outcome && (sc.outcome != "" || (p.Outcome != promoted && p.Outcome != rolledBack)) {
		t.Errorf("the promotion ended as %q (%s), expected %q\n%s", p.Outcome, p.Rollouts[0].Reason, sc.outcome, story(p))
	}
	if p.Outcome == rolledBack && !strings.Contains(p.Rollouts[0].Reason, sc.reason) {
		t.Errorf("rolled back for another reason than expected (%q is not in it): %s", sc.reason, p.Rollouts[0].Reason)
	}
	serving, schema := sc.serving, sc.schema
	if sc.outcome == "" { // either end is right: what is there must be what it means
		serving, schema = sc.release, sc.release
		if p.Outcome == rolledBack {
			serving, schema = "r1", schemaAfter(p)
		}
	}
	looksLike(t, s, serving, schema)
	if t.Failed() {
		t.Logf("%s\n%s", story(p), s.LogTail())
	}
}

// schemaAfter says whether a compatible update stays although the release was taken back.
func schemaAfter(p api.Promotion) string {
	for _, step := range p.Rollouts[0].Steps {
		if step.Name == "update" && !step.Undo && step.Outcome == "done" {
			return p.ReleaseName
		}
	}
	return "r1"
}

func describe(sc scenario) string {
	if len(sc.points) > 3 {
		return strings.Join(sc.points[:2], ", ") + " … " + sc.points[len(sc.points)-1]
	}
	if len(sc.points) == 0 {
		return "a part"
	}
	return strings.Join(sc.points, ", ")
}

// run asks for the procedure, lets the server die at each point, starts it again, and returns the
// procedure once it has ended.
func run(ctx context.Context, t *testing.T, s *stage.Stage, sc scenario, r *row) api.Promotion {
	t.Helper()
	if err := s.Down(); err != nil {
		t.Fatal(err)
	}
	if err := s.Up(ctx, killAt(sc.points, 0)...); err != nil {
		t.Fatal(err)
	}
	before := newest(ctx, t, s)
	asked := make(chan error, 1)
	go func() { asked <- s.Ask(ctx, nil, append(sc.ask, detached(sc.ask)...)...) }()
	defer func() { // the server may have died while it answered
		if err := <-asked; err != nil && len(sc.points) == 0 {
			t.Error(err)
		}
	}()
	if sc.meddle != nil {
		sc.meddle(ctx, t)
	}
	var starts []time.Time
	for i, point := range sc.points {
		if !dies(ctx, t, s, before) {
			t.Fatalf("the procedure ended before %q was reached\n%s", point, story(last(ctx, t, s)))
		}
		if !s.Server.Killed() {
			t.Fatalf("the server did not die by the kill at %q\n%s", point, s.LogTail())
		}
		r.kills++
		if err := s.Up(ctx, killAt(sc.points, i+1)...); err != nil && !s.Server.Killed() { // it may reach the next point before it is ready
			t.Fatal(err)
		}
		starts = append(starts, s.Server.Started)
	}
	awaitEnd(ctx, t, s, before)
	p := last(ctx, t, s)
	for i, start := range starts {
		took := goesOn(t, p, start)
		if took > goOnLimit || took < 0 {
			t.Errorf("after the kill at %q the next step began %s after the start of the server, expected at most %s", sc.points[i], took, goOnLimit)
		}
		r.goOn = max(r.goOn, took)
	}
	return p
}

// detached is the flag by which a verb returns at once; restore has none and is followed elsewhere.
func detached(ask []string) []string {
	switch ask[0] {
	case "promote", "secrets", "configure":
		return []string{"--detach"}
	}
	return nil
}

func killAt(points []string, i int) []string {
	if i < len(points) {
		return []string{"WAYBILL_KILL_AT=" + points[i]}
	}
	return nil
}

// goesOn is the time from a start of the server to the first step that began after it.
func goesOn(t *testing.T, p api.Promotion, start time.Time) time.Duration {
	t.Helper()
	for _, step := range p.Rollouts[0].Steps {
		if step.Started.After(start) && step.Outcome != "skipped" {
			return step.Started.Sub(start)
		}
	}
	return -1
}

// dies waits until the server is gone, and says false when the procedure ends before that.
func dies(ctx context.Context, t *testing.T, s *stage.Stage, before string) bool {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.Server.Ended:
			return true
		case <-ctx.Done():
			t.Fatalf("the server was not killed in time: %v\n%s", ctx.Err(), s.LogTail())
		case <-tick.C:
			if id, ended := newestState(ctx, t, s); id != before && ended {
				return s.Server.Gone()
			}
		}
	}
}

func awaitEnd(ctx context.Context, t *testing.T, s *stage.Stage, before string) {
	t.Helper()
	err := stage.Poll(ctx, 200*time.Millisecond, "the procedure to end", func() (bool, error) {
		if s.Server.Gone() {
			return false, errors.New("the server died on the way")
		}
		id, ended := newestState(ctx, t, s)
		return id != before && ended, nil
	})
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, story(last(context.WithoutCancel(ctx), t, s)), s.LogTail())
	}
}

// newestState looks into Waybill's own database, which outlives the server.
func newestState(ctx context.Context, t *testing.T, s *stage.Stage) (id string, ended bool) {
	t.Helper()
	var outcome string
	err := query(ctx, s, stage.StateServer, "postgres", func(db *pgx.Conn) error {
		return db.QueryRow(ctx, "select id, outcome from promotions order by seq desc limit 1").Scan(&id, &outcome)
	})
	if err != nil { // it is being restarted, perhaps
		return "", false
	}
	return id, outcome != ""
}

func newest(ctx context.Context, t *testing.T, s *stage.Stage) string {
	t.Helper()
	id, _ := newestState(ctx, t, s)
	if id == "" {
		t.Fatal("Waybill's own database does not say which promotion is the newest")
	}
	return id
}

func last(ctx context.Context, t *testing.T, s *stage.Stage) api.Promotion {
	t.Helper()
	p, err := s.Newest(ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.LogTail())
	}
	if len(p.Rollouts) != 1 {
		t.Fatalf("promotion %s has %d rollouts, expected 1", p.ID, len(p.Rollouts))
	}
	return p
}

// query opens a short connection past Waybill.
func query(ctx context.Context, s *stage.Stage, server, database string, f func(*pgx.Conn) error) error {
	url, err := s.DatabaseURL(server, database)
	if err != nil {
		return err
	}
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return errors.New("connect to " + server + "/" + database + " failed") // pgx's text may hold the URL
	}
	defer db.Close(context.WithoutCancel(ctx))
	return f(db)
}
