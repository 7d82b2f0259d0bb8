package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ClaimRehearsal takes up the rehearsal that was asked for first, for a server that holds it so long, from now. ErrNotFound where nothing waits, or
// one is running: two at a time would measure each other, whichever servers they were on.
func (s *Store) ClaimRehearsal(ctx context.Context, holder string, lease time.Duration) (Rehearsal, error) {
	r, err := one[Rehearsal](ctx, s.Pool, `update rehearsals set state = 'running', holder = $1, held_until = now() + $2, revision = revision + 1
		where id = (select id from rehearsals where state = 'queued' order by seq limit 1 for update skip locked)
		and not exists (select from rehearsals where state = 'running') returning `+rehearsalColumns+", report", holder, lease)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.ConstraintName == "rehearsals_one_runs" {
		return Rehearsal{}, ErrNotFound // another server took one up in the same moment
	}
	return r, err
}

// RenewRehearsal goes on holding a rehearsal, and says whether somebody wants it stopped. ErrNotFound where the server does not hold it any more.
func (s *Store) RenewRehearsal(ctx context.Context, holder, id string, lease time.Duration) (cancelled bool, err error) {
	r, err := one[struct {
		Cancelled bool `db:"cancelled"`
	}](ctx, s.Pool, "update rehearsals set held_until = now() + $3 where id = $1 and holder = $2 and state = 'running' returning cancelled", id, holder, lease)
	return r.Cancelled, err
}

// TellRehearsal writes down how far a rehearsal is that this server holds.
func (s *Store) TellRehearsal(ctx context.Context, holder, id, progress string) error {
	_, err := s.Pool.Exec(ctx, "update rehearsals set progress = $3, revision = revision + 1 where id = $1 and holder = $2 and state = 'running'", id, holder, progress)
	return err
}

// EndRehearsal writes down what came of a rehearsal that this server holds; holder "" stands for one that nobody has taken up.
// ErrNotFound where that is not so: then nothing is written.
func (s *Store) EndRehearsal(ctx context.Context, holder, id, outcome, progress string, report any) error {
	done, err := s.Pool.Exec(ctx, `update rehearsals set state = 'done', outcome = $3, progress = $4, report = $5, revision = revision + 1, finished_at = now()
		where id = $1 and holder = $2 and state <> 'done'`, id, holder, outcome, progress, report)
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// CancelRehearsal takes a rehearsal off the queue, or has whoever runs it stop it. One that is done stays as it is.
func (s *Store) CancelRehearsal(ctx context.Context, id, why string) error {
	_, err := s.Pool.Exec(ctx, `update rehearsals set revision = revision + 1, cancelled = true,
			state = case when state = 'queued' then 'done' else state end,
			outcome = case when state = 'queued' then 'unfinished' else outcome end,
			progress = case when state = 'queued' then $2 else progress end,
			finished_at = case when state = 'queued' then now() end
		where id = $1 and state <> 'done' and not cancelled`, id, why)
	return err
}

// EndLostRehearsals ends those whose server does not renew them any more, and those of one server that says it runs none
// ("": no such server). It says how many there were; what they left behind is for the caller to remove.
func (s *Store) EndLostRehearsals(ctx context.Context, holder, why string) (int64, error) {
	done, err := s.Pool.Exec(ctx, `update rehearsals set state = 'done', outcome = 'unfinished', progress = $2, revision = revision + 1, finished_at = now()
		where state = 'running' and (held_until < now() or $1 <> '' and holder = $1)`, holder, why)
	return done.RowsAffected(), err
}

// RehearsalIsOver says whether nothing of a rehearsal can be in use: it has ended, or there is none of that id.
func (s *Store) RehearsalIsOver(ctx context.Context, id string) (bool, error) {
	r, err := s.Rehearsal(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return r.State == Rehearsed, err
}
