// Package postgres runs a PostgreSQL server from the installed binaries, as an unprivileged user, in
// a folder of its own. The server is a daemon of its own session: it outlives the Waybill process
// that started it, and the next one adopts it. The package knows nothing of what is stored in it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// What Start may refuse; errors.Is tells them apart.
var (
	ErrOtherVersion = errors.New("the data folder belongs to another major version of PostgreSQL")
	ErrPortInUse    = errors.New("port in use")
	ErrSocketPath   = errors.New("socket path too long")
	ErrPassword     = errors.New("the server does not accept the superuser's password")
)

// maxSocketPath is what fits into sockaddr_un.sun_path on Linux, without the closing zero byte.
const maxSocketPath = 107

// Options say how a server shall run.
type Options struct {
	Dir       string            // the cluster's folder; gets data/ and server.log
	Major     int               // version of a cluster that is made anew; 0: the newest one installed
	Name      string            // shows in the process list and in messages, for example "tenants"
	Port      int               // 1–65535, also part of the socket's name; 0: 5432
	TCP       bool              // listen on 127.0.0.1 as well; else the socket is the only way in
	Remote    *Remote           // who may come from elsewhere, and where; instead of TCP
	SocketDir string            // default Dir/socket
	SuperUser string            // default "waybill"
	Password  string            // of SuperUser; required
	Settings  map[string]string // postgresql.conf; they win over the defaults of this package
	Preload   []string          // extensions to load at the server's start, and to make in its maintenance database, where they are installed
	Log       *slog.Logger      // default slog.Default()
}

// Cluster is a running server.
type Cluster struct {
	Version string // full, for example "15.18"
	BinDir  string

	opts Options
	bins Binaries
	user account
}

// Start starts the server in o.Dir, or adopts the one that runs there already, after making the
// cluster where the folder has none (scram for every connection, data checksums on). It returns once the
// server answers a query with the password. A running server whose socket or port differs from o is
// restarted; changed settings are reloaded, and those that need a restart are named in the log.
//
// Errors: ErrNotInstalled, ErrOtherVersion, ErrPortInUse, ErrSocketPath, ErrPassword, or what
// the server itself said (the end of its log is part of the message).
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL %q in %s: %w", o.Name, o.Dir, err)
	}
	return c, nil
}

func start(ctx context.Context, o Options) (*Cluster, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	bins, err := findServer(ctx, o.Major)
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: o, user: who}
	if err := c.prepareFolders(); err != nil {
		return nil, err
	}
	if c.bins, err = binariesFor(ctx, c.dataDir(), bins); err != nil {
		return nil, err
	}
	c.Version, c.BinDir = c.bins.Full, c.bins.Dir
	c.preload()
	if err := c.initialise(ctx); err != nil {
		return nil, err
	}
	changed, err := c.writeSettings()
	if err != nil {
		return nil, err
	}
	opened, err := c.admitRemote()
	if err != nil {
		return nil, err
	}
	changed = changed || opened
	lock, running, err := c.running(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case running && (lock.Port != o.Port || lock.SocketDir != o.SocketDir):
		o.Log.Info("PostgreSQL runs with another socket: restarting it", "name", o.Name, "pid", lock.PID)
		if err := c.Restart(ctx); err != nil {
			return nil, err
		}
	case running:
		o.Log.Info("PostgreSQL adopted", "name", o.Name, "pid", lock.PID, "version", c.Version)
		if changed {
			if err := c.pgctl(ctx, "reload"); err != nil {
				return nil, err
			}
		}
	default:
		if err := c.launch(ctx); err != nil {
			return nil, err
		}
		o.Log.Info("PostgreSQL started", "name", o.Name, "version", c.Version, "socket", o.SocketDir, "port", o.Port)
	}
	if err := c.ready(ctx); err != nil {
		return c, err
	}
	if err := c.createPreloaded(ctx); err != nil { // it only shows how the server is used
		o.Log.Warn("PostgreSQL goes without an extension", "name", o.Name, "error", err)
	}
	return c, nil
}

func (o *Options) fill() error {
	if o.Dir == "" || o.Password == "" {
		return errors.New("no Dir or no Password given")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.SocketDir == "" {
		o.SocketDir = filepath.Join(dir, "socket")
	}
	if o.SocketDir, err = filepath.Abs(o.SocketDir); err != nil {
		return err
	}
	if o.Port == 0 {
		o.Port = 5432
	}
	if o.Port < 1 || o.Port > 65535 {
		return fmt.Errorf("port %d is not in 1–65535", o.Port)
	}
	if o.SuperUser == "" {
		o.SuperUser = "waybill"
	}
	if o.Remote != nil {
		if err := o.Remote.check(); err != nil {
			return err
		}
		if o.Remote.User == o.SuperUser {
			return fmt.Errorf("login %q that may come from elsewhere is the superuser", o.SuperUser)
		}
	}
	if o.Name == "" {
		o.Name = filepath.Base(dir)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if strings.ContainsAny(o.Dir+o.SocketDir, "\n\r'") || strings.ContainsAny(o.SocketDir, ",@\"") {
		return fmt.Errorf("a path with a quote, comma, @ or line break cannot be given to PostgreSQL: %q, %q", o.Dir, o.SocketDir)
	}
	if path := o.socketFile(); len(path) > maxSocketPath {
		return fmt.Errorf("%w: %s has %d bytes and at most %d fit: choose a shorter data folder or SocketDir", ErrSocketPath, path, len(path), maxSocketPath)
	}
	return nil
}

// listens is the address beside the socket; empty: none.
func (o *Options) listens() string {
	switch {
	case o.Remote != nil:
		return o.Remote.Address.String()
	case o.TCP:
		return "127.0.0.1"
	}
	return ""
}

func (o *Options) socketFile() string {
	return filepath.Join(o.SocketDir, ".s.PGSQL."+strconv.Itoa(o.Port))
}

// URL is the address of a database on this server for its superuser, the password included: for pgx and
// the environment of child processes only, never for logs or argv. Sessions opened with it carry the
// application name "waybill", which a fence spares.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(c.opts.SuperUser, c.opts.Password),
		Path:   "/" + database,
		RawQuery: url.Values{
			"host":             {c.opts.SocketDir},
			"port":             {strconv.Itoa(c.opts.Port)},
			"sslmode":          {"disable"}, // a socket of this machine
			"application_name": {"waybill"},
		}.Encode(),
	}
	return u.String()
}

// SocketDir is the folder of the server's socket; containers get it mounted.
func (c *Cluster) SocketDir() string { return c.opts.SocketDir }

// Port is the server's port, also the last part of the socket's name.
func (c *Cluster) Port() int { return c.opts.Port }

func (c *Cluster) dataDir() string { return filepath.Join(c.opts.Dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.opts.Dir, "server.log") }

// Stop shuts the server down: sessions are ended, the data is written out. It returns when the
// process is gone, or with ctx's error; a server that does not run is stopped already.
func (c *Cluster) Stop(ctx context.Context) error {
	lock, running, err := c.running(ctx)
	if err != nil || !running {
		return err
	}
	if err := signalFast(lock.PID); err != nil {
		return fmt.Errorf("stop PostgreSQL %q (process %d): %w", c.opts.Name, lock.PID, err)
	}
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) { return !c.isPostmaster(lock.PID), nil })
	if err != nil {
		return fmt.Errorf("stop PostgreSQL %q (process %d): asked it to shut down fast and it still runs: %w\n%s", c.opts.Name, lock.PID, err, c.logTail())
	}
	return nil
}

// Restart stops and starts the server, and returns once it answers.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	if err := c.launch(ctx); err != nil {
		return err
	}
	return c.ready(ctx)
}

// launch starts the postmaster through pg_ctl, which gives it a session of its own.
func (c *Cluster) launch(ctx context.Context) error {
	if err := c.clearStaleLocks(ctx); err != nil {
		return err
	}
	if host := c.opts.listens(); host != "" {
		at := net.JoinHostPort(host, strconv.Itoa(c.opts.Port))
		l, err := net.Listen("tcp", at)
		if err != nil {
			return fmt.Errorf("listen on %s: %w (%v): stop the other program or choose another port", at, ErrPortInUse, err)
		}
		l.Close()
	}
	if err := c.truncateLog(); err != nil {
		return err
	}
	if err := c.pgctl(ctx, "start", "--wait", "--timeout=600", "--silent", "--log="+c.logFile()); err != nil {
		return fmt.Errorf("%w\n%s", err, c.logTail())
	}
	return nil
}

// ready proves that the server answers, with the password that Waybill knows, and is the one in our folder.
func (c *Cluster) ready(ctx context.Context) error {
	var dir string
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err != nil {
			switch code := sqlState(err); code {
			case "28P01", "28000":
				return false, fmt.Errorf("%w (user %q): the keys in use are not those the data folder was made with; put the keys back, or name an empty data folder", ErrPassword, c.opts.SuperUser)
			case "57P03": // starting up: crash recovery
				return false, nil
			}
			return false, fmt.Errorf("connect to %s: %w\n%s", c.opts.socketFile(), err, c.logTail())
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
			return false, err
		}
		rows, _ := conn.Query(ctx, "SELECT name FROM pg_settings WHERE pending_restart ORDER BY 1")
		if pending, err := pgx.CollectRows(rows, pgx.RowTo[string]); err == nil && len(pending) > 0 {
			c.opts.Log.Warn("PostgreSQL settings wait for a restart", "name", c.opts.Name, "settings", strings.Join(pending, ", "))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if !sameFile(dir, c.dataDir()) {
		return fmt.Errorf("the server behind %s has its data in %s: %w: choose another SocketDir or Port", c.opts.socketFile(), dir, ErrPortInUse)
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// poll calls done until it says true or errs, or ctx ends.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// binariesFor picks the installed version that a data folder needs: its own, or the newest for an empty one.
func binariesFor(ctx context.Context, dataDir string, newest Binaries) (Binaries, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return newest, nil
	}
	if err != nil {
		return Binaries{}, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return Binaries{}, fmt.Errorf("%s/PG_VERSION says %q, which is no version", dataDir, raw)
	}
	for _, b := range installed(ctx, "postgres", "initdb", "pg_ctl") {
		if b.Major == major {
			return b, nil
		}
	}
	return Binaries{}, fmt.Errorf("%w: it is of version %d and the newest one installed is %d: apt-get install postgresql-%d, or upgrade the folder with pg_upgrade", ErrOtherVersion, major, newest.Major, major)
}
