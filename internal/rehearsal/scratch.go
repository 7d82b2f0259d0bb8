package rehearsal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/postgres"
)

// Names inside a scratch server and its containers.
const (
	pristine    = "waybill_pristine" // the restored database, never changed
	ownerRole   = "waybill_owner"
	loginRole   = "waybill_update"
	environment = "rehearsal"
	group       = "shared"
	socketPort  = 5432 // part of the socket's name
)

// scratch is a private PostgreSQL server with the containers that use it.
type scratch struct {
	dir      string
	password string         // of the login role
	at       netip.AddrPort // where it listens beside the socket; the zero value: nowhere
	cluster  *postgres.Cluster
	server   *database.Server
	jobs     Jobs
}

// Everything of a rehearsal hangs on its id, so that Sweep needs nothing else.
func (r *Rehearser) folder(id string) string { return filepath.Join(r.dir, id) }
func instance(id string) string              { return "rh-" + id }

func (r *Rehearser) socketDir(id string) string {
	dir := filepath.Join(r.dir, id, "pg")
	if len(dir) > 80 { // a socket's path holds 107 characters
		dir = filepath.Join(os.TempDir(), "waybill-rh-"+id)
	}
	return dir
}

// open starts the server. A server or containers of that id that an earlier, killed try left are removed first.
func (r *Rehearser) open(ctx context.Context, id string, like *likeness, limits Limits) (_ *scratch, err error) {
	if err := r.remove(ctx, id); err != nil {
		return nil, err
	}
	for _, dir := range []string{r.dir, r.folder(id)} {
		if err := os.MkdirAll(dir, 0o711); err != nil { // the server's unprivileged user must get through
			return nil, err
		}
	}
	s := &scratch{dir: r.folder(id), password: secret()}
	options := postgres.Options{
		Dir: filepath.Join(s.dir, "postgres"), Name: "rehearsal", Major: like.major, Port: socketPort, SocketDir: r.socketDir(id),
		Password: secret(), Settings: like.within(limits), Log: r.rooms.Log,
	}
	if r.rooms.Address != nil {
		if s.at, err = r.freeAddress(ctx); err != nil {
			return nil, err
		}
		options.Port, options.Remote = int(s.at.Port()), &postgres.Remote{Address: s.at.Addr(), User: loginRole}
	}
	if s.cluster, err = postgres.Start(ctx, options); err != nil {
		return nil, err
	}
	if err := limitMemory(ctx, filepath.Join(s.dir, "postgres", "data"), limits.Memory); err != nil {
		r.rooms.Log.WarnContext(ctx, "the scratch server's memory is bounded by its settings only", "rehearsal", id, "error", err)
	}
	if s.server, err = database.Open(ctx, s.cluster.URL("postgres")); err != nil {
		return s, err
	}
	if err := s.server.EnsureOwner(ctx, ownerRole); err != nil {
		return s, err
	}
	if err := s.server.EnsureLogin(ctx, loginRole, s.password, ownerRole); err != nil {
		return s, err
	}
	s.jobs, err = r.rooms.Jobs(ctx, r.room(id, s.at))
	return s, err
}

func (r *Rehearser) room(id string, server netip.AddrPort) Room {
	return Room{ID: id, Instance: instance(id), DataDir: r.folder(id), SocketDir: r.socketDir(id), Server: server}
}

// freeAddress is one of this machine, for containers elsewhere, with a port that nobody uses now.
func (r *Rehearser) freeAddress(ctx context.Context) (netip.AddrPort, error) {
	address, err := r.rooms.Address(ctx)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("where containers reach the scratch server: %w", err)
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("where containers reach the scratch server: %w", err)
	}
	defer l.Close()
	return netip.AddrPortFrom(address, l.Addr().(*net.TCPAddr).AddrPort().Port()), nil
}

// conf says how containers reach the server.
func (s *scratch) conf() odoo.Conf {
	c := odoo.Conf{Host: bridge.PostgresDir, Port: socketPort, User: loginRole, Password: s.password}
	if s.at.IsValid() {
		c.Host, c.Port, c.SSLMode = s.at.Addr().String(), int(s.at.Port()), "require"
	}
	return c
}

// copy makes db a fresh copy of the restored database; one of that name is dropped.
func (s *scratch) copy(ctx context.Context, db string, settings map[string]string) error {
	if err := s.server.Drop(ctx, db); err != nil {
		return err
	}
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer s.disconnect(ctx, conn)
	strategy := ""
	if major(s.cluster.Version) >= 15 {
		strategy = " STRATEGY file_copy" // not through the log: a copy needs no second one
	}
	name := pgx.Identifier{db}.Sanitize()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+pristine+" OWNER "+ownerRole+strategy); err != nil {
		return fmt.Errorf("copy the restored database: %w", err)
	}
	for setting, value := range settings { // a copy does not inherit them
		identifier := pgx.Identifier(strings.Split(setting, ".")).Sanitize()
		if _, err := conn.Exec(ctx, "SELECT set_config($1, $2, false)", setting, value); err != nil {
			continue // the restore has warned of it
		}
		if _, err := conn.Exec(ctx, "ALTER DATABASE "+name+" SET "+identifier+" FROM CURRENT"); err != nil {
			return fmt.Errorf("the copy's setting %s: %w", setting, err)
		}
	}
	_, err = s.server.SetAccess(ctx, db, []string{loginRole})
	return err
}

// connect opens a session of the superuser, which waits for nothing for long.
func (s *scratch) connect(ctx context.Context, db string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.cluster.URL(db))
	if err != nil {
		return nil, errors.New("the scratch server's address does not parse")
	}
	for k, v := range map[string]string{"timezone": "UTC", "lock_timeout": "60s", "statement_timeout": "0", "application_name": database.ApplicationName} {
		cfg.RuntimeParams[k] = v
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s of the scratch server: %w", db, err)
	}
	return conn, nil
}

func (s *scratch) disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// in gives f a session in a database of the scratch server.
func (s *scratch) in(ctx context.Context, db string, f func(*pgx.Conn) error) error {
	conn, err := s.connect(ctx, db)
	if err != nil {
		return err
	}
	defer s.disconnect(ctx, conn)
	return f(conn)
}

// alive errs when the server does not answer any more: then nothing that failed on it proves anything.
func (s *scratch) alive(ctx context.Context) error {
	err := s.in(ctx, "postgres", func(conn *pgx.Conn) error { return conn.Ping(ctx) })
	if err != nil {
		return fmt.Errorf("the scratch server died: %w", err)
	}
	return nil
}

// close lets go of connections; remove takes away what they led to.
func (s *scratch) close() {
	if s.server != nil {
		s.server.Close()
	}
	if s.jobs != nil {
		_ = s.jobs.Close()
	}
}

// remove takes away everything of a rehearsal, running or not: containers first, then the server, then the
// folder. Nothing there is fine.
func (r *Rehearser) remove(ctx context.Context, id string) error {
	dir := r.folder(id)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	jobs, err := r.rooms.Jobs(ctx, r.room(id, netip.AddrPort{}))
	if err == nil {
		err = errors.Join(jobs.RemoveEnvironment(ctx, environment), jobs.Close())
	}
	if err != nil { // the server goes nevertheless: it is what takes memory
		err = fmt.Errorf("remove the containers of rehearsal %s: %w", id, err)
	}
	if e := postgres.Destroy(ctx, filepath.Join(dir, "postgres")); e != nil {
		return errors.Join(err, fmt.Errorf("remove the scratch server of rehearsal %s: %w", id, e))
	}
	if err != nil {
		return err // the folder stays, as the mark by which Sweep finds the rest
	}
	return errors.Join(os.RemoveAll(r.socketDir(id)), os.RemoveAll(dir))
}

// Sweep removes what killed rehearsals left, on this machine and wherever Rooms.Sweep looks: call it when none runs here. over says whether a rehearsal has
// ended, since those of others may run. It goes on after an error and returns all.
func (r *Rehearser) Sweep(ctx context.Context, over func(ctx context.Context, id string) (bool, error)) error {
	var errs []error
	if r.rooms.Sweep != nil {
		errs = append(errs, r.rooms.Sweep(ctx, over))
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if checkID(e.Name()) != nil || !e.IsDir() {
			continue
		}
		r.rooms.Log.InfoContext(ctx, "removing what a killed rehearsal left", "rehearsal", e.Name())
		errs = append(errs, r.remove(ctx, e.Name()))
	}
	return errors.Join(errs...)
}

func secret() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// major is the number before the first dot.
func major(version string) int {
	n, _ := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	return n
}
