// Package stage brings Acme to life for whoever wants to act on it: a fresh data folder with a
// server, the releases built, and a production that serves r1 with something to sell. Tests and
// benchmarks stand on it. The initial database is made once and kept, between runs, as a
// checkpoint with the keys that open it.
//
// It works through the waybill binary, as a user would; it looks past it (into PostgreSQL, at the
// Docker Engine) only to see whether what the binary says is so.
package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/initial"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
)

// The one environment, its one tenant, and the tenant's database and host.
const (
	Environment = "production"
	Tenant      = "production/acme"
	Database    = "acme_production"
	Host        = "erp.acme.example"
	Clerk       = "clerk" // login of the crew
)

// Options say where a stage is built, and of what.
type Options struct {
	Binary   string        // waybill
	Folder   string        // absolute and short (a socket's path must fit into it); fresh
	Base     string        // the base image: oci:FOLDER or rootfs:FILE
	Cache    string        // where the initial database is kept between runs; empty: nowhere
	Releases []string      // to build, r1 among them; default: all of acme.Releases
	Hold     time.Duration // hold budget; default one minute
	Workers  int           // of production's pools; default 1
	Log      func(format string, args ...any)
}

// Stage is an Acme with a server. Its methods are not safe for concurrent use.
type Stage struct {
	Options
	Address string // host:port of the server
	Site    client.Site
	Server  *waybill.Server   // the one that is up; nil while none is
	Initial initial.Database  // of production
	Digests map[string]string // of the releases, by name

	TenantMore string // further lines of YAML of the tenant, for Declare
}

// Open builds a stage and returns it with the server up and production serving r1. On an error,
// everything that was started is stopped again.
func Open(ctx context.Context, o Options) (s *Stage, err error) {
	if len(o.Releases) == 0 {
		o.Releases = acme.Releases
	}
	if o.Hold == 0 {
		o.Hold = time.Minute
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	s = &Stage{Options: o, Digests: map[string]string{}}
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	router, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.Site = client.Site{Address: router, Host: Host, Database: Database, Patience: 3 * time.Minute}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
			s = nil
		}
	}()
	for _, act := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"write estate and addons", s.write},
		{"start the server", func(ctx context.Context) error { return s.Up(ctx) }},
		{"build the releases", s.build},
		{"create and seed production", s.create},
	} {
		began := time.Now()
		if err := act.do(ctx); err != nil {
			return s, fmt.Errorf("stage: %s: %w", act.what, err)
		}
		o.Log("stage: %s: %.0f s", act.what, time.Since(began).Seconds())
	}
	return s, nil
}

// Data is the server's data folder.
func (s *Stage) Data() string { return filepath.Join(s.Folder, "data") }

func (s *Stage) source() string { return filepath.Join(s.Folder, "source") }
func (s *Stage) estate() string { return filepath.Join(s.Folder, "estate") }

// write lays down the addons' repository, the estate, and what the cache has.
func (s *Stage) write(ctx context.Context) error {
	if entries, err := os.ReadDir(s.Folder); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty; name a fresh folder", s.Folder)
	}
	if err := os.MkdirAll(s.Data(), 0o755); err != nil {
		return err
	}
	if err := os.Chmod(s.Folder, 0o755); err != nil { // the databases' unprivileged user must get through
		return err
	}
	if _, err := acme.WriteSource(ctx, s.source()); err != nil {
		return err
	}
	if err := acme.WriteEstate(s.estate(), "", ""); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.estate(), "test.yaml")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.estate(), "product.yaml"), []byte(product), 0o644); err != nil {
		return err
	}
	if err := s.git(ctx, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	err := s.Declare(ctx, "")
	if err != nil {
		return err
	}
	s.Initial, err = s.cached().Take(s.Data())
	return err
}

// Declare commits production as it is, with more lines of YAML (whole ones) in its environment.
func (s *Stage) Declare(ctx context.Context, more string) error {
	content := fmt.Sprintf(production, s.Site.Address, s.Workers, s.Hold, more, Database, Host) + s.TenantMore
	if err := os.WriteFile(filepath.Join(s.estate(), "production.yaml"), []byte(content), 0o644); err != nil {
		return err
	}
	if err := s.git(ctx, "add", "-A"); err != nil {
		return err
	}
	return s.git(ctx, "-c", "user.name=Acme IT", "-c", "user.email=it@acme.example", "commit", "-q", "--no-gpg-sign", "-m", "Acme's estate")
}

func (s *Stage) git(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = s.estate()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v in the estate: %w: %s", args, err, out)
	}
	return nil
}

const product = `kind: Product
name: acme
series: "19.0"
base: odoo:19.0
addons: [addons]
environments: [production]
`

// production is quick to judge.
const production = `kind: Environment
name: production
runtime:
  docker:
    http: %s
workers: %d
hold_budget: %s
drain_limit: 10s
rollout:
  steps: [50]
  requests: 5
  step_deadline: 3m
  bake: 1s
%s---
kind: Tenant
name: acme
environment: production
database: %s
hosts: [%s]
modules: [acme_base, acme_dock, acme_label]
`

// build brings the base into the registry and builds the releases on it.
func (s *Stage) build(ctx context.Context) error {
	if err := s.Ask(ctx, nil, "base", "import", "--name", "odoo:19.0", s.Base); err != nil {
		return err
	}
	for _, name := range s.Releases {
		var built struct {
			Digest string `json:"digest"`
		}
		if err := s.Ask(ctx, &built, "build", "--source", s.source(), "--name", name, "--commit", name); err != nil {
			return err
		}
		if !strings.HasPrefix(built.Digest, "sha256:") {
			return fmt.Errorf("the build of %s answered the digest %q", name, built.Digest)
		}
		s.Digests[name] = built.Digest
	}
	return nil
}

// create makes production's database, from the cache where it can, and has r1 serve it.
func (s *Stage) create(ctx context.Context) error {
	cached := s.Initial.Checkpoint != ""
	make := []string{"tenant", "create", Tenant, "--release", "r1"}
	if cached {
		make = append(make, "--from", Tenant+"/"+s.Initial.Checkpoint)
	}
	if err := s.Ask(ctx, nil, make...); err != nil {
		return err
	}
	if err := s.Ask(ctx, nil, "promote", "r1", Environment); err != nil {
		return err
	}
	if cached {
		return nil
	}
	goods, err := client.Seed{ClerkPassword: s.Initial.Clerk, OddOrder: true}.Fill(ctx, s.Site)
	if err != nil {
		return err
	}
	s.Initial.Goods = goods
	if s.Initial.Checkpoint, err = s.Checkpoint(ctx); err != nil {
		return err
	}
	return s.cached().Keep(s.Data(), s.Initial)
}

// Checkpoint takes a checkpoint of the tenant and returns its id.
func (s *Stage) Checkpoint(ctx context.Context) (string, error) {
	if err := s.Ask(ctx, nil, "checkpoint", "create", Tenant); err != nil {
		return "", err
	}
	var list []struct {
		ID string `json:"id"`
	}
	if err := s.Ask(ctx, &list, "checkpoint", "list", Tenant); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("%s has no checkpoint, though one was taken", Tenant)
	}
	return list[0].ID, nil
}

// Promotion reads one promotion.
func (s *Stage) Promotion(ctx context.Context, id string) (api.Promotion, error) {
	var p api.Promotion
	err := s.Ask(ctx, &p, "promotion", "show", id)
	return p, err
}

// Newest reads the promotion that was asked last.
func (s *Stage) Newest(ctx context.Context) (api.Promotion, error) {
	var list []api.Promotion
	if err := s.Ask(ctx, &list, "promotion", "list", "--limit", "1"); err != nil {
		return api.Promotion{}, err
	}
	if len(list) == 0 {
		return api.Promotion{}, errors.New("no promotion is known")
	}
	return s.Promotion(ctx, list[0].ID)
}

// freeAddress is a port of this machine's loopback that nobody uses now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// cached is where the initial database is kept.
func (s *Stage) cached() initial.Cache {
	return initial.Cache{Folder: s.Cache, Kind: "production", Base: s.Base}
}
