package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/database"
)

// connectionEnv says in environment variables, which only root and ourselves can read, how libpq's
// programs reach a database; a URL in argv would show the password to everybody.
func connectionEnv(adminURL, db string) ([]string, error) {
	u, err := url.Parse(adminURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("the administrator's URL of the database server is not valid: expected postgres://user@host:port/postgres")
	}
	cfg, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return nil, errors.New("the administrator's URL of the database server is not valid: expected postgres://user@host:port/postgres")
	}
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME"), "LC_ALL": "C", "TZ": "UTC",
		"PGHOST": cfg.Host, "PGPORT": strconv.Itoa(int(cfg.Port)), "PGUSER": cfg.User, "PGPASSWORD": cfg.Password,
		"PGDATABASE": db,
		"PGAPPNAME":  database.ApplicationName, // a fence spares it
	}
	known := map[string]string{
		"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
		"connect_timeout": "PGCONNECT_TIMEOUT", "channel_binding": "PGCHANNELBINDING", "options": "PGOPTIONS",
	}
	for param, variable := range known {
		if v := u.Query().Get(param); v != "" {
			env[variable] = v
		} else if v := os.Getenv(variable); v != "" {
			env[variable] = v
		}
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out, nil
}

// connect opens one session in a database of the server.
func connect(ctx context.Context, adminURL, db string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return nil, errors.New("the administrator's URL of the database server is not valid: expected postgres://user@host:port/postgres")
	}
	cfg.Database = db
	cfg.RuntimeParams["application_name"] = database.ApplicationName
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	cfg.RuntimeParams["timezone"] = "UTC"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %q at %s:%d: %w", db, cfg.Host, cfg.Port, err)
	}
	return conn, nil
}

// tail keeps the end of what a program says.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > 16<<10 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-8<<10:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	lines := strings.Split(strings.TrimSpace(string(t.buf)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// runProgram runs one of PostgreSQL's programs to its end. It dies with us, and with ctx, its own
// workers included. stdout may be nil.
func runProgram(ctx context.Context, path string, env []string, stdout *strings.Builder, args ...string) error {
	return runTelling(ctx, path, env, stdout, &tail{}, args...)
}

// runTelling is runProgram where somebody reads what the program tells on its standard error; an error is what it then says.
func runTelling(ctx context.Context, path string, env []string, stdout *strings.Builder, said interface {
	io.Writer
	fmt.Stringer
}, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.Dir = "/"
	cmd.Stderr = said
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.WaitDelay = 10 * time.Second
	tieToUs(cmd)
	// The kernel sends the death signal when the thread that started the program ends, so that one is kept.
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	err := <-done
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), context.Cause(ctx))
	}
	if text := said.String(); text != "" {
		err = fmt.Errorf("%s: %s (%w)", filepath.Base(path), text, err)
	}
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
