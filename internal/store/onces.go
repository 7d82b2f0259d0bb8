package store

import (
	"context"
	"errors"
	"time"
)

// Once is a request that has an effect once, however often it is sent.
type Once struct {
	Person  string    `db:"person"`
	Key     string    `db:"key"`
	Request []byte    `db:"request"` // SHA-256 of all that was asked for
	Status  int       `db:"status"`  // of the answer; 0: it is being answered
	Type    string    `db:"type"`
	Body    []byte    `db:"body"` // nil: not kept
	BeatAt  time.Time `db:"beat_at"`
	Silent  bool      `db:"silent"` // it is being answered, and whoever does has not been heard of for a while
}

// onceKept is for how long a key belongs to its request.
const onceKept = "24 hours"

// onceSilent is after what time whoever answers is taken for dead. It is heard of every two seconds.
const onceSilent = "15 seconds"

// BeginOnce takes a key for a request. mine is false where it is taken: then it returns by what.
func (s *Store) BeginOnce(ctx context.Context, person, key string, request []byte) (o Once, mine bool, err error) {
	if _, err := s.Pool.Exec(ctx, "delete from onces where created_at < now() - interval '"+onceKept+"'"); err != nil {
		return o, false, err
	}
	for range 3 { // between the two looks the other one may have given it back
		tag, err := s.Pool.Exec(ctx, "insert into onces (person, key, request) values ($1, $2, $3) on conflict do nothing", person, key, request)
		if err != nil || tag.RowsAffected() > 0 {
			return o, err == nil, err
		}
		if o, err = s.Once(ctx, person, key); !errors.Is(err, ErrNotFound) {
			return o, false, err
		}
	}
	return o, false, err
}

// Once reads what a key was taken by.
func (s *Store) Once(ctx context.Context, person, key string) (Once, error) {
	return one[Once](ctx, s.Pool, "select person, key, request, status, type, body, beat_at, status = 0 and beat_at < now() - interval '"+onceSilent+"' as silent from onces where person = $1 and key = $2", person, key)
}

// BeatOnce says that somebody is at it still.
func (s *Store) BeatOnce(ctx context.Context, person, key string) error {
	_, err := s.Pool.Exec(ctx, "update onces set beat_at = now() where person = $1 and key = $2 and status = 0", person, key)
	return err
}

// EndOnce keeps the answer.
func (s *Store) EndOnce(ctx context.Context, o Once) error {
	_, err := s.Pool.Exec(ctx, "update onces set status = $3, type = $4, body = $5 where person = $1 and key = $2 and status = 0", o.Person, o.Key, o.Status, o.Type, o.Body)
	return err
}

// DropOnce gives a key back, for nothing was done.
func (s *Store) DropOnce(ctx context.Context, person, key string) error {
	_, err := s.Pool.Exec(ctx, "delete from onces where person = $1 and key = $2 and status = 0", person, key)
	return err
}
