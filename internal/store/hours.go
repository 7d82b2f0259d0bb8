package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// SignalHour is what one signal of one tenant counted within an hour, while one release served alone.
type SignalHour struct {
	Environment string    `db:"environment"`
	Tenant      string    `db:"tenant"`
	Signal      string    `db:"signal"`
	Start       time.Time `db:"start"` // of the hour
	Total       int64     `db:"total"`
	Bad         int64     `db:"bad"`
}

// AddSignalHours adds to the hours that there are, and drops those that began before the time given.
func (s *Store) AddSignalHours(ctx context.Context, hours []SignalHour, before time.Time) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		for _, h := range hours {
			if _, err := tx.Exec(ctx, `insert into signal_hours (environment, tenant, signal, start, total, bad) values ($1, $2, $3, $4, $5, $6)
				on conflict (environment, tenant, signal, start) do update set total = signal_hours.total + excluded.total, bad = signal_hours.bad + excluded.bad`,
				h.Environment, h.Tenant, h.Signal, h.Start, h.Total, h.Bad); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "delete from signal_hours where start < $1", before)
		return err
	})
}

// SignalHours lists the hours of a tenant.
func (s *Store) SignalHours(ctx context.Context, environment, tenant string) ([]SignalHour, error) {
	return many[SignalHour](ctx, s.Pool, "select * from signal_hours where environment = $1 and tenant = $2 order by signal, start", environment, tenant)
}

// hoursLock is the advisory lock of the one server that counts hours.
const hoursLock = 0x57420008

// CountHours gives the right to count hours to one server at a time: ok is false while another one has it. The
// right ends with release.
func (s *Store) CountHours(ctx context.Context) (release func(), ok bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.Pool.Config().ConnConfig) // not one of the pool's few
	if err != nil {
		return nil, false, err
	}
	release = func() { _ = conn.Close(context.WithoutCancel(ctx)) } // the lock goes with the session
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", hoursLock).Scan(&ok); err != nil || !ok {
		release()
		return nil, false, err
	}
	return release, true, nil
}
