package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// defaults suit Odoo: many short transactions, some very wide ones, and an update that takes a
// lock on every table inside one transaction. Durability is left as PostgreSQL has it (fsync,
// full_page_writes and synchronous_commit on).
var defaults = map[string]string{
	"max_connections":                  "300",
	"superuser_reserved_connections":   "10", // the fence must get in when pools have used up the rest
	"shared_buffers":                   "256MB",
	"work_mem":                         "16MB",
	"maintenance_work_mem":             "256MB",
	"max_locks_per_transaction":        "512", // one update, one dump: every table and index at once
	"checkpoint_timeout":               "15min",
	"max_wal_size":                     "4GB",
	"wal_compression":                  "on",
	"random_page_cost":                 "1.1",
	"jit":                              "off", // costs more than it gives on Odoo's queries
	"password_encryption":              "scram-sha-256",
	"log_lock_waits":                   "on",
	"log_line_prefix":                  "%m [%p] %q%u@%d %a ",
	"log_parameter_max_length":         "0", // values of queries are the customer's data
	"client_connection_check_interval": "5s",
	"timezone":                         "UTC",
	"log_timezone":                     "UTC",
	"logging_collector":                "on", // one file a weekday, so that logs stay bounded without logrotate
	"log_directory":                    "log",
	"log_filename":                     "postgresql-%a.log",
	"log_truncate_on_rotation":         "on",
	"log_rotation_age":                 "1d",
	"log_rotation_size":                "0",
}

const settingsFile = "waybill.conf"

// prepareFolders makes the cluster's folder and the socket's, and proves that the server's user can get there.
func (c *Cluster) prepareFolders() error {
	if err := os.MkdirAll(c.opts.Dir, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{c.opts.Dir, c.opts.SocketDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := c.user.reaches(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := c.user.own(dir); err != nil {
			return err
		}
		// Containers of any user go through this folder to the socket; the password is what guards it.
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// initialise makes the cluster where there is none. It is built aside and renamed, so that a
// killed initdb leaves nothing that looks like a cluster.
func (c *Cluster) initialise(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(c.dataDir(), "PG_VERSION")); err == nil {
		return nil
	}
	if entries, err := os.ReadDir(c.dataDir()); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty and holds no PostgreSQL cluster: name another folder, or empty it", c.dataDir())
	}
	aside := c.dataDir() + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	pwfile, err := os.CreateTemp(c.opts.Dir, ".pw-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(pwfile.Name())
	_, err = io.WriteString(pwfile, c.opts.Password+"\n")
	if err := errors.Join(err, pwfile.Close(), c.user.own(pwfile.Name())); err != nil {
		return fmt.Errorf("hand the password to initdb: %w", err)
	}
	init := func(ctype string) error {
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
		args := []string{"--pgdata=" + aside, "--username=" + c.opts.SuperUser, "--pwfile=" + pwfile.Name(),
			"--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--lc-collate=C", "--lc-ctype=" + ctype,
			"--lc-messages=C", "--lc-monetary=C", "--lc-numeric=C", "--lc-time=C"}
		if c.opts.Settings["fsync"] == "off" { // what follows is not flushed either
			args = append(args, "--no-sync")
		}
		return c.run(ctx, "initdb", args...)
	}
	// Sorted by bytes as Odoo asks for, but upper and lower case of every language where the system can.
	err = init("C.UTF-8")
	if err != nil && strings.Contains(err.Error(), "locale") {
		err = init("C")
	}
	if err != nil {
		_ = os.RemoveAll(aside)
		return err
	}
	_ = os.Remove(c.dataDir()) // an empty folder, seen above
	if err := os.Rename(aside, c.dataDir()); err != nil {
		return err
	}
	return syncDir(c.opts.Dir)
}

// writeSettings writes waybill.conf beside postgresql.conf, which includes it. changed says that it differs
// from what was there.
func (c *Cluster) writeSettings() (changed bool, err error) {
	all := maps.Clone(defaults)
	maps.Copy(all, c.opts.Settings)
	all["port"] = strconv.Itoa(c.opts.Port)
	all["unix_socket_directories"] = c.opts.SocketDir
	all["unix_socket_permissions"] = "0777"
	all["cluster_name"] = "waybill-" + c.opts.Name
	all["listen_addresses"] = c.opts.listens()
	if c.opts.Remote != nil {
		all["ssl"] = "on"
	}
	var b strings.Builder
	b.WriteString("# Written by Waybill at each start; put your own settings into Waybill's configuration.\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := all[name]
		if strings.ContainsAny(name+value, "\n\r") || name == "" {
			return false, fmt.Errorf("setting %q has a line break in it", name)
		}
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), "'", "''"))
	}
	path := filepath.Join(c.dataDir(), settingsFile)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if string(before) != b.String() {
		changed = true
		if err := c.replaceFile(path, b.String()); err != nil {
			return false, err
		}
	}
	main := filepath.Join(c.dataDir(), "postgresql.conf")
	conf, err := os.ReadFile(main)
	if err != nil {
		return false, err
	}
	include := "include_if_exists = '" + settingsFile + "'\n"
	if !bytes.Contains(conf, []byte(include)) {
		changed = true
		err = c.replaceFile(main, strings.TrimRight(string(conf), "\n")+"\n"+include)
	}
	return changed, err
}

// replaceFile replaces a file in a folder that another user owns: a new file renamed over the
// name, so that no link planted there is followed.
func (c *Cluster) replaceFile(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".waybill-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, content)
	if c.user.switched {
		err = errors.Join(err, f.Chown(c.user.uid, c.user.gid))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// truncateLog empties the log of starts (everything later goes to data/log) for the server's user.
func (c *Cluster) truncateLog() error {
	_ = os.Remove(c.logFile()) // never follow what is there: the folder belongs to the server's user
	f, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if c.user.switched {
		err = f.Chown(c.user.uid, c.user.gid)
	}
	return errors.Join(err, f.Close())
}

// logTail is the end of what the server said, for error messages.
func (c *Cluster) logTail() string {
	var out []string
	newest, _ := filepath.Glob(filepath.Join(c.dataDir(), "log", "*.log"))
	slices.SortFunc(newest, func(a, b string) int { return int(modTime(a) - modTime(b)) })
	files := []string{c.logFile()}
	if len(newest) > 0 {
		files = append(files, newest[len(newest)-1])
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil || len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		out = append(out, lines[max(0, len(lines)-6):]...)
	}
	if len(out) == 0 {
		return "(the server logged nothing)"
	}
	return "the server's log ends:\n  " + strings.Join(out, "\n  ")
}

func modTime(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.ModTime().Unix()
}

func (c *Cluster) pgctl(ctx context.Context, verb string, args ...string) error {
	return c.run(ctx, "pg_ctl", append([]string{verb, "--pgdata=" + c.dataDir()}, args...)...)
}

// run runs one of PostgreSQL's programs as the server's user, with nothing of our environment but the path.
func (c *Cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.bins.Path(program), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + c.bins.Dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + c.opts.Dir}
	c.user.apply(cmd)
	// A file, not a pipe: the server inherits it, and a pipe would keep us waiting for the server's end.
	out, err := os.CreateTemp("", "waybill-postgres-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		said = bytes.TrimSpace(said)
		return fmt.Errorf("%s %s: %w: %s", program, args[0], err, said[max(0, len(said)-2000):])
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
