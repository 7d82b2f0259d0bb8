package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/keys"
)

// databaseURL is how the auditor reaches a tenant's database: past Waybill and past Odoo, on the cluster's server, or
// on the one that `waybill up` runs in its data folder. The password is in it, so it is never shown.
func (s *story) databaseURL(database string) (string, error) {
	if s.cluster != nil {
		return s.cluster.DatabaseURL(database), nil
	}
	return embedded(s.data, database)
}

func embedded(data, database string) (string, error) {
	ring, err := keys.Open(filepath.Join(data, "keys"))
	if err != nil {
		return "", fmt.Errorf("keys of the data folder: %w", err)
	}
	sockets, err := filepath.Glob(filepath.Join(data, "run", "tenants", ".s.PGSQL.*"))
	if err != nil {
		return "", err
	}
	for _, socket := range sockets {
		if port := strings.TrimPrefix(filepath.Base(socket), ".s.PGSQL."); !strings.Contains(port, ".") {
			u := url.URL{
				Scheme: "postgres", Path: "/" + database,
				User:     url.UserPassword("waybill", ring.Password("waybill", "postgres-tenants")),
				RawQuery: url.Values{"host": {filepath.Dir(socket)}, "port": {port}, "sslmode": {"disable"}, "application_name": {"waybill"}}.Encode(),
			}
			return u.String(), nil
		}
	}
	return "", fmt.Errorf("no socket of the tenants' PostgreSQL in %s", filepath.Join(data, "run", "tenants"))
}

// known are the tables, beside the schema itself, that an update of Acme's modules writes and the
// crew does not: with them unchanged, the update left nothing.
var known = []string{
	"ir_model", "ir_model_fields", "ir_model_constraint", "ir_ui_view", "ir_model_access", "ir_rule",
	"ir_ui_menu", "ir_act_window", "ir_module_module", "ir_module_module_dependency", "acme_dock",
}

// fingerprint is a digest over the schema and over the rows of the tables that an update writes,
// by name, so that a difference can be told.
func fingerprint(ctx context.Context, databaseURL string) (map[string]string, error) {
	digests := map[string]string{}
	schema, err := schema(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	digests["schema"] = schema
	connection, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, fmt.Errorf("fingerprint of the database: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, table := range known {
		var digest string
		query := fmt.Sprintf(`SELECT count(*) || ' rows ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY t.id)), '') FROM %s t`, pgx.Identifier{table}.Sanitize())
		if table == "ir_module_module_dependency" {
			query = strings.Replace(query, "ORDER BY t.id", "ORDER BY t.module_id, t.name", 1)
		}
		if err := connection.QueryRow(ctx, query).Scan(&digest); err != nil {
			return nil, fmt.Errorf("fingerprint of table %s: %w", table, err)
		}
		digests[table] = digest
	}
	return digests, nil
}

// schema is the digest of what pg_dump says of the schema.
func schema(ctx context.Context, databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", fmt.Errorf("the database's URL cannot be read")
	}
	password, _ := u.User.Password()
	host, port := u.Hostname(), u.Port()
	if host == "" { // a socket
		host, port = u.Query().Get("host"), u.Query().Get("port")
	}
	dump, err := pgDump()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, dump, "--schema-only", "--no-owner", "--no-privileges")
	command.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port,
		"PGUSER="+u.User.Username(), "PGPASSWORD="+password, "PGDATABASE="+strings.TrimPrefix(u.Path, "/"))
	out, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("pg_dump of the schema: %w", err)
	}
	sum := sha256.New()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) { // a random word each time
			sum.Write([]byte(line))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func pgDump() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath("pg_dump")
	if err != nil {
		return "", fmt.Errorf("no pg_dump on this machine: apt-get install postgresql-client")
	}
	return path, nil
}

// difference names what differs between two fingerprints.
func difference(before, after map[string]string) []string {
	var names []string
	for _, name := range append([]string{"schema"}, known...) {
		if before[name] != after[name] {
			names = append(names, name)
		}
	}
	return names
}
