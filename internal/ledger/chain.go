package ledger

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lockID is the advisory lock that makes one writer of many: "waybill" in ASCII.
const lockID = 0x77617962696c6c

// batch is how many events are chained in one transaction.
const batch = 2000

// Options say how a ledger is kept.
type Options struct {
	// Signer opens the key that heads are signed with. It is opened anew each time, so that a rotation
	// takes effect at once.
	Signer func(context.Context) (crypto.Signer, error)
	// HeadFile keeps the newest head outside of the database, so that whoever can write to the database
	// alone cannot have a chain of his own signed. Empty: nothing is kept there.
	HeadFile string
	// A head is signed after so many entries, or so long after the first one that none covers.
	HeadEvery int           // default 500
	HeadAfter time.Duration // default 5 s
	// Every is how often the outbox is looked at; default 300 ms.
	Every time.Duration
	Log   *slog.Logger
}

// Ledger chains what Record has written down, and signs it. It is safe for concurrent use, and for use
// by several servers on one database.
type Ledger struct {
	pool *pgxpool.Pool
	o    Options

	mu      sync.Mutex
	trusted *Head // the newest head that this process knows to be good; nil: not looked yet, or none
	looked  bool
}

// New makes a ledger on a database that has its tables.
func New(pool *pgxpool.Pool, o Options) *Ledger {
	if o.HeadEvery <= 0 {
		o.HeadEvery = 500
	}
	if o.HeadAfter <= 0 {
		o.HeadAfter = 5 * time.Second
	}
	if o.Every <= 0 {
		o.Every = 300 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Ledger{pool: pool, o: o}
}

// Run chains and signs until ctx is done, and then once more what is there. It never ends because the
// database is away.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.o.Every)
	defer tick.Stop()
	var unsigned time.Time // since when there are entries that no head covers
	said := ""
	for {
		err := l.turn(ctx, &unsigned)
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if _, err := l.Cover(last); err != nil {
				l.o.Log.Warn("close the ledger", "error", err)
			}
			return nil
		}
		switch {
		case err == nil:
			said = ""
		case err.Error() != said: // a ledger that was tampered with stays so: once is enough
			said = err.Error()
			l.o.Log.Error("keep the ledger", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// turn does what is due.
func (l *Ledger) turn(ctx context.Context, unsigned *time.Time) error {
	for {
		n, err := l.chain(ctx, false)
		if err != nil {
			return err
		}
		if n < batch {
			break
		}
	}
	tip, err := l.tip(ctx, l.pool)
	if err != nil || tip.Sequence == 0 {
		return err
	}
	var covered int64
	if err := l.pool.QueryRow(ctx, "select coalesce(max(seq), 0) from ledger_heads").Scan(&covered); err != nil {
		return err
	}
	if covered >= tip.Sequence {
		*unsigned = time.Time{}
		return nil
	}
	if unsigned.IsZero() {
		*unsigned = time.Now()
	}
	if tip.Sequence-covered < int64(l.o.HeadEvery) && time.Since(*unsigned) < l.o.HeadAfter {
		return nil
	}
	_, err = l.sign(ctx)
	return err
}

// Cover chains what there is and returns a signed head over it. Errors: ErrTampered, or what kept it
// from reading, writing or signing.
func (l *Ledger) Cover(ctx context.Context) (Head, error) {
	for {
		n, err := l.chain(ctx, true)
		if err != nil {
			return Head{}, err
		}
		if n < batch {
			return l.sign(ctx)
		}
	}
}

// chain moves events from the outbox into the chain. Where another writer is at it, it waits or does nothing.
func (l *Ledger) chain(ctx context.Context, wait bool) (n int, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		n, err = chain(ctx, tx, wait)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("chain the ledger's outbox: %w", err)
	}
	return n, nil
}

func chain(ctx context.Context, tx pgx.Tx, wait bool) (int, error) {
	// Looked at before the lock is asked for: nearly always there is nothing.
	var some, ours bool
	if err := tx.QueryRow(ctx, "select exists (select from ledger_outbox)").Scan(&some); err != nil || !some {
		return 0, err
	}
	if wait {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lockID); err != nil {
			return 0, err
		}
	} else if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1)", lockID).Scan(&ours); err != nil || !ours {
		return 0, err
	}
	tip, err := tipOf(ctx, tx)
	if err != nil {
		return 0, err
	}
	// An event is visible here only once its act has committed. Those of one rollout follow each other,
	// so their order is that of the numbers; between acts at the same time there is no order to keep.
	rows, err := tx.Query(ctx, `with taken as (delete from ledger_outbox where id in (select id from ledger_outbox order by id limit $1) returning *)
		select at, actor, kind, environment, tenant, promotion, rollout, release, payload from taken order by id`, batch)
	if err != nil {
		return 0, err
	}
	events, err := pgx.CollectRows(rows, scanEvent)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	for i := range events {
		e := &events[i]
		e.Sequence, e.Previous = tip.Sequence+1, tip.Hash
		e.Hash = Link(e.Previous, e.Content())
		tip = Tip{tip.Ledger, e.Sequence, e.Hash}
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"ledger"},
		[]string{"seq", "at", "actor", "kind", "environment", "tenant", "promotion", "rollout", "release", "payload", "previous", "hash"},
		pgx.CopyFromSlice(len(events), func(i int) ([]any, error) {
			e := events[i]
			return []any{e.Sequence, e.Time, e.Actor, e.Kind, e.Environment, e.Tenant, e.Promotion, e.Rollout, e.Release, string(e.Payload), []byte(e.Previous), []byte(e.Hash)}, nil
		}))
	return len(events), err
}

func scanEvent(row pgx.CollectableRow) (e Entry, err error) {
	err = row.Scan(&e.Time, &e.Actor, &e.Kind, &e.Environment, &e.Tenant, &e.Promotion, &e.Rollout, &e.Release, (*string)(&e.Payload))
	return e, err
}

// Tip is where a chain ends.
type Tip struct {
	Ledger   string // its name
	Sequence int64  // 0: it has no entry
	Hash     Hash
}

type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (l *Ledger) tip(ctx context.Context, q rower) (Tip, error) { return tipOf(ctx, q) }

func tipOf(ctx context.Context, q rower) (Tip, error) {
	var t Tip
	if err := q.QueryRow(ctx, "select id from ledger_identity").Scan(&t.Ledger); err != nil {
		return t, fmt.Errorf("read the ledger's name: %w", err)
	}
	err := q.QueryRow(ctx, "select seq, hash from ledger order by seq desc limit 1").Scan(&t.Sequence, (*[]byte)(&t.Hash))
	if errors.Is(err, pgx.ErrNoRows) {
		t.Hash, err = Genesis(t.Ledger), nil
	}
	return t, err
}
