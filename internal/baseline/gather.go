package baseline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
)

// GatherPostgres asks a server, by a URL of a superuser. What the estate asks of it is left to the caller.
func GatherPostgres(ctx context.Context, url string) (Postgres, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return Postgres{}, withoutURL(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	p := Postgres{Settings: map[string]string{}}
	var archived, failed *time.Time
	if err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, pg_is_in_recovery(), now(), last_archived_time, last_failed_time from pg_stat_archiver`).
		Scan(&p.Version, &p.Replica, &p.Now, &archived, &failed); err != nil {
		return p, err
	}
	if archived != nil {
		p.Archiver.LastArchived = *archived
	}
	if failed != nil {
		p.Archiver.LastFailed = *failed
	}
	// What the server says by itself, and not what this session was given.
	rows, err := conn.Query(ctx, `select name, case when source in ('database', 'user', 'database user', 'client', 'session') then boot_val else setting end from pg_settings where setting is not null`)
	if err != nil {
		return p, err
	}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { p.Settings[name] = value; return nil }); err != nil {
		return p, err
	}
	// Of roles only those that act for the owner of a database: what is set for a role that reads reports is its own matter.
	rows, err = conn.Query(ctx, `select coalesce(d.datname, ''), coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
		from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
		where r.oid is null or r.rolname = session_user or not r.rolsuper and exists (select from pg_database o where pg_has_role(r.oid, o.datdba, 'member'))
		order by 1, 2, 3`)
	if err != nil {
		return p, err
	}
	if p.Overrides, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Override]); err != nil {
		return p, err
	}
	p.Pooler, err = pooler(ctx, conn, url)
	return p, err
}

// pooler finds out what stands before the server. A pooler answers a client's start with a key of its own, in which PostgreSQL would
// name the process that serves it. It shares server connections if another client gets the process that this one had, while this one
// is still there.
func pooler(ctx context.Context, conn *pgx.Conn, url string) (Pooler, error) {
	pid := func(q interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (pid uint32, err error) {
		err = q.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
		return pid, err
	}
	serves, err := pid(conn)
	if err != nil || serves == conn.PgConn().PID() {
		return Direct, err
	}
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	other, err := pgx.Connect(bounded, url)
	if err != nil { // a pool of one connection, which this client has to itself
		if ctx.Err() == nil && bounded.Err() != nil {
			return SessionPooler, nil
		}
		return Direct, withoutURL(err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	for range 5 { // others use the pooler too
		if serves, err = pid(conn); err != nil {
			return Direct, err
		}
		tx, err := other.Begin(bounded)
		if err == nil {
			var taken uint32
			if taken, err = pid(tx); err == nil {
				err = tx.Rollback(ctx)
			}
			if err == nil && taken == serves {
				return SharingPooler, nil
			}
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) && strings.Contains(refused.Message, "statement pooling") { // where there are no transactions at all
			return SharingPooler, nil
		}
		if bounded.Err() != nil && ctx.Err() == nil {
			return SessionPooler, nil
		}
		if err != nil {
			return Direct, err
		}
	}
	return SessionPooler, nil
}

// withoutURL keeps a password out of an error.
func withoutURL(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return errors.New("the URL of the database server does not parse")
	}
	return err
}

// GatherRedis asks a server. What it is for is left to the caller.
func GatherRedis(ctx context.Context, client *redis.Client) (Redis, error) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return Redis{}, fmt.Errorf("ask %s for INFO: %w", client.Options().Addr, err)
	}
	r := Redis{Info: map[string]string{}}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			r.Info[name] = value
		}
	}
	if r.Info["redis_version"] == "" {
		return r, fmt.Errorf("what %s says of itself names no redis_version: is this Redis?", client.Options().Addr)
	}
	// Hosted servers refuse CONFIG; nothing else is unknown then.
	if said, err := client.ConfigGet(ctx, "save").Result(); err == nil {
		save := said["save"]
		r.Save = &save
	}
	return r, nil
}
