package database

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnsureOwner makes the role without login that a tenant's objects belong to.
func (s *Server) EnsureOwner(ctx context.Context, owner string) error {
	if err := checkRole(owner); err != nil {
		return err
	}
	if err := s.createRole(ctx, owner); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, "ALTER ROLE "+quote(owner)+" NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")
	if err != nil {
		return fmt.Errorf("set up owner role %q: %w", owner, err)
	}
	return nil
}

// EnsureLogin makes a role that logs in with that password and then acts as owner, so that all it
// creates belongs to owner. It gives no right to connect to any database: see SetAccess. Only
// the password's SCRAM verifier is sent, so that no log of the server can hold the password.
func (s *Server) EnsureLogin(ctx context.Context, role, password, owner string) error {
	if err := errors.Join(checkRole(role), checkRole(owner)); err != nil {
		return err
	}
	if password == "" {
		return fmt.Errorf("role %q needs a password", role)
	}
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	if err := s.createRole(ctx, role); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockRoles(ctx, tx); err != nil {
			return err
		}
		for _, sql := range []string{
			// NOINHERIT: what the owner may do, the right to connect above all, is not the login's by itself.
			"ALTER ROLE " + quote(role) + " LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD " + literal(verifier),
			"GRANT " + quote(owner) + " TO " + quote(role),
			"ALTER ROLE " + quote(role) + " SET role = " + literal(owner),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set up login role %q as member of %q: %w", role, owner, err)
	}
	return nil
}

// Missing are those of the named roles that the server does not know, sorted.
func (s *Server) Missing(ctx context.Context, roles []string) ([]string, error) {
	rows, _ := s.pool.Query(ctx, "SELECT r FROM unnest($1::text[]) r EXCEPT SELECT rolname::text FROM pg_roles ORDER BY 1", roles)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// createRole makes a bare role; one that exists is fine.
func (s *Server) createRole(ctx context.Context, role string) error {
	_, err := s.pool.Exec(ctx, "CREATE ROLE "+quote(role))
	if code := state(err); err != nil && code != "42710" && code != "23505" { // exists; made at the same moment
		return fmt.Errorf("create role %q: %w", role, err)
	}
	return nil
}

// lockRoles lets one transaction at a time change roles and rights: PostgreSQL itself answers
// "tuple concurrently updated" to the second one.
func lockRoles(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", int32(0x5742), int32(2))
	return err
}

// DropLogin removes a login role: no new session, its sessions ended, what it may own in any
// database handed to the owner that it is a member of, then dropped. One that does not exist is dropped already.
func (s *Server) DropLogin(ctx context.Context, role string) error {
	if err := checkRole(role); err != nil {
		return err
	}
	if err := s.dropLogin(ctx, role); err != nil {
		return fmt.Errorf("drop login role %q: %w", role, err)
	}
	return nil
}

func (s *Server) dropLogin(ctx context.Context, role string) error {
	var id uint32
	var super bool
	err := s.pool.QueryRow(ctx, "SELECT oid, rolsuper FROM pg_roles WHERE rolname = $1", role).Scan(&id, &super)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if super {
		return errors.New("it is a superuser: Waybill never made it and does not drop it")
	}
	if _, err := s.pool.Exec(ctx, "ALTER ROLE "+quote(role)+" NOLOGIN"); err != nil {
		return err
	}
	err = poll(ctx, func() (bool, error) {
		left := 0
		err := s.pool.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usesysid = $1", id).Scan(&left)
		return left == 0, err
	})
	if err != nil {
		return fmt.Errorf("end its sessions: %w", err)
	}
	var owner string
	err = s.pool.QueryRow(ctx, `SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
		WHERE m.member = $1 AND NOT r.rolcanlogin ORDER BY 1 LIMIT 1`, id).Scan(&owner)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	rows, _ := s.pool.Query(ctx, `SELECT DISTINCT d.datname FROM pg_shdepend x JOIN pg_database d ON d.oid = x.dbid
		WHERE x.refclassid = 'pg_authid'::regclass AND x.refobjid = $1 AND d.datallowconn
		UNION SELECT current_database()`, id) // shared objects and rights are reached from anywhere
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, db := range databases {
		if err := s.disown(ctx, db, role, owner); err != nil {
			return fmt.Errorf("hand over what it owns in database %q: %w", db, err)
		}
	}
	_, err = s.pool.Exec(ctx, "DROP ROLE IF EXISTS "+quote(role))
	return err
}

// LoginsOf lists the login roles that act as an owner role, without Waybill's own, sorted.
func (s *Server) LoginsOf(ctx context.Context, owner string) ([]string, error) {
	rows, _ := s.pool.Query(ctx, `SELECT m.rolname::text FROM pg_auth_members x JOIN pg_roles m ON m.oid = x.member JOIN pg_roles o ON o.oid = x.roleid
		WHERE o.rolname = $1 AND m.rolcanlogin AND m.rolname <> current_user GROUP BY 1 ORDER BY 1`, owner)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// DropOwner removes an owner role that owns nothing any more and that nobody acts as; any other stays, and it reports false. One
// that does not exist is removed already.
func (s *Server) DropOwner(ctx context.Context, owner string) (gone bool, err error) {
	if err := checkRole(owner); err != nil {
		return false, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockRoles(ctx, tx); err != nil {
			return err
		}
		var needed bool
		err := tx.QueryRow(ctx, `SELECT r.rolcanlogin OR r.rolsuper
			OR EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid)
			OR EXISTS (SELECT FROM pg_auth_members x JOIN pg_roles m ON m.oid = x.member WHERE x.roleid = r.oid AND m.rolname <> current_user)
			FROM pg_roles r WHERE r.rolname = $1`, owner).Scan(&needed)
		if errors.Is(err, pgx.ErrNoRows) {
			gone = true
			return nil
		}
		if err != nil || needed {
			return err
		}
		_, err = tx.Exec(ctx, "DROP ROLE "+quote(owner))
		gone = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("drop owner role %q: %w", owner, err)
	}
	return gone, nil
}

func (s *Server) disown(ctx context.Context, db, role, owner string) error {
	conn, err := s.connect(ctx, db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if owner != "" {
		if _, err := conn.Exec(ctx, "REASSIGN OWNED BY "+quote(role)+" TO "+quote(owner)); err != nil {
			return err
		}
	} else {
		var owned int // without an owner to hand it to, nothing may be lost
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_shdepend x WHERE x.deptype = 'o' AND x.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
			AND x.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))`, role).Scan(&owned)
		if err != nil {
			return err
		}
		if owned > 0 {
			return fmt.Errorf("it owns %d objects and is a member of no owner role: REASSIGN OWNED BY %s TO a role that shall have them", owned, quote(role))
		}
	}
	_, err = conn.Exec(ctx, "DROP OWNED BY "+quote(role)) // after REASSIGN only rights are left
	return err
}

// connect opens a session of our own in another database of the server.
func (s *Server) connect(ctx context.Context, db string) (*pgx.Conn, error) {
	cfg := s.pool.Config().ConnConfig.Copy()
	cfg.Database = db
	return pgx.ConnectConfig(ctx, cfg)
}

// RoleSurvivesReset says whether a login still acts as its owner after DISCARD ALL, which Odoo's
// driver sends when a connection goes back to its pool. Servers before 17.2, 16.6, 15.10, 14.15
// and 13.18 may lose the role there (around CVE-2024-10978): objects would then belong to the wrong role. It
// makes two scratch roles and removes them.
func (s *Server) RoleSurvivesReset(ctx context.Context) (bool, error) {
	var b [16]byte
	rand.Read(b[:])
	name, password := "waybill_check_"+hex.EncodeToString(b[:4]), hex.EncodeToString(b[4:])
	owner := name + "_owner"
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = s.DropLogin(ctx, name)
		_, _ = s.pool.Exec(ctx, "DROP ROLE IF EXISTS "+quote(owner))
	}()
	if err := s.EnsureOwner(ctx, owner); err != nil {
		return false, err
	}
	if err := s.EnsureLogin(ctx, name, password, owner); err != nil {
		return false, err
	}
	cfg := s.pool.Config().ConnConfig.Copy()
	cfg.User, cfg.Password = name, password
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, fmt.Errorf("log in with a scratch role to see whether SET role lasts: %w: pg_hba.conf must let Waybill's roles in with a password", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var seen []string
	for range 2 {
		var who string
		if err := conn.QueryRow(ctx, "SELECT current_user", pgx.QueryExecModeSimpleProtocol).Scan(&who); err != nil {
			return false, err
		}
		seen = append(seen, who)
		if _, err := conn.Exec(ctx, "DISCARD ALL", pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, err
		}
	}
	return !slices.ContainsFunc(seen, func(who string) bool { return who != owner }), nil
}

// scramVerifier is what PostgreSQL stores for a password (RFC 5802, RFC 7677; src/common/scram-common.c).
func scramVerifier(password string) (string, error) {
	for _, r := range password {
		if r < 0x20 || r > 0x7e {
			return "", errors.New("a password of a database role must be printable ASCII")
		}
	}
	const rounds = 4096
	salt := make([]byte, 16)
	rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sum(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(stored[:]), b64(sum(salted, "Server Key"))), nil
}

// poll calls done until it says true or errs, or ctx ends: at once, then ever less often up to 250 ms.
func poll(ctx context.Context, done func() (bool, error)) error {
	wait := 5 * time.Millisecond
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(wait*2, 250*time.Millisecond)
	}
}
