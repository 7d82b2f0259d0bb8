package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/readings"
)

// Session is what is kept of a session: never its cookie's text.
type Session struct {
	ID        string     `db:"id"`
	Hash      []byte     `db:"hash"` // SHA-256 of the cookie's text
	User      string     `db:"user_name"`
	Method    string     `db:"method"`
	Token     string     `db:"token"`    // ID of the token that it was opened with
	Standing  []byte     `db:"standing"` // SHA-256 of what the estate said about the user
	Address   string     `db:"address"`
	CreatedAt time.Time  `db:"created_at"`
	SeenAt    time.Time  `db:"seen_at"`
	ExpiresAt time.Time  `db:"expires_at"`
	EndedAt   *time.Time `db:"ended_at"`
	EndedWhy  string     `db:"ended_why"`
}

// PutSession keeps a new session, and forgets those that were over before a time.
func (s *Store) PutSession(ctx context.Context, n Session, forget time.Time) error {
	_, err := s.Pool.Exec(ctx, `with gone as (delete from sessions where expires_at < $10)
		insert into sessions (id, hash, user_name, method, token, standing, address, created_at, seen_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)`,
		n.ID, n.Hash, n.User, n.Method, n.Token, n.Standing, n.Address, n.CreatedAt, n.ExpiresAt, forget)
	return err
}

// Session reads one; of hundreds of open consoles, each of which asks with its own, several at once.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	row, found, err := readings.Row(ctx, s.readings, "sessions", id, s.sessionsOf)
	if err == nil && !found {
		err = ErrNotFound
	}
	return row, err
}

func (s *Store) sessionsOf(ctx context.Context, ids []string) (map[string]Session, error) {
	rows, err := many[Session](ctx, s.Pool, "select * from sessions where id = any($1)", ids)
	found := make(map[string]Session, len(rows))
	for _, row := range rows {
		found[row.ID] = row
	}
	return found, err
}

// TouchSession notes that a session is in use; it never goes back in time.
func (s *Store) TouchSession(ctx context.Context, id string, now time.Time) error {
	_, err := s.Pool.Exec(ctx, "update sessions set seen_at = $2 where id = $1 and seen_at < $2", id, now)
	return err
}

// EndSession ends a session, and says whether it was open until now.
func (s *Store) EndSession(ctx context.Context, id, why string, now time.Time) (bool, error) {
	done, err := s.Pool.Exec(ctx, "update sessions set ended_at = $3, ended_why = $2 where id = $1 and ended_at is null", id, why, now)
	return done.RowsAffected() > 0, err
}

// LoggedInFrom says whether a user has logged in from an address, as far as sessions are remembered.
func (s *Store) LoggedInFrom(ctx context.Context, user, address string) (bool, error) {
	var before bool
	err := s.Pool.QueryRow(ctx, "select exists (select 1 from sessions where user_name = $1 and address = $2)", user, address).Scan(&before)
	return before, err
}

// Password is what is kept of a user's password.
type Password struct {
	User  string    `db:"user_name"`
	Hash  string    `db:"hash"` // argon2id in PHC string format
	SetBy string    `db:"set_by"`
	SetAt time.Time `db:"set_at"`
}

// Password reads that of a user.
func (s *Store) Password(ctx context.Context, user string) (Password, error) {
	return one[Password](ctx, s.Pool, "select * from passwords where user_name = $1", user)
}

// AnyPassword says whether anybody has one.
func (s *Store) AnyPassword(ctx context.Context) (bool, error) {
	var any bool
	err := s.Pool.QueryRow(ctx, "select exists (select 1 from passwords)").Scan(&any)
	return any, err
}

// SetPassword keeps a user's password, and ends all sessions of the user in the same moment.
func (s *Store) SetPassword(ctx context.Context, p Password) error {
	_, err := s.Pool.Exec(ctx, `with over as (update sessions set ended_at = $4, ended_why = 'the password was changed' where user_name = $1 and ended_at is null)
		insert into passwords (user_name, hash, set_by, set_at) values ($1, $2, $3, $4)
		on conflict (user_name) do update set hash = excluded.hash, set_by = excluded.set_by, set_at = excluded.set_at`, p.User, p.Hash, p.SetBy, p.SetAt)
	return err
}

// RehashPassword replaces a hash by another one of the same password, unless the password was changed meanwhile.
func (s *Store) RehashPassword(ctx context.Context, user, from, to string) error {
	_, err := s.Pool.Exec(ctx, "update passwords set hash = $3 where user_name = $1 and hash = $2", user, from, to)
	return err
}

// RemovePassword takes a user's password away and ends all sessions of the user; it says whether there was one.
func (s *Store) RemovePassword(ctx context.Context, user string, now time.Time) (bool, error) {
	var gone int
	err := s.Pool.QueryRow(ctx, `with over as (update sessions set ended_at = $2, ended_why = 'the password was removed' where user_name = $1 and ended_at is null),
		gone as (delete from passwords where user_name = $1 returning 1) select count(*) from gone`, user, now).Scan(&gone)
	return gone > 0, err
}
