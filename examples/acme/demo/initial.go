package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
)

// initial is what the story starts from: a database of test with r1's modules and something to
// sell in it. It is kept between runs as a checkpoint, with the keys that open it.
type initial struct {
	Checkpoint string       `json:"checkpoint"` // ENVIRONMENT/TENANT/ID; empty: there is none
	Clerk      string       `json:"clerk"`      // password; of a toy company on this machine
	Goods      client.Goods `json:"goods"`
}

const initialFile = "initial.json"

// kept are the folders of the data folder that a cached checkpoint needs.
var kept = []string{"keys", "objects"}

// cacheKey names what the initial database depends on: r1's files, the base image and the format.
func cacheKey(base string) (string, error) {
	key, err := acme.Fingerprint("r1")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "1\n%s\n", key)
	switch kind, path, _ := strings.Cut(base, ":"); kind {
	case "oci":
		index, err := os.ReadFile(filepath.Join(path, "index.json")) // holds the manifest's digest
		if err != nil {
			return "", fmt.Errorf("base image %s is no OCI layout: %w", base, err)
		}
		sum.Write(index)
	case "rootfs":
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("base image: %w", err)
		}
		fmt.Fprintln(sum, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// fromCache lays keys and checkpoints of an earlier run into the data folder, before the server
// starts. Nothing cached is no error.
func fromCache(cache, data, base string) (initial, error) {
	var i initial
	if cache != "" {
		key, err := cacheKey(base)
		if err != nil {
			return i, err
		}
		folder := filepath.Join(cache, key)
		content, err := os.ReadFile(filepath.Join(folder, initialFile))
		switch {
		case err == nil:
			if err := json.Unmarshal(content, &i); err != nil {
				return i, fmt.Errorf("%s: %w; remove the folder", folder, err)
			}
			for _, name := range kept {
				if err := copyFolder(filepath.Join(folder, name), filepath.Join(data, name)); err != nil {
					return i, fmt.Errorf("taking the initial database from the cache: %w", err)
				}
			}
			return i, nil
		case !errors.Is(err, fs.ErrNotExist):
			return i, err
		}
	}
	i.Clerk = rand.Text()
	return i, nil
}

// toCache keeps the initial database for the next run. The folder gets its name when it is whole.
func toCache(cache, data, base string, i initial) error {
	if cache == "" {
		return nil
	}
	key, err := cacheKey(base)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(cache, ".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	for _, name := range kept {
		if err := copyFolder(filepath.Join(data, name), filepath.Join(partial, name)); err != nil {
			return fmt.Errorf("keeping the initial database: %w", err)
		}
	}
	content, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, initialFile), content, 0o600); err != nil {
		return err
	}
	folder := filepath.Join(cache, key)
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(partial, folder)
}

// copyFolder copies files with their permissions: keys stay private.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case !info.Mode().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
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
	if err := s.cli.ask(ctx, &taken, "checkpoint", "create", "test/acme"); err != nil {
		return err
	}
	id, err := s.newestCheckpoint(ctx, "test/acme")
	if err != nil {
		return err
	}
	s.initial.Checkpoint = "test/acme/" + id
	return toCache(s.cache, s.data, s.base, s.initial)
}

// newestCheckpoint returns the id of a tenant's newest checkpoint.
func (s *story) newestCheckpoint(ctx context.Context, tenant string) (string, error) {
	var list []struct {
		ID string `json:"id"`
	}
	if err := s.cli.ask(ctx, &list, "checkpoint", "list", tenant); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("%s has no checkpoint, though one was taken", tenant)
	}
	return list[0].ID, nil
}
