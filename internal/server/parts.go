package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/redis/go-redis/v9"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// Ports only name the sockets of the embedded servers: neither listens on TCP.
const (
	statePort   = 5432
	tenantsPort = 5432
)

// containerUser runs Odoo where the server is root and may choose; otherwise containers run as the server's own user.
const containerUser = 10001

func containerUID() int {
	if own := os.Geteuid(); own != 0 {
		return own
	}
	return containerUser
}

// open starts or connects to everything, in the order of need.
func (s *server) open(ctx context.Context) (err error) {
	c := s.config
	if s.instance, err = instanceID(c.Data); err != nil {
		return err
	}
	if s.keys, err = makeKeys(c.Data, s.log); err != nil {
		return err
	}
	stateURL := c.DatabaseURL
	if stateURL == "" {
		if s.state, err = s.startPostgres(ctx, "state", statePort); err != nil {
			return err
		}
		stateURL = s.state.URL("postgres")
	}
	if s.store, err = store.Open(ctx, stateURL); err != nil {
		return err
	}
	if s.needsTenantsServer {
		if s.tenants, err = s.startPostgres(ctx, "tenants", tenantsPort); err != nil {
			return err
		}
	}
	if c.Bucket == "" {
		if err := os.MkdirAll(filepath.Join(c.Data, "objects"), 0o700); err != nil {
			return err
		}
	}
	if s.bucket, err = checkpoint.Open(ctx, s.bucketURL(), s.keys.Recipients(), []age.Identity{s.keys.Identity()}); err != nil {
		return fmt.Errorf("open the bucket: %w", err)
	}
	s.bucket.TempDir, s.bucket.Log = filepath.Join(c.Data, "tmp"), s.log
	if err := os.MkdirAll(s.bucket.TempDir, 0o700); err != nil {
		return err
	}
	s.registry = s.address
	if c.Registry != "" {
		s.registry = c.Registry
	}
	return s.openRuntime(ctx)
}

// bucketURL is where checkpoints are.
func (s *server) bucketURL() string {
	if s.config.Bucket != "" {
		return s.config.Bucket
	}
	return "file://" + filepath.Join(s.config.Data, "objects")
}

func (s *server) startPostgres(ctx context.Context, name string, port int) (*postgres.Cluster, error) {
	sockets := filepath.Join(s.config.Data, "run", name)
	if len(sockets) > 80 { // a socket's path holds 107 characters
		sockets = filepath.Join(os.TempDir(), "waybill-"+s.instance, name)
	}
	var preload []string
	if name == "tenants" { // how often each statement runs, for what locks mean to people
		preload = []string{"pg_stat_statements"}
	}
	return postgres.Start(ctx, postgres.Options{
		Dir: filepath.Join(s.config.Data, "postgres-"+name), Name: name, Port: port, SocketDir: sockets, Preload: preload,
		SuperUser: "waybill", Password: s.keys.Password("waybill", "postgres-"+name), Log: s.log,
	})
}

// auth is what the registry wants of whoever writes: the token of our own, or what the machine's
// Docker configuration holds for another.
func (s *server) auth() (authn.Authenticator, error) {
	if s.config.Registry == "" {
		return &authn.Basic{Username: "waybill", Password: s.keys.Token()}, nil
	}
	parsed, err := name.NewRegistry(strings.SplitN(s.config.Registry, "/", 2)[0])
	if err != nil {
		return nil, fmt.Errorf("the registry %q is no host[:port][/prefix]: %w", s.config.Registry, err)
	}
	return authn.DefaultKeychain.Resolve(parsed)
}

// images is the registry as package build knows it.
func (s *server) images() build.Registry {
	if s.config.Registry != "" {
		return build.Registry{Host: s.config.Registry}
	}
	return build.Registry{Host: s.registry, Plain: true, User: "waybill", Password: s.keys.Token(), Transport: s.itself}
}

// close ends connections and the embedded database of Waybill itself. The tenants' server goes on:
// people are working.
func (s *server) close() error {
	var errs []error
	for _, d := range s.databases {
		d.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
	if s.runtime != nil {
		errs = append(errs, s.runtime.Close())
	}
	if s.bucket != nil {
		errs = append(errs, s.bucket.Close())
	}
	if s.state != nil {
		stop, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		errs = append(errs, s.state.Stop(stop))
	}
	return errors.Join(errs...)
}

func (s *server) rooms() promotion.Rooms {
	return promotion.Rooms{
		Trusted: s.trust(newIntact()), Vulnerable: s.vulnerable,
		Store: s.store, Keys: s.keys, Checkpoints: s.bucket, Version: s.config.Version,
		Place: s.place, Gates: s.gates(), Declarations: s.declarations(),
		Secret: func(ctx context.Context, reference, purpose string) (string, error) {
			return s.secret(ctx, s.config.Estate, reference, purpose)
		},
		Image: func(r release.Release) string { return s.registry + "/" + r.Repository + "@" + r.Digest },
		Present: func(ctx context.Context, r release.Release) error {
			_, err := s.readRelease(ctx, r.Repository+"@"+r.Digest)
			return err
		},
		Checksums: func(ctx context.Context, r release.Release, rule odoo.ChecksumRule) (map[string]string, error) {
			return build.Checksums(ctx, r.Repository+"@"+r.Digest, rule, s.images(), filepath.Join(s.config.Data, "cache"))
		},
	}
}

func (s *server) readRelease(ctx context.Context, ref string) (release.Release, error) {
	return build.ReadRelease(ctx, ref, s.images())
}

// place finds where an environment lives: on this machine's engine, its databases in the server that
// the estate names or in the embedded one.
func (s *server) place(ctx context.Context, env estate.Environment) (promotion.Place, error) {
	place := promotion.Place{Runtime: s.runtime, Scale: func() runtime.Scale { return s.scaleNow(env) }}
	switch {
	case env.Database.URL == "" && s.tenants == nil:
		return place, fmt.Errorf("environment %s names no database server, and none was started when this server came up; restart it", env.Name)
	case env.Database.URL == "":
		place.Host, place.Port, place.AdminURL = bridge.PostgresDir, s.tenants.Port(), s.tenants.URL
	default:
		given, err := url.Parse(env.Database.URL)
		if err != nil {
			return place, fmt.Errorf("environment %s: database.url does not parse: %w", env.Name, err)
		}
		password, err := s.secret(ctx, s.config.Estate, env.Database.Password, "the database server of "+env.Name)
		if err != nil {
			return place, fmt.Errorf("environment %s: database.password: %w", env.Name, err)
		}
		if password != "" {
			given.User = url.UserPassword(given.User.Username(), password)
		}
		place.Host, place.Port = given.Hostname(), 5432
		if p := given.Port(); p != "" {
			if place.Port, err = strconv.Atoi(p); err != nil {
				return place, err
			}
		}
		place.AdminURL = func(name string) string {
			u := *given
			u.Path = "/" + name
			return u.String()
		}
	}
	var err error
	if place.Redis, err = s.redis(ctx, env); err != nil {
		return place, err
	}
	admin := place.AdminURL("postgres")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runtimes[env.Name] = place.Runtime
	if s.databases[admin] == nil {
		opened, err := database.Open(ctx, admin)
		if err != nil {
			return place, fmt.Errorf("connect to the PostgreSQL server of environment %s: %w", env.Name, err)
		}
		s.databases[admin] = opened
	}
	place.Databases = s.databases[admin]
	return place, nil
}

// redis says how an environment's Redis server is reached; nil where there is none.
func (s *server) redis(ctx context.Context, env estate.Environment) (*redis.Options, error) {
	if env.Redis.URL == "" {
		return nil, nil
	}
	options, err := redis.ParseURL(env.Redis.URL)
	if err != nil {
		return nil, fmt.Errorf("environment %s: redis.url does not parse: %w", env.Name, err)
	}
	if env.Redis.Password != "" {
		if options.Password, err = s.secret(ctx, s.config.Estate, env.Redis.Password, "the Redis server of "+env.Name); err != nil {
			return nil, fmt.Errorf("environment %s: redis.password: %w", env.Name, err)
		}
	}
	return options, nil
}

// doctor looks at what Waybill stands on.
func (s *server) doctor(ctx context.Context) []api.Finding {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var findings []api.Finding
	look := func(name, fix string, f func() (string, error)) {
		detail, err := f()
		if err != nil {
			findings = append(findings, api.Finding{Name: name, Detail: err.Error(), Fix: fix})
			return
		}
		findings = append(findings, api.Finding{Name: name, OK: true, Detail: detail})
	}
	look("own database", "start PostgreSQL, or look at postgres-state/server.log in the data folder", func() (string, error) {
		var version string
		err := s.store.Pool.QueryRow(ctx, "show server_version").Scan(&version)
		return "PostgreSQL " + version, err
	})
	look("estate", "mend the file that is named", func() (string, error) {
		declared, err := s.declared(ctx)
		if err != nil {
			return "", err
		}
		if _, err := gate.Compile(declared.Policies); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d environments, %d tenants", len(declared.Environments), len(declared.Tenants)), nil
	})
	look(s.engineName, s.engineFix, func() (string, error) { return s.engineVersion(ctx) })
	look("bucket", "check the bucket's address and credentials", func() (string, error) {
		ok, err := s.bucket.Bucket.IsAccessible(ctx)
		if err == nil && !ok {
			err = errors.New("the bucket does not answer")
		}
		return "accessible", err
	})
	if s.shown != nil {
		findings = append(findings, s.ownCertificate())
	}
	look("keys", "add a second recipient to keys/recipients.txt and keep its identity elsewhere", func() (string, error) {
		if n := len(s.keys.Recipients()); n < 2 {
			return "", fmt.Errorf("checkpoints are encrypted to %d recipient only", n)
		}
		return fmt.Sprintf("%d recipients", len(s.keys.Recipients())), nil
	})
	declared, err := s.declared(ctx)
	if err == nil {
		for _, env := range declared.Environments {
			look("database of "+env.Name, "start PostgreSQL, or update it to a current minor version", func() (string, error) {
				place, err := s.place(ctx, env)
				if err != nil {
					return "", err
				}
				survives, err := place.Databases.RoleSurvivesReset(ctx)
				if err == nil && !survives {
					err = errors.New("DISCARD ALL loses the role that ALTER ROLE … SET role gave (CVE-2024-10978)")
				}
				return "answers", err
			})
		}
	}
	if err == nil {
		findings = append(findings, s.baselines(ctx, declared)...)
	}
	look("notifications", "mend the target: waybill notify test TARGET", func() (string, error) { return s.toldPeople(ctx) })
	look("ledger", "see what was done to it: waybill ledger verify; docs/ledger.md says what to do", func() (string, error) { return s.checkLedger(ctx) })
	look("isolation", "see what was found: waybill isolation show ENVIRONMENT; docs/isolation.md says what to do", func() (string, error) { return s.tenantsApart(ctx) })
	look("calendars", "see: waybill calendar check", func() (string, error) { return s.calendarsOpen(ctx) })
	look("restored beside", "see why: waybill promotion list; then: waybill restore drop ENVIRONMENT/TENANT NAME", func() (string, error) { return s.besides(ctx) })
	look("offline key", "move the file off this machine", func() (string, error) {
		path := offlineKeyFile(s.config.Data)
		if _, err := os.Stat(path); err == nil {
			return "", fmt.Errorf("%s is still here", path)
		}
		return "not on this machine", nil
	})
	return findings
}
