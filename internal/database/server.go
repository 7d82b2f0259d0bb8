package database

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// ApplicationName marks Waybill's own superuser sessions; a fence spares them.
const ApplicationName = "waybill"

// What calls may refuse; errors.Is tells them apart.
var (
	ErrNotFound = errors.New("does not exist")
	ErrExists   = errors.New("exists already")
	ErrName     = errors.New("invalid name")
	ErrLocale   = errors.New("the server lacks the locale")
)

// Server is a PostgreSQL server seen as its administrator. It is safe for concurrent use.
type Server struct {
	pool    *pgxpool.Pool
	version int // server_version_num
}

// Open connects to a server as superuser. The URL's database is only a place to stand in (usually
// "postgres"). The password in it is kept out of errors.
func Open(ctx context.Context, adminURL string) (*Server, error) {
	cfg, err := pgxpool.ParseConfig(adminURL)
	if err != nil {
		return nil, errors.New("the administrator's URL of the database server is not valid: expected postgres://user@host:port/postgres")
	}
	cfg.MaxConns = 4
	cfg.MinConns = 0
	cfg.MaxConnIdleTime = time.Minute
	cfg.ConnConfig.RuntimeParams["application_name"] = ApplicationName
	where := fmt.Sprintf("%s:%d", cfg.ConnConfig.Host, cfg.ConnConfig.Port)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the database server at %s: %w", where, err)
	}
	s := &Server{pool: pool}
	var super bool
	err = pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)`).Scan(&s.version, &super)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to the database server at %s: %w: is it running, and do user and password hold?", where, err)
	}
	if s.version < 130000 {
		pool.Close()
		return nil, fmt.Errorf("the database server at %s is version %d.%d: Waybill needs PostgreSQL 13 or later", where, s.version/10000, s.version%10000)
	}
	if !super {
		pool.Close()
		return nil, fmt.Errorf("user %q of the database server at %s is no superuser: a fence must be able to end any session; ALTER ROLE %s SUPERUSER, or give another user", cfg.ConnConfig.User, where, quote(cfg.ConnConfig.User))
	}
	return s, nil
}

// Close ends the connections.
func (s *Server) Close() { s.pool.Close() }

// Create makes a database from template0 (UTF8, sorted by bytes as Odoo wants it) that belongs to owner and
// that nobody may connect to yet: see SetAccess. One that exists already with that owner is
// brought to the same state, its single logins kept; with another owner it is ErrExists.
func (s *Server) Create(ctx context.Context, db, owner string) error {
	return s.CreateLike(ctx, db, owner, Locale{})
}

// Locale is how a database sorts and classifies characters; empty: C, and the server's own.
type Locale struct {
	Collate string `json:"collate,omitempty"`
	Ctype   string `json:"ctype,omitempty"`
}

// CreateLike is Create with a given locale; ErrLocale where the server lacks it.
func (s *Server) CreateLike(ctx context.Context, db, owner string, l Locale) error {
	if err := errors.Join(checkDatabase(db), checkRole(owner)); err != nil {
		return err
	}
	if l.Collate == "" {
		l.Collate = "C"
	}
	sql := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' OWNER %s LC_COLLATE %s", quote(db), quote(owner), literal(l.Collate))
	if l.Ctype != "" {
		sql += " LC_CTYPE " + literal(l.Ctype)
	}
	_, err := s.pool.Exec(ctx, sql)
	switch {
	case err == nil:
	case state(err) == "42P04": // exists
		var has string
		if err := s.pool.QueryRow(ctx, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", db).Scan(&has); err != nil {
			return fmt.Errorf("create database %q: %w", db, err)
		}
		if has != owner {
			return fmt.Errorf("create database %q for %q: it %w and belongs to %q: choose another name", db, owner, ErrExists, has)
		}
	default:
		if strings.Contains(err.Error(), "locale name") {
			err = fmt.Errorf("%w %s/%s: %w", ErrLocale, l.Collate, l.Ctype, err)
		}
		return fmt.Errorf("create database %q: %w", db, err)
	}
	_, err = s.pool.Exec(ctx, fmt.Sprintf("REVOKE CONNECT ON DATABASE %s FROM PUBLIC, %s", quote(db), quote(owner)))
	if err != nil {
		return fmt.Errorf("close database %q to everybody: %w", db, err)
	}
	return nil
}

// Exists says whether there is a database of that name.
func (s *Server) Exists(ctx context.Context, db string) (bool, error) {
	var ok bool
	err := s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", db).Scan(&ok)
	return ok, err
}

// Size is what a database takes on disk, in bytes.
func (s *Server) Size(ctx context.Context, db string) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1", db).Scan(&n)
	return n, s.lookup(err, db)
}

// DataDirectory is the folder of the server's data, on its own machine.
func (s *Server) DataDirectory(ctx context.Context) (string, error) {
	var dir string
	err := s.pool.QueryRow(ctx, "SHOW data_directory").Scan(&dir)
	return dir, err
}

// Owner is the role that a database belongs to.
func (s *Server) Owner(ctx context.Context, db string) (string, error) {
	var owner string
	err := s.pool.QueryRow(ctx, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", db).Scan(&owner)
	return owner, s.lookup(err, db)
}

// Comment is the comment on a database, where Swap and restores leave their marks; empty: none.
func (s *Server) Comment(ctx context.Context, db string) (string, error) {
	var text string
	err := s.pool.QueryRow(ctx, "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1", db).Scan(&text)
	return text, s.lookup(err, db)
}

// SetComment replaces it.
func (s *Server) SetComment(ctx context.Context, db, text string) error {
	if err := checkDatabase(db); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE %s IS %s", quote(db), literal(text)))
	return err
}

// Drop removes a database and ends the sessions in it; one that does not exist is removed already.
func (s *Server) Drop(ctx context.Context, db string) error {
	if err := checkDatabase(db); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(db)))
	if err != nil {
		return fmt.Errorf("drop database %q: %w", db, err)
	}
	return nil
}

// UpdateRunning says whether an update holds its advisory lock (bridge.LockClass, bridge.LockKey) in a database.
func (s *Server) UpdateRunning(ctx context.Context, db string) (bool, error) {
	var held bool
	err := s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.database = d.oid
		                  AND l.classid = $2 AND l.objid = $3 AND l.objsubid = 2)
		  FROM pg_database d WHERE d.datname = $1`, db, uint32(bridge.LockClass), uint32(bridge.LockKey)).Scan(&held)
	return held, s.lookup(err, db)
}

func (s *Server) lookup(err error, db string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("database %q %w", db, ErrNotFound)
	}
	return err
}

// oid also proves that the database exists.
func (s *Server) oid(ctx context.Context, db string) (uint32, error) {
	var oid uint32
	err := s.pool.QueryRow(ctx, "SELECT oid FROM pg_database WHERE datname = $1", db).Scan(&oid)
	return oid, s.lookup(err, db)
}

// namePattern is what Odoo accepts as a database's name, and more than Waybill ever makes.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

func checkDatabase(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("database %q: %w: letters, digits, _ . - and at most 63 of them", name, ErrName)
	}
	switch name {
	case "postgres", "template0", "template1":
		return fmt.Errorf("database %q: %w: it belongs to the server itself", name, ErrName)
	}
	return nil
}

func checkRole(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("role %q: %w: letters, digits, _ . - and at most 63 of them", name, ErrName)
	}
	if low := strings.ToLower(name); strings.HasPrefix(low, "pg_") || low == "public" || low == "none" || low == "postgres" {
		return fmt.Errorf("role %q: %w: it is reserved", name, ErrName)
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal quotes a string constant whatever standard_conforming_strings says.
func literal(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", "").Replace(text) + "'"
}

// state is the SQLSTATE of an error; empty where it has none.
func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
