package server

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime/docker"
)

// rehearsalShares is the weight of a rehearsal's containers beside production's on one machine, whose default is 1024.
const rehearsalShares = 128

// rehearsals makes the queue of rehearsals. Their containers have a PostgreSQL socket and no network.
func (s *server) rehearsals() *rehearsal.Queue {
	rooms := rehearsal.Rooms{
		Checkpoints: s.bucket, Log: s.log,
		Image: func(r release.Release) string { return s.registry + "/" + r.Repository + "@" + r.Digest },
		Jobs: func(instance, dataDir, socketDir string) (rehearsal.Jobs, error) {
			if s.config.Kube != nil {
				return nil, errors.New("rehearsals do not run on Kubernetes yet; without one, a release counts as breaking")
			}
			uid := containerUID()
			options := docker.Options{Instance: instance, DataDir: dataDir, UID: uid, GID: uid, PostgresSocketDir: socketDir,
				NoNetwork: true, CPUShares: rehearsalShares, Log: s.log}
			if s.config.Registry != "" {
				options.RegistryAuth = authn.DefaultKeychain
			}
			return docker.New(options)
		},
	}
	declared := s.declared
	server := func(ctx context.Context, env estate.Environment) (string, error) {
		place, err := s.place(ctx, env)
		if err != nil {
			return "", err
		}
		return place.AdminURL("postgres"), nil
	}
	return rehearsal.NewQueue(rehearsal.New(filepath.Join(s.config.Data, "rehearsals"), rooms), s.store, declared, server, rehearsal.Limits{})
}
