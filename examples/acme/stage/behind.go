package stage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/runtime/docker"
)

// The two PostgreSQL servers in the data folder.
const (
	TenantsServer = "tenants"
	StateServer   = "state"
)

// DatabaseURL is how an auditor reaches a database past Waybill and past Odoo. The password is in
// it, so it is never shown. Its sessions are named "waybill", which a fence spares.
func (s *Stage) DatabaseURL(server, database string) (string, error) {
	ring, err := keys.Open(filepath.Join(s.Data(), "keys"))
	if err != nil {
		return "", fmt.Errorf("keys of the data folder: %w", err)
	}
	sockets, port, err := s.socket(server)
	if err != nil {
		return "", err
	}
	u := url.URL{
		Scheme: "postgres", Path: "/" + database,
		User:     url.UserPassword("waybill", ring.Password("waybill", "postgres-"+server)),
		RawQuery: url.Values{"host": {sockets}, "port": {port}, "sslmode": {"disable"}, "application_name": {"waybill"}}.Encode(),
	}
	return u.String(), nil
}

// socket reads folder and port from the server's own lock file.
func (s *Stage) socket(server string) (folder, port string, err error) {
	lines, err := s.lockFile(server)
	if err != nil {
		return "", "", err
	}
	return lines[4], lines[3], nil
}

// ServerFolder is the data folder of a PostgreSQL server, as pg_ctl wants it.
func (s *Stage) ServerFolder(server string) string {
	return filepath.Join(s.Data(), "postgres-"+server, "data")
}

// lockFile is postmaster.pid: process, folder, start, port, socket folder, …
func (s *Stage) lockFile(server string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(s.ServerFolder(server), "postmaster.pid"))
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL %q does not run: %w", server, err)
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 6 {
		return nil, fmt.Errorf("PostgreSQL %q is starting or stopping: its postmaster.pid has %d lines", server, len(lines))
	}
	return lines, nil
}

// Instance tells this stage's containers from those of others on the same engine.
func (s *Stage) Instance() (string, error) {
	content, err := os.ReadFile(filepath.Join(s.Data(), "instance"))
	return strings.TrimSpace(string(content)), err
}

// Containers lists what of this stage is in the engine: "container NAME" and "network NAME".
func (s *Stage) Containers(ctx context.Context) ([]string, error) {
	engine, err := s.engine()
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	return engine.Leftovers(ctx)
}

func (s *Stage) engine() (*docker.Runtime, error) {
	instance, err := s.Instance()
	if err != nil {
		return nil, err
	}
	uid := OdooUser
	if own := os.Geteuid(); own != 0 {
		uid = own
	}
	return docker.New(docker.Options{Instance: instance, DataDir: s.Data(), UID: uid, GID: uid})
}

// Close stops the server, removes the environment from the engine, stops the databases and removes
// the folder. It names what it could not take away.
func (s *Stage) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	errs := []error{s.Down()}
	if _, err := s.Instance(); err == nil { // else it never came to start anything
		errs = append(errs, s.clear(ctx))
	}
	for _, server := range []string{TenantsServer, StateServer} {
		errs = append(errs, s.stopDatabase(ctx, server))
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, os.RemoveAll(s.Folder))
	}
	return errors.Join(errs...)
}

func (s *Stage) clear(ctx context.Context) error {
	engine, err := s.engine()
	if err != nil {
		return err
	}
	defer engine.Close()
	if err := engine.RemoveEnvironment(ctx, Environment); err != nil {
		return err
	}
	if left, err := engine.Leftovers(ctx); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("left in the engine: %v", left))
	}
	return nil
}

// stopDatabase shuts a server down fast; one that does not run is fine.
func (s *Stage) stopDatabase(ctx context.Context, server string) error {
	lines, err := s.lockFile(server)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid < 2 {
		return fmt.Errorf("PostgreSQL %q: its lock file names process %q", server, lines[0])
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		return nil // gone already
	}
	return Poll(ctx, 50*time.Millisecond, "PostgreSQL "+server+" to stop", func() (bool, error) {
		return syscall.Kill(pid, 0) != nil, nil
	})
}

// Poll asks again and again until done, an error or the end of ctx, which then says what was waited for.
func Poll(ctx context.Context, every time.Duration, what string, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// OdooUser is the user and group that Odoo's processes have where the server is root.
const OdooUser = 10001

// SocketFolder is where a PostgreSQL server has its socket.
func (s *Stage) SocketFolder(server string) string { return filepath.Join(s.Data(), "run", server) }

// Filestore is the folder with the tenant's attachments.
func (s *Stage) Filestore() string {
	return filepath.Join(s.Data(), "environments", Environment, "data", "shared", "filestore", Database)
}
