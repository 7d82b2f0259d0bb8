package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// swapMark starts the comment that a swap leaves on the live database, in the same transaction as the renames, so that
// after a kill it can be decided whether they happened.
const swapMark = "waybill:swap "

type swapMarker struct {
	From string    `json:"from"` // what the replacement was called
	Kept string    `json:"kept"` // what the former one is called since
	At   time.Time `json:"at"`
}

// Swap puts a replacement in the place of the live database, which stays as keepAs: both renames, and
// the rights to connect, in one transaction. Sessions in both databases are ended, Waybill's own too. Whoever
// might connect to the live database may connect to the new one; to the former one nobody may.
//
// It is idempotent: called again after it was done it does nothing. Errors: ErrNotFound (live or
// replacement), ErrExists (keepAs), or the owners differ; then nothing was changed.
func (s *Server) Swap(ctx context.Context, live, replacement, keepAs string) error {
	if err := s.swap(ctx, live, replacement, keepAs); err != nil {
		return fmt.Errorf("swap database %q for %q, keeping it as %q: %w", live, replacement, keepAs, err)
	}
	return nil
}

func (s *Server) swap(ctx context.Context, live, replacement, keepAs string) error {
	if err := errors.Join(checkDatabase(live), checkDatabase(replacement), checkDatabase(keepAs)); err != nil {
		return err
	}
	if live == replacement || live == keepAs || replacement == keepAs {
		return fmt.Errorf("%w: three different names are needed", ErrName)
	}
	stop := make(chan struct{})
	ended := make(chan error, 1)
	started := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockRoles(ctx, tx); err != nil {
			return err
		}
		found, err := lookAt(ctx, tx, live, replacement, keepAs)
		if err != nil {
			return err
		}
		switch {
		case found[live] == nil:
			return fmt.Errorf("database %q %w", live, ErrNotFound)
		case found[replacement] == nil:
			if m, ok := found[live].mark(); ok && m.From == replacement && m.Kept == keepAs && found[keepAs] != nil {
				return nil // done before
			}
			return fmt.Errorf("the replacement %q %w: restore it first", replacement, ErrNotFound)
		case found[keepAs] != nil:
			return fmt.Errorf("a database %q %w: choose another name to keep the live one as", keepAs, ErrExists)
		case found[live].Owner != found[replacement].Owner:
			return fmt.Errorf("the live database belongs to %q and the replacement to %q: restore it for the same owner", found[live].Owner, found[replacement].Owner)
		}
		logins, err := grantees(ctx, tx, live)
		if err != nil {
			return err
		}
		// A rename takes the lock that every new session has to wait for, then gives those inside five seconds to leave;
		// meanwhile they are ended from another session.
		started = true
		go func() { ended <- s.endSessions(ctx, stop, found[live].OID, found[replacement].OID) }()
		mark, err := json.Marshal(swapMarker{From: replacement, Kept: keepAs, At: time.Now().UTC().Truncate(time.Second)})
		if err != nil {
			return err
		}
		for _, sql := range []string{
			"ALTER DATABASE " + quote(live) + " RENAME TO " + quote(keepAs),
			"ALTER DATABASE " + quote(replacement) + " RENAME TO " + quote(live),
			"COMMENT ON DATABASE " + quote(live) + " IS " + literal(swapMark+string(mark)),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if err := setConnectAs(ctx, tx, live, logins); err != nil {
			return err
		}
		return setConnectAs(ctx, tx, keepAs, nil)
	})
	close(stop)
	if started {
		err = errors.Join(err, <-ended)
	}
	return err
}

// setConnectAs copies rights as they were found, PUBLIC included; unlike setConnect it judges nothing.
func setConnectAs(ctx context.Context, tx pgx.Tx, db string, logins []string) error {
	have, err := grantees(ctx, tx, db)
	if err != nil {
		return err
	}
	name := func(role string) string {
		if role == "PUBLIC" {
			return role
		}
		return quote(role)
	}
	for _, role := range have {
		if _, err := tx.Exec(ctx, "REVOKE CONNECT ON DATABASE "+quote(db)+" FROM "+name(role)+" CASCADE"); err != nil {
			return err
		}
	}
	for _, role := range logins {
		if _, err := tx.Exec(ctx, "GRANT CONNECT ON DATABASE "+quote(db)+" TO "+name(role)); err != nil {
			return err
		}
	}
	return nil
}

// endSessions ends every session in these databases until told to stop.
func (s *Server) endSessions(ctx context.Context, stop <-chan struct{}, oids ...uint32) error {
	for {
		_, err := s.pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = ANY($1) AND pid <> pg_backend_pid()", oids)
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil // the transaction reports it
		case <-time.After(20 * time.Millisecond):
		}
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
	}
}

type seen struct {
	OID     uint32
	Owner   string
	Comment string
}

func (d *seen) mark() (m swapMarker, ok bool) {
	text, ok := strings.CutPrefix(d.Comment, swapMark)
	if !ok {
		return m, false
	}
	return m, json.Unmarshal([]byte(text), &m) == nil
}

func lookAt(ctx context.Context, tx pgx.Tx, names ...string) (map[string]*seen, error) {
	rows, _ := tx.Query(ctx, `SELECT datname::text, oid, pg_get_userbyid(datdba)::text, coalesce(shobj_description(oid, 'pg_database'), '')
		FROM pg_database WHERE datname = ANY($1)`, names)
	found := map[string]*seen{}
	var name string
	var d seen
	_, err := pgx.ForEachRow(rows, []any{&name, &d.OID, &d.Owner, &d.Comment}, func() error {
		copied := d
		found[name] = &copied
		return nil
	})
	return found, err
}
