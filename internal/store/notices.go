package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notice is something that people shall be told.
type Notice struct {
	ID          int64           `db:"id"`
	Key         string          `db:"key"` // of what is told; the same is not told twice
	Event       string          `db:"event"`
	Environment string          `db:"environment"`
	Data        json.RawMessage `db:"data"`
	CreatedAt   time.Time       `db:"created_at"`
}

// Delivery is one notice on its way to one target.
type Delivery struct {
	Notice     int64      `db:"notice"`
	Target     string     `db:"target"`
	Attempts   int        `db:"attempts"` // this one included
	NextAt     time.Time  `db:"next_at"`
	Delivered  *time.Time `db:"delivered_at"`
	GaveUp     *time.Time `db:"gave_up_at"`
	LastError  string     `db:"last_error"`
	NoticeData Notice     `db:"-"`
}

// Announce writes a notice in a transaction. One with the same key is there already, or was within
// the last weeks: nothing is written.
func (s *Store) Announce(ctx context.Context, tx pgx.Tx, n Notice) error {
	_, err := tx.Exec(ctx, "insert into notices (key, event, environment, data) values ($1, $2, $3, $4) on conflict (key) do nothing",
		n.Key, n.Event, n.Environment, n.Data)
	return err
}

// NoticesDue says whether there is anything to address or to deliver now.
func (s *Store) NoticesDue(ctx context.Context) (due bool, err error) {
	err = s.Pool.QueryRow(ctx, `select exists (select from notices where not addressed)
		or exists (select from deliveries where delivered_at is null and gave_up_at is null and next_at <= now())`).Scan(&due)
	return due, err
}

// Address writes the deliveries of notices that have none yet; targets names them for a notice.
func (s *Store) Address(ctx context.Context, targets func(Notice) []string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		fresh, err := many[Notice](ctx, tx, "select id, key, event, environment, data, created_at from notices where not addressed order by id limit 100 for update skip locked")
		if err != nil {
			return err
		}
		for _, n := range fresh {
			if _, err := tx.Exec(ctx, "insert into deliveries (notice, target) select $1, unnest($2::text[]) on conflict do nothing", n.ID, targets(n)); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "update notices set addressed = true where id = $1", n.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// TakeDeliveries takes deliveries that are due, for a while: one whose taker dies is due again after it.
func (s *Store) TakeDeliveries(ctx context.Context, limit int, hold time.Duration) ([]Delivery, error) {
	taken, err := many[Delivery](ctx, s.Pool, `update deliveries d set attempts = attempts + 1, next_at = now() + $2
		from (select notice, target from deliveries where delivered_at is null and gave_up_at is null and next_at <= now()
			order by next_at limit $1 for update skip locked) due
		where d.notice = due.notice and d.target = due.target returning d.*`, limit, hold)
	if err != nil {
		return nil, err
	}
	for i := range taken {
		if taken[i].NoticeData, err = one[Notice](ctx, s.Pool, "select id, key, event, environment, data, created_at from notices where id = $1", taken[i].Notice); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

// EndDelivery notes how a try ended: delivered, to be tried again at a time, or given up (again is nil).
func (s *Store) EndDelivery(ctx context.Context, d Delivery, failure string, again *time.Time) error {
	_, err := s.Pool.Exec(ctx, `update deliveries set last_error = $3, next_at = coalesce($4, next_at),
		delivered_at = case when $3 = '' then now() end, gave_up_at = case when $3 <> '' and $4::timestamptz is null then now() end
		where notice = $1 and target = $2`, d.Notice, d.Target, failure, again)
	return err
}

// GivenUp lists deliveries that were given up since a time, newest first.
func (s *Store) GivenUp(ctx context.Context, since time.Time) ([]Delivery, error) {
	return many[Delivery](ctx, s.Pool, "select * from deliveries where gave_up_at >= $1 order by gave_up_at desc limit 100", since)
}

// ForgetNotices removes what was told before a time.
func (s *Store) ForgetNotices(ctx context.Context, before time.Time) error {
	_, err := s.Pool.Exec(ctx, "delete from notices where addressed and created_at < $1", before)
	return err
}
