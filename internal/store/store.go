// Package store is Waybill's own state in PostgreSQL: releases, tenants, pools, promotions and
// their steps. It holds queries and nothing else; what they mean is decided in package promotion.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/waybill-dev/waybill/internal/readings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNotFound is returned when no such row exists.
var ErrNotFound = errors.New("not found")

// ErrFenced is returned when a rollout's lease has passed to somebody else: whatever was being
// done must stop, and must not be recorded.
var ErrFenced = errors.New("the lease on this rollout has passed to another server")

// Store gives access to Waybill's own database.
type Store struct {
	Pool *pgxpool.Pool

	readings *readings.Readings // that go on
}

// idleLimit is how long a transaction may stand idle: longer than any network's hiccup, and no longer than people would notice.
const idleLimit = "10s"

// Open connects to the database and brings its schema up to date.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the URL of Waybill's own database does not parse: %w", err)
	}
	config.ConnConfig.RuntimeParams["application_name"] = "waybill"
	// A server that stands still in the middle of a transaction, because its machine does, keeps nobody else waiting for its locks. Not
	// a parameter of the connection: poolers refuse those that they do not know.
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set idle_in_transaction_session_timeout = '"+idleLimit+"'")
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to Waybill's own database: %w", err)
	}
	if err := migrate(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("bring the schema of Waybill's own database up to date: %w", err)
	}
	return &Store{Pool: pool, readings: readings.New()}, nil
}

// migrateLock is the advisory lock of the one server that brings the schema up to date; others that start at the same time wait for it.
const migrateLock = 0x57420001

func migrate(ctx context.Context, pool *pgxpool.Pool) (err error) {
	alone, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer alone.Release()
	if _, err := alone.Exec(ctx, "select pg_advisory_lock($1)", migrateLock); err != nil {
		return err
	}
	defer func() {
		_, unlock := alone.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", migrateLock)
		err = errors.Join(err, unlock)
	}()
	river, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func(db *sql.DB) { _ = db.Close() }(db)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close ends all connections.
func (s *Store) Close() { s.Pool.Close() }

// In runs f in one transaction.
func (s *Store) In(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.Pool, f)
}

// IsBadValue says whether the database has refused a value for what it is: a zero byte, a time out of range.
func IsBadValue(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "22") // class 22, data exception
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func one[T any](ctx context.Context, q querier, sql string, args ...any) (T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return value, ErrNotFound
	}
	return value, err
}

func many[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
}
