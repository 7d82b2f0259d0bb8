package store

import (
	"context"
	"time"
)

// Token is what is kept of a token: never its text.
type Token struct {
	ID           string     `db:"id"`
	User         string     `db:"user_name"`
	Label        string     `db:"label"`
	Hash         []byte     `db:"hash"` // SHA-256 of its text
	Roles        []string   `db:"roles"`
	Environments []string   `db:"environments"`
	Parent       string     `db:"parent"` // ID of the token that it was made with
	CreatedBy    string     `db:"created_by"`
	CreatedAt    time.Time  `db:"created_at"`
	ExpiresAt    time.Time  `db:"expires_at"`
	RevokedAt    *time.Time `db:"revoked_at"`
	RevokedBy    string     `db:"revoked_by"`
	UsedOn       *time.Time `db:"used_on"` // the day
}

// PutToken keeps a new token.
func (s *Store) PutToken(ctx context.Context, t Token) error {
	_, err := s.Pool.Exec(ctx, `insert into tokens (id, user_name, label, hash, roles, environments, parent, created_by, created_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		t.ID, t.User, t.Label, t.Hash, t.Roles, t.Environments, t.Parent, t.CreatedBy, t.CreatedAt, t.ExpiresAt)
	return err
}

// Token reads one.
func (s *Store) Token(ctx context.Context, id string) (Token, error) {
	return one[Token](ctx, s.Pool, "select * from tokens where id = $1", id)
}

// Tokens lists the tokens of a user ("" for all), newest first, those behind one that was made at a time (zero: from the newest).
func (s *Store) Tokens(ctx context.Context, user string, before time.Time, id string, limit int) ([]Token, error) {
	return many[Token](ctx, s.Pool, `select * from tokens where $1 in ('', user_name) and ($2::timestamptz is null or (created_at, id) < ($2, $3))
		order by created_at desc, id desc limit $4`, user, nullTime(before), id, limit)
}

// TouchToken notes the day of a token's last use; it writes once a day.
func (s *Store) TouchToken(ctx context.Context, id string, now time.Time) error {
	_, err := s.Pool.Exec(ctx, "update tokens set used_on = $2 where id = $1 and used_on is distinct from $2", id, now.UTC())
	return err
}

// RevokeToken ends a token and those that were made with it, and returns which it has ended.
func (s *Store) RevokeToken(ctx context.Context, id, by string) ([]string, error) {
	type ended struct {
		ID string `db:"id"`
	}
	rows, err := many[ended](ctx, s.Pool, `with recursive family as (
			select id from tokens where id = $1 union select t.id from tokens t join family f on t.parent = f.id)
		update tokens set revoked_at = now(), revoked_by = $2 where id in (select id from family) and revoked_at is null returning id`, id, by)
	ids := make([]string, 0, len(rows))
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids, err
}

// Makers are those who have made a release.
type Makers struct {
	People []string `db:"makers"`  // who made it known here
	Emails []string `db:"authors"` // addresses of the commit's people, in small letters
}

// AddMakers notes who has made a release. Nobody is ever taken off: who has made it once has made it.
func (s *Store) AddMakers(ctx context.Context, digest string, m Makers) error {
	_, err := s.Pool.Exec(ctx, `update releases set makers = coalesce((select array_agg(distinct w) from unnest(makers || $2::text[]) w where w <> ''), '{}'),
		authors = coalesce((select array_agg(distinct lower(w)) from unnest(authors || $3::text[]) w where w <> ''), '{}') where digest = $1`,
		digest, append([]string{}, m.People...), append([]string{}, m.Emails...))
	return err
}

// MakersOf reads who has made a release.
func (s *Store) MakersOf(ctx context.Context, digest string) (Makers, error) {
	return one[Makers](ctx, s.Pool, "select makers, authors from releases where digest = $1", digest)
}
