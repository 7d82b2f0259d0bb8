package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/runtime/docker"
)

// Down stops what goes on serving when a server has stopped: pools, routers and the tenants'
// database of a data folder, or, where k is given, its namespaces in a cluster, for which no folder is needed: servers in pods have
// had their own. Everything stays on disk; a server that comes up brings it back.
func Down(ctx context.Context, data string, k *Kube, log *slog.Logger) (err error) {
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "instance")); errors.Is(err, os.ErrNotExist) && k != nil {
		return removeNamespaces(ctx, *k, log)
	} else if err != nil {
		return fmt.Errorf("%s is no data folder of a Waybill server: %w", data, err)
	}
	lock := flock.New(filepath.Join(data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the data folder %s: %w", data, err)
	}
	if !locked {
		return fmt.Errorf("%w: %s%s. Stop it first", ErrAlreadyUp, data, whoServes(data))
	}
	defer func() { _ = lock.Unlock() }()
	if k != nil {
		return removeNamespaces(ctx, *k, log)
	}
	s := &server{config: Config{Data: data}, log: log}
	if s.instance, err = instanceID(data); err != nil {
		return err
	}
	if s.keys, err = keys.Open(KeyFolder(data)); err != nil {
		return err
	}
	return errors.Join(s.stopContainers(ctx), s.stopPostgres(ctx, "tenants", tenantsPort), s.stopPostgres(ctx, "state", statePort))
}

func removeNamespaces(ctx context.Context, k Kube, log *slog.Logger) error {
	r, err := newKube(ctx, k, nil, nil, log)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	environments, err := r.Environments(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range environments {
		errs = append(errs, r.RemoveEnvironment(ctx, e))
	}
	return errors.Join(errs...)
}

func (s *server) stopContainers(ctx context.Context) error {
	folders, err := os.ReadDir(filepath.Join(s.config.Data, "environments"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := docker.New(docker.Options{Instance: s.instance, DataDir: s.config.Data, UID: containerUID(), GID: containerUID(), Log: s.log})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	var errs []error
	for _, f := range folders {
		errs = append(errs, r.RemoveEnvironment(ctx, f.Name()))
	}
	return errors.Join(errs...)
}

// stopPostgres stops an embedded server, if one runs or ran: a socket lock that a kill left is tidied up too.
func (s *server) stopPostgres(ctx context.Context, name string, port int) error {
	if _, err := os.Stat(filepath.Join(s.config.Data, "postgres-"+name, "data", "postmaster.pid")); err != nil {
		return nil //nolint:nilerr // none runs
	}
	cluster, err := s.startPostgres(ctx, name, port)
	if err != nil {
		return err
	}
	return cluster.Stop(ctx)
}
