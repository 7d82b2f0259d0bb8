package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// likeness is what the scratch server takes over from the tenant's: times would mean little without.
type likeness struct {
	major    int
	settings map[string]string
	pages    map[string]int64 // bytes of the settings that are memory
}

// taken are the settings that bear on how long an update takes or whether it succeeds.
var taken = []string{
	"random_page_cost", "seq_page_cost", "cpu_tuple_cost", "effective_io_concurrency", "jit", "default_statistics_target",
	"max_parallel_workers_per_gather", "max_parallel_maintenance_workers", "max_parallel_workers", "max_worker_processes",
	"fsync", "synchronous_commit", "full_page_writes", "wal_compression", "checkpoint_timeout", "checkpoint_completion_target", "max_wal_size",
	"max_locks_per_transaction", "max_pred_locks_per_transaction", "autovacuum", "default_toast_compression",
	"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "default_transaction_isolation", "standard_conforming_strings",
	"row_security", "bytea_output", "datestyle", "intervalstyle",
}

// memory are those whose size is bounded by the rehearsal's own limit.
var memory = []string{"shared_buffers", "work_mem", "maintenance_work_mem", "effective_cache_size"}

// look reads version and settings of the tenant's server. It only reads.
func look(ctx context.Context, url string) (*likeness, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the tenant's database server does not parse")
	}
	cfg.RuntimeParams["application_name"] = "waybill"
	cfg.RuntimeParams["default_transaction_read_only"] = "on"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("ask the tenant's database server for its version and settings: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	like := &likeness{settings: map[string]string{}, pages: map[string]int64{}}
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&like.major); err != nil {
		return nil, err
	}
	// What a session may set is read as the server has it for everybody, not as this session does.
	rows, _ := conn.Query(ctx, "SELECT name, reset_val || coalesce(CASE WHEN unit ~ '^[0-9]' THEN '' ELSE unit END, ''), coalesce(CASE WHEN unit ~ '^[0-9]' THEN unit END, '') FROM pg_settings WHERE name = ANY($1) AND vartype <> 'string'", taken)
	var name, value, blocks string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value, &blocks}, func() error {
		if blocks == "" { // a number of blocks stays out: its unit may differ
			like.settings[name] = value
		}
		return nil
	}); err != nil {
		return nil, err
	}
	rows, _ = conn.Query(ctx, "SELECT name, pg_size_bytes(reset_val || CASE unit WHEN '8kB' THEN '' ELSE unit END) * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_settings WHERE name = ANY($1)", memory)
	var size int64
	_, err = pgx.ForEachRow(rows, []any{&name, &size}, func() error { like.pages[name] = size; return nil })
	return like, err
}

// within is the scratch server's configuration: the tenant's, as far as it fits into the limits.
func (l *likeness) within(limits Limits) map[string]string {
	all := maps.Clone(l.settings)
	for name, share := range map[string]int64{"shared_buffers": 4, "maintenance_work_mem": 8, "work_mem": 64, "effective_cache_size": 1} {
		if size := l.pages[name]; size > 0 {
			all[name] = strconv.FormatInt(max(min(size, limits.Memory/share)/1024, 1024), 10) + "kB"
		}
	}
	maps.Copy(all, map[string]string{
		"max_connections": "40", "superuser_reserved_connections": "10",
		"max_wal_senders": "0", "wal_level": "replica", "archive_mode": "off",
		"log_destination": "csvlog", "log_filename": traceFile, "log_rotation_age": "0", "log_truncate_on_rotation": "off",
		"log_timezone": "UTC", "log_lock_waits": "off", "log_checkpoints": "off", "log_autovacuum_min_duration": "-1",
	})
	return all
}
