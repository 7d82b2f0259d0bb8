package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// The topics of events.
const (
	TopicPromotion    = "promotion"
	TopicApproval     = "approval"
	TopicEnvironment  = "environment"
	TopicNotification = "notification"
	TopicRehearsal    = "rehearsal"
	TopicRelease      = "release"
	TopicEstate       = "estate"
	TopicLedger       = "ledger"
	TopicToken        = "token" // one was revoked; for servers alone
)

// Event is a change that is told to whoever watches.
type Event struct {
	Seq         int64           `db:"seq"` // whoever has seen it has seen all below it
	At          time.Time       `db:"at"`
	Topic       string          `db:"topic"`
	Environment string          `db:"environment"` // empty: it is of none
	Subject     string          `db:"subject"`
	Data        json.RawMessage `db:"data"` // by topic: PromotionEvent, RehearsalEvent, …
}

// PromotionEvent is how far a promotion is: enough to show in a list, and to know that there is more to read.
type PromotionEvent struct {
	Promotion   string `db:"promotion" json:"promotion"`
	Environment string `db:"environment" json:"environment"`
	Kind        string `db:"kind" json:"kind"`
	Release     string `db:"release" json:"release"`
	ReleaseName string `db:"release_name" json:"release_name"`
	Class       string `db:"class" json:"class"`
	Outcome     string `db:"outcome" json:"outcome" doc:"As in the promotion; empty while it runs"`
	Revision    int64  `db:"revision" json:"revision" doc:"That of the promotion; what is older can be dropped"`
	Tenants     int    `db:"tenants" json:"tenants"`
	Done        int    `db:"done" json:"done" doc:"Tenants whose part has ended"`
	Waiting     int    `db:"waiting" json:"waiting" doc:"Tenants whose part waits for a person"`
	Tenant      string `db:"tenant" json:"tenant,omitempty" doc:"Whose part has changed last"`
	Step        string `db:"step" json:"step,omitempty" doc:"Its newest step"`
	Undo        bool   `db:"undo" json:"undo,omitempty" doc:"The step is on the way back"`
	StepOutcome string `db:"step_outcome" json:"step_outcome,omitempty"`
	WaitsFor    string `db:"waits_for" json:"waits_for,omitempty"`
}

// RehearsalEvent is how far a rehearsal is.
type RehearsalEvent struct {
	Rehearsal   string `db:"rehearsal" json:"rehearsal"`
	Environment string `db:"environment" json:"environment"`
	Tenant      string `db:"tenant" json:"tenant"`
	ReleaseName string `db:"release_name" json:"release_name"`
	State       string `db:"state" json:"state" enum:"queued,running,done"`
	Progress    string `db:"progress" json:"progress"`
	Outcome     string `db:"outcome" json:"outcome"`
	Revision    int64  `db:"revision" json:"revision"`
}

// ApprovalEvent says that somebody has decided about a promotion.
type ApprovalEvent struct {
	Promotion   string `json:"promotion"`
	Environment string `json:"environment"`
	Decision    string `json:"decision" enum:"approve,reject"`
	Person      string `json:"person"`
}

// EnvironmentEvent says that something about an environment's tenants is no longer as it was.
type EnvironmentEvent struct {
	Environment string `json:"environment"`
}

// ReleaseEvent says that a release was made known.
type ReleaseEvent struct {
	Digest string `json:"digest"`
	Name   string `json:"name"`
}

// EstateEvent says that another commit of the estate is in force, or why none is.
type EstateEvent struct {
	Commit  string `json:"commit"`
	Problem string `json:"problem,omitempty"`
}

// LedgerEvent says up to which entry the ledger goes.
type LedgerEvent struct {
	Sequence int64 `json:"sequence"`
}

// publishLock is the advisory lock of whoever numbers events.
const publishLock = 0x7761_7962_6576 // "waybev"

// publishBatch bounds one transaction of PublishEvents.
const publishBatch = 2000

type change struct {
	Key         int64           `db:"key"`
	Topic       string          `db:"topic"`
	Environment string          `db:"environment"`
	Subject     string          `db:"subject"`
	Data        json.RawMessage `db:"data"`
}

// PublishEvents numbers what has changed. Many changes of one promotion since the last time are one event. more says that there
// may be further ones. Where another server is at it, nothing is done.
func (s *Store) PublishEvents(ctx context.Context) (more bool, err error) {
	var due bool
	if err := s.Pool.QueryRow(ctx, "select exists (select from changes)").Scan(&due); err != nil || !due {
		return false, err
	}
	err = s.In(ctx, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1)", publishLock).Scan(&mine); err != nil || !mine {
			return err
		}
		taken, err := many[change](ctx, tx, "delete from changes where key in (select key from changes order by key limit $1) returning key, topic, environment, subject, data", publishBatch)
		if err != nil {
			return err
		}
		more = len(taken) == publishBatch
		slices.SortFunc(taken, func(a, b change) int { return cmp.Compare(a.Key, b.Key) })
		told, err := tellingOf(ctx, tx, taken)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, c := range told {
			batch.Queue("insert into events (topic, environment, subject, data) values ($1, $2, $3, $4)", c.Topic, c.Environment, c.Subject, c.Data)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return more, err
}

// Events lists events above a number, at most limit of them.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]Event, error) {
	return many[Event](ctx, s.Pool, "select seq, at, topic, environment, subject, data from events where seq > $1 order by seq limit $2", after, limit)
}

// NewestEvent is the newest event; there always is one.
func (s *Store) NewestEvent(ctx context.Context) (Event, error) {
	return one[Event](ctx, s.Pool, "select seq, at, topic, environment, subject, data from events order by seq desc limit 1")
}

// HasEvent says whether an event is kept still, and so all above it. Its time tells it from one of another history of this database.
func (s *Store) HasEvent(ctx context.Context, seq int64, at time.Time) (kept bool, err error) {
	err = s.Pool.QueryRow(ctx, "select exists (select from events where seq = $1 and at = $2)", seq, at).Scan(&kept)
	return kept, err
}

// ForgetEvents removes what is older than a time; the newest one stays.
func (s *Store) ForgetEvents(ctx context.Context, before time.Time) error {
	_, err := s.Pool.Exec(ctx, "delete from events where at < $1 and seq < (select max(seq) from events)", before)
	return err
}

// tellingOf is what is told of changes: each promotion, rehearsal and environment once, with what is true of it now.
func tellingOf(ctx context.Context, tx pgx.Tx, taken []change) ([]change, error) {
	var told []change
	once := map[string]int{} // place in told
	for _, c := range taken {
		switch c.Topic {
		case TopicPromotion, TopicEnvironment, TopicRehearsal, TopicLedger:
			key := c.Topic + " " + c.Environment + " " + c.Subject
			if i, there := once[key]; there {
				if len(c.Data) > len("{}") { // which rollout it was, or which entry
					told[i].Data = c.Data
				}
				continue
			}
			once[key] = len(told)
		}
		told = append(told, c)
	}
	for i, c := range told {
		data, err := dataOf(ctx, tx, c)
		if errors.Is(err, ErrNotFound) { // it is gone by now
			data, err = []byte("{}"), nil
		}
		if err != nil {
			return nil, err
		}
		told[i].Data = data
	}
	return told, nil
}

// dataOf is what is told of a change.
func dataOf(ctx context.Context, tx pgx.Tx, c change) (json.RawMessage, error) {
	var v any
	var err error
	switch c.Topic {
	case TopicPromotion:
		v, err = promotionEvent(ctx, tx, c)
	case TopicRehearsal:
		v, err = one[RehearsalEvent](ctx, tx, "select id as rehearsal, environment, tenant, release_name, state, progress, outcome, revision from rehearsals where id = $1", c.Subject)
	case TopicApproval:
		e := ApprovalEvent{Promotion: c.Subject, Environment: c.Environment}
		err = json.Unmarshal(c.Data, &e)
		v = e
	case TopicEnvironment:
		v = EnvironmentEvent{Environment: c.Environment}
	case TopicRelease:
		e := ReleaseEvent{Digest: c.Subject}
		err = json.Unmarshal(c.Data, &e)
		v = e
	default:
		return c.Data, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func promotionEvent(ctx context.Context, tx pgx.Tx, c change) (PromotionEvent, error) {
	var of struct{ Rollout string }
	if err := json.Unmarshal(c.Data, &of); err != nil {
		return PromotionEvent{}, err
	}
	return one[PromotionEvent](ctx, tx, `select p.id as promotion, p.environment, p.kind, p.release, p.release_name, p.class, p.outcome,
			every.revision, every.tenants, every.done, every.waiting,
			coalesce(r.tenant, '') as tenant, coalesce(r.waits_for, '') as waits_for, coalesce(s.name, '') as step, coalesce(s.undo, false) as undo, coalesce(s.outcome, '') as step_outcome
		from promotions p
		cross join lateral (select coalesce(sum(revision), 0)::bigint as revision, count(*) as tenants, count(*) filter (where state = 'done') as done,
			count(*) filter (where state = 'waiting') as waiting from rollouts where promotion_id = p.id) every
		left join rollouts r on r.promotion_id = p.id and r.id = $2
		left join lateral (select name, undo, outcome from steps where rollout_id = r.id order by seq desc limit 1) s on true
		where p.id = $1`, c.Subject, of.Rollout)
}
