//go:build odoo

package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func (b *bundle) postgres(args ...string) error {
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	cmd := exec.Command(filepath.Join(pgBin, args[0]), args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return nil
}

func (b *bundle) startPostgres() error {
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	for _, dir := range []string{"cluster", "pg"} {
		if err := b.mkdir(dir, uid); err != nil {
			return err
		}
	}
	cluster := filepath.Join(b.dir, "cluster")
	if err := b.postgres("initdb", "-D", cluster, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return err
	}
	options := "-c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200 " +
		"-c unix_socket_permissions=0777 -c unix_socket_directories=" + filepath.Join(b.dir, "pg")
	if err := b.postgres("pg_ctl", "-D", cluster, "-o", options, "-l", filepath.Join(cluster, "log"), "-w", "start"); err != nil {
		return err
	}
	return b.exec(context.Background(), "postgres", "CREATE ROLE odoo LOGIN CREATEDB")
}

func (b *bundle) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host=%s user=postgres dbname=%s", filepath.Join(b.dir, "pg"), database))
}

func (b *bundle) exec(ctx context.Context, database, query string, args ...any) error {
	conn, err := b.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, query, args...)
	return err
}

// sql runs a statement as superuser.
func (b *bundle) sql(t *testing.T, database, query string, args ...any) {
	t.Helper()
	require.NoError(t, b.exec(t.Context(), database, query, args...))
}

// text reads one value, as text.
func (b *bundle) text(t *testing.T, database, query string, args ...any) string {
	t.Helper()
	conn, err := b.connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var value *string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT ("+query+")::text", args...).Scan(&value))
	if value == nil {
		return ""
	}
	return *value
}

// database returns a fresh copy of the template.
func (b *bundle) database(t *testing.T) string {
	t.Helper()
	return b.copyOf(t, template)
}

func (b *bundle) copyOf(t *testing.T, source string) string {
	t.Helper()
	name := "wbt_" + strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name()))
	if len(name) > 50 {
		sum := sha256.Sum256([]byte(name))
		name = name[:40] + hex.EncodeToString(sum[:4])
	}
	b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %s", name, source))
	t.Cleanup(func() {
		_ = b.exec(context.Background(), "postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %q WITH (FORCE)", name))
	})
	return name
}

// set writes a parameter that the test modules obey.
func (b *bundle) set(t *testing.T, database, key, value string) {
	t.Helper()
	b.sql(t, database, "INSERT INTO ir_config_parameter (key, value) VALUES ($1, $2)", key, value)
}

// digest is the SHA-256 of schema and rows, sequences aside: those no transaction takes back.
func (b *bundle) digest(t *testing.T, database string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(pgBin, "pg_dump"), "-h", filepath.Join(b.dir, "pg"), "-U", "postgres", database)
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(string(out), "\n")
	kept := lines[:0]
	for _, line := range lines {
		// \restrict carries a random word in newer pg_dump.
		if !strings.Contains(line, "pg_catalog.setval(") && !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			kept = append(kept, line)
		}
	}
	require.Greater(t, len(kept), 10000, "the dump is too small to be one of Odoo")
	sort.Strings(kept)
	sum := sha256.Sum256([]byte(strings.Join(kept, "\n")))
	return hex.EncodeToString(sum[:])
}

func (b *bundle) drop(database string) {
	_ = b.exec(context.Background(), "postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %q WITH (FORCE)", database))
}
