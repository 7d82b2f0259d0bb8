package main

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/initial"
)

// cached is where the database of test that the story starts from is kept between runs.
func (s *story) cached() initial.Cache {
	return initial.Cache{Folder: s.cache, Kind: "test", Base: s.base}
}

// createInitial makes test's database, or takes it from the cache, and has r1 serve it.
func (s *story) createInitial(ctx context.Context) error {
	create := []string{"tenant", "create", "test/acme", "--release", "r1"}
	if s.initial.Checkpoint != "" {
		s.say("The database of an earlier run is at hand as a checkpoint; test starts from it.")
		create = append(create, "--from", s.initial.Checkpoint)
	}
	if err := s.mustRun(ctx, create...); err != nil {
		return err
	}
	if err := s.promote(ctx, "r1", "test", promoted); err != nil {
		return err
	}
	goods, err := client.Seed{ClerkPassword: s.initial.Clerk}.Fill(ctx, s.test)
	if err != nil {
		return err
	}
	s.initial.Goods = goods
	if s.initial.Checkpoint != "" {
		return nil
	}
	var taken promotion
	if err := s.cli.Ask(ctx, &taken, "checkpoint", "create", "test/acme"); err != nil {
		return err
	}
	id, err := s.newestCheckpoint(ctx, "test/acme")
	if err != nil {
		return err
	}
	s.initial.Checkpoint = "test/acme/" + id
	return s.cached().Keep(s.data, s.initial)
}

// newestCheckpoint returns the id of a tenant's newest checkpoint.
func (s *story) newestCheckpoint(ctx context.Context, tenant string) (string, error) {
	var list []struct {
		ID string `json:"id"`
	}
	if err := s.cli.Ask(ctx, &list, "checkpoint", "list", tenant); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("%s has no checkpoint, though one was taken", tenant)
	}
	return list[0].ID, nil
}
