package server

import (
	"context"
	"net/netip"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime/docker"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
)

// rehearsalShares is the weight of a rehearsal's containers beside production's on one machine, whose default is 1024.
const rehearsalShares = 128

// rehearsals makes the queue of rehearsals. Their containers reach the scratch server and nothing else.
func (s *server) rehearsals() *rehearsal.Queue {
	rooms := rehearsal.Rooms{
		Checkpoints: s.bucket, Log: s.log,
		Image: func(r release.Release) string { return s.registry + "/" + r.Repository + "@" + r.Digest },
		Jobs:  s.rehearseOnDocker,
	}
	if cluster, ok := s.runtime.(*kube.Runtime); ok {
		rooms.Jobs = func(ctx context.Context, at rehearsal.Room) (rehearsal.Jobs, error) {
			h, err := cluster.Rehearsal(ctx, at.ID, at.Server, at.DataDir)
			if err != nil {
				return nil, err
			}
			return h, nil
		}
		rooms.Files, rooms.Sweep, rooms.Address = cluster.DataRoot(), cluster.SweepRehearsals, cluster.OwnAddress
		if given := s.config.Kube.Rehearsals; given != "" {
			rooms.Address = func(context.Context) (netip.Addr, error) { return netip.ParseAddr(given) }
		}
	}
	declared := s.declared
	server := func(ctx context.Context, env estate.Environment) (string, error) {
		place, err := s.place(ctx, env)
		if err != nil {
			return "", err
		}
		return place.AdminURL("postgres"), nil
	}
	return rehearsal.NewQueue(s.instance, rehearsal.New(filepath.Join(s.config.Data, "rehearsals"), rooms), s.store, declared, server, rehearsal.Limits{})
}

// rehearseOnDocker gives a rehearsal's containers the scratch server's socket, and no network.
func (s *server) rehearseOnDocker(_ context.Context, at rehearsal.Room) (rehearsal.Jobs, error) {
	uid := containerUID()
	options := docker.Options{Instance: at.Instance, DataDir: at.DataDir, UID: uid, GID: uid, PostgresSocketDir: at.SocketDir,
		NoNetwork: true, CPUShares: rehearsalShares, Log: s.log}
	if s.config.Registry != "" {
		options.RegistryAuth = authn.DefaultKeychain
	}
	return docker.New(options)
}
