package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Rename gives a database another name and a comment, both at once or neither: whoever reads the
// comment under the new name knows who made it. Sessions in it are ended. Errors: ErrNotFound,
// ErrExists (the new name).
func (s *Server) Rename(ctx context.Context, from, to, comment string) error {
	if err := errors.Join(checkDatabase(from), checkDatabase(to)); err != nil {
		return err
	}
	stop := make(chan struct{})
	ended := make(chan error, 1)
	started := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		found, err := lookAt(ctx, tx, from, to)
		if err != nil {
			return err
		}
		switch {
		case found[to] != nil:
			return fmt.Errorf("%q %w", to, ErrExists)
		case found[from] == nil:
			return ErrNotFound
		}
		started = true
		go func() { ended <- s.endSessions(ctx, stop, found[from].OID) }()
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(from)+" RENAME TO "+quote(to)); err != nil {
			if state(err) == "42P04" {
				return fmt.Errorf("%q %w", to, ErrExists)
			}
			return err
		}
		_, err = tx.Exec(ctx, "COMMENT ON DATABASE "+quote(to)+" IS "+literal(comment))
		return err
	})
	close(stop)
	if started {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return fmt.Errorf("rename database %q to %q: %w", from, to, err)
	}
	return nil
}
