package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotFound is returned when there is no such entry.
var ErrNotFound = errors.New("the ledger has no such entry")

// snapshot is one look at the ledger, however long it takes.
var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

const columns = "seq, at, actor, kind, environment, tenant, promotion, rollout, release, payload, previous, hash"

func scan(row pgx.CollectableRow) (e Entry, err error) {
	err = row.Scan(&e.Sequence, &e.Time, &e.Actor, &e.Kind, &e.Environment, &e.Tenant, &e.Promotion, &e.Rollout, &e.Release,
		(*string)(&e.Payload), (*[]byte)(&e.Previous), (*[]byte)(&e.Hash))
	e.Time = e.Time.UTC()
	return e, err
}

func scanHead(row pgx.CollectableRow) (h Head, err error) {
	err = row.Scan(&h.Ledger, &h.Sequence, (*[]byte)(&h.Hash), &h.Time, &h.KeyID, &h.Signature)
	h.Time = h.Time.UTC()
	return h, err
}

const headsQuery = "select i.id, h.seq, h.hash, h.at, h.key_id, h.signature from ledger_heads h, ledger_identity i"

// window is how many rows of a cursor are in memory.
const window = 500

// cursor reads a query's rows by windows. The transaction may be used for other things in between.
func cursor[T any](ctx context.Context, tx pgx.Tx, name, query string, to pgx.RowToFunc[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if _, err := tx.Exec(ctx, "declare "+name+" no scroll cursor for "+query); err != nil {
			yield(none, err)
			return
		}
		defer func() { _, _ = tx.Exec(ctx, "close "+name) }()
		for {
			rows, err := tx.Query(ctx, fmt.Sprintf("fetch %d from %s", window, name))
			if err != nil {
				yield(none, err)
				return
			}
			found, err := pgx.CollectRows(rows, to)
			if err != nil {
				yield(none, err)
				return
			}
			for _, one := range found {
				if !yield(one, nil) {
					return
				}
			}
			if len(found) < window {
				return
			}
		}
	}
}

// entries are those from a sequence on, in order.
func entries(ctx context.Context, tx pgx.Tx, from int64) iter.Seq2[Entry, error] {
	return cursor(ctx, tx, "ledger_entries", fmt.Sprintf("select %s from ledger where seq >= %d order by seq", columns, from), scan)
}

func heads(ctx context.Context, tx pgx.Tx) iter.Seq2[Head, error] {
	return cursor(ctx, tx, "ledger_heads_in_order", headsQuery+" order by h.seq, h.at", scanHead)
}

// Filter chooses entries; an empty field stands for any.
type Filter struct {
	Promotion   string
	Environment string
	Tenant      string
	Actor       string
	Kind        string    // or the beginning of one: "step."
	Text        string    // that the payload holds, in either case
	Since       time.Time // at this moment or later
	Until       time.Time // before it
	Before      int64     // sequence; 0: from the newest
	Limit       int
}

func (f Filter) where() (condition string, args []any) {
	moment := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return `($1 = '' or promotion = $1) and ($2 = '' or environment = $2) and ($3 = '' or starts_with(kind, $3)) and ($4 = 0 or seq < $4)
		and ($5 = '' or tenant = $5) and ($6 = '' or actor = $6) and ($7 = '' or position(lower($7) in lower(payload)) > 0)
		and ($8::timestamptz is null or at >= $8) and ($9::timestamptz is null or at < $9)`,
		[]any{f.Promotion, f.Environment, f.Kind, f.Before, f.Tenant, f.Actor, f.Text, moment(f.Since), moment(f.Until)}
}

// List gives entries, the newest first.
func (l *Ledger) List(ctx context.Context, f Filter) ([]Entry, error) {
	where, args := f.where()
	rows, err := l.pool.Query(ctx, "select "+columns+" from ledger where "+where+" order by seq desc limit $10", append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return pgx.CollectRows(rows, scan)
}

// Entry reads one.
func (l *Ledger) Entry(ctx context.Context, sequence int64) (Entry, error) {
	rows, err := l.pool.Query(ctx, "select "+columns+" from ledger where seq = $1", sequence)
	if err != nil {
		return Entry{}, fmt.Errorf("read the ledger: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, fmt.Errorf("%w: %d", ErrNotFound, sequence)
	}
	return e, err
}

// Heads lists the newest heads, the newest first.
func (l *Ledger) Heads(ctx context.Context, limit int) ([]Head, error) {
	rows, err := l.pool.Query(ctx, headsQuery+" order by h.seq desc, h.at desc limit $1", limit)
	if err != nil {
		return nil, fmt.Errorf("read the ledger's heads: %w", err)
	}
	return pgx.CollectRows(rows, scanHead)
}

// Lines is the whole ledger as one stream: its name, then every entry, each followed by the heads that
// were signed at it. It holds a few hundred rows in memory, and is one look, however long it takes.
func (l *Ledger) Lines(ctx context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		tx, err := l.pool.BeginTx(ctx, snapshot)
		if err != nil {
			yield(Line{}, fmt.Errorf("read the ledger: %w", err))
			return
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		lines(ctx, tx)(yield)
	}
}

func lines(ctx context.Context, tx pgx.Tx) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		var id string
		if err := tx.QueryRow(ctx, "select id from ledger_identity").Scan(&id); err != nil {
			yield(Line{}, fmt.Errorf("read the ledger's name: %w", err))
			return
		}
		if !yield(Line{Ledger: id}, nil) {
			return
		}
		next, stop := iter.Pull2(heads(ctx, tx))
		defer stop()
		head, err, more := next()
		tell := func(below int64) bool { // heads that are signed at an entry before that one
			for more && (err != nil || head.Sequence < below) {
				if err != nil {
					yield(Line{}, fmt.Errorf("read the ledger's heads: %w", err))
					return false
				}
				told := head
				if !yield(Line{Head: &told}, nil) {
					return false
				}
				head, err, more = next()
			}
			return true
		}
		for e, err := range entries(ctx, tx, -1<<62) {
			if err != nil {
				yield(Line{}, fmt.Errorf("read the ledger: %w", err))
				return
			}
			if !tell(e.Sequence) || !yield(Line{Entry: &e}, nil) {
				return
			}
		}
		tell(1<<63 - 1)
	}
}
