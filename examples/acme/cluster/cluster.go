// Package cluster is the Kubernetes that Acme is shown and tested on, with what an ERP there has beside it: PostgreSQL, Redis, Traefik,
// a registry and a volume, as hack/cluster.sh env, or the user, names them.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// Cluster is where everything is.
type Cluster struct {
	Prefix     string // of namespaces, of the repository, and name of Waybill's own database
	Kubeconfig string
	Node       string // address of a node
	Traefik    string // host:port of its entry point for people
	Registry   string // host:port/prefix
	Redis      *url.URL

	pods     string // network that Traefik's pods are in
	postgres *url.URL
	redis    string // URL without a password
	volume   string // PersistentVolume for filestores
	folder   string // where that is on this machine
	bucket   string // URL of a bucket for them instead; empty: none
}

// Where Waybill reads passwords from; the estate names them.
const (
	postgresPassword = "WAYBILL_KUBE_POSTGRES_PASSWORD" //nolint:gosec // a variable's name
	redisPassword    = "WAYBILL_KUBE_REDIS_PASSWORD"    //nolint:gosec // a variable's name
	registryPassword = "WAYBILL_KUBE_REGISTRY_PASSWORD" //nolint:gosec // a variable's name
)

// Open reads where everything is, makes Waybill's own database, and has everything that is started from now on find it, and the
// registry's password. Work is a folder of the user's own; the volume must be empty, since Clear empties it.
func Open(ctx context.Context, prefix, work string) (*Cluster, error) {
	c := &Cluster{Prefix: prefix}
	var server string
	for name, into := range map[string]*string{
		"KUBECONFIG": &c.Kubeconfig, "WAYBILL_KUBE_NODE": &c.Node, "WAYBILL_KUBE_TRAEFIK": &c.Traefik, "WAYBILL_KUBE_PODS": &c.pods,
		"WAYBILL_KUBE_REGISTRY": &c.Registry, "WAYBILL_KUBE_POSTGRES": &server, "WAYBILL_KUBE_REDIS": &c.redis,
		"WAYBILL_KUBE_VOLUME": &c.volume, "WAYBILL_KUBE_VOLUME_FOLDER": &c.folder,
		postgresPassword: new(string), redisPassword: new(string), registryPassword: new(string),
	} {
		if *into = os.Getenv(name); *into == "" {
			return nil, fmt.Errorf("%s is not set; say where the cluster is: eval \"$(hack/cluster.sh env)\", or docs/kubernetes.md for one of your own", name)
		}
	}
	c.bucket = os.Getenv("WAYBILL_KUBE_FILESTORES")
	given, err := url.Parse(server)
	if err != nil || given.Scheme != "postgres" || given.User == nil {
		return nil, fmt.Errorf("WAYBILL_KUBE_POSTGRES %q: expected postgres://USER@HOST:PORT", server)
	}
	given.User = url.UserPassword(given.User.Username(), os.Getenv(postgresPassword))
	c.postgres = given
	if entries, err := os.ReadDir(c.folder); err != nil || len(entries) > 0 {
		return nil, errors.Join(fmt.Errorf("the volume at %s must be empty, since what is left there is removed at the end", c.folder), err)
	}
	if c.Redis, err = url.Parse(c.redis); err != nil {
		return nil, fmt.Errorf("WAYBILL_KUBE_REDIS: expected redis://HOST:PORT/NUMBER: %w", err)
	}
	c.Redis.User = url.UserPassword("", os.Getenv(redisPassword)) // as nobody in particular
	own := pgx.Identifier{prefix}.Sanitize()
	// Nobody but its owner connects to it: the tenants' logins are on the same server.
	if err := c.do(ctx, "DROP DATABASE IF EXISTS "+own+" WITH (FORCE)", "CREATE DATABASE "+own, "REVOKE CONNECT ON DATABASE "+own+" FROM PUBLIC"); err != nil {
		return nil, err
	}
	if err := os.Setenv("WAYBILL_DATABASE_URL", c.DatabaseURL(prefix)); err != nil {
		return nil, err
	}
	docker := filepath.Join(work, "docker")
	if err := os.Mkdir(docker, 0o700); err != nil {
		return nil, err
	}
	login, err := json.Marshal(map[string]any{"auths": map[string]any{c.Registry: map[string]string{"username": "waybill", "password": os.Getenv(registryPassword)}}})
	if err != nil {
		return nil, err
	}
	c.Registry += "/" + prefix
	if err := os.WriteFile(filepath.Join(docker, "config.json"), login, 0o600); err != nil {
		return nil, err
	}
	return c, os.Setenv("DOCKER_CONFIG", docker)
}

func (c *Cluster) do(ctx context.Context, statements ...string) error {
	connection, err := pgx.Connect(ctx, c.DatabaseURL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the cluster's PostgreSQL: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := connection.Exec(ctx, statement); err != nil {
			return fmt.Errorf("the cluster's PostgreSQL: %s: %w", statement, err)
		}
	}
	return nil
}

// DatabaseURL has the password in it, so it is never shown.
func (c *Cluster) DatabaseURL(database string) string {
	u := *c.postgres
	u.Path = "/" + database
	u.RawQuery = url.Values{"application_name": {"waybill"}}.Encode()
	return u.String()
}

// Ports of the nodes that the routers of test and production listen on, for who comes past Traefik.
func (c *Cluster) Ports() [2]string {
	return [2]string{net.JoinHostPort(c.Node, "31070"), net.JoinHostPort(c.Node, "31069")}
}

// Servers are the fields of an environment that name the cluster's PostgreSQL and Redis.
func (c *Cluster) Servers() string {
	bare := *c.postgres
	bare.User = url.User(bare.User.Username())
	return strings.Join([]string{
		"database:", "  url: " + bare.String(), "  password: env:" + postgresPassword,
		"redis:", "  url: " + c.redis, "  password: env:" + redisPassword, "  sessions: true",
	}, "\n")
}

// Serve are the flags of `waybill serve`. Checkpoints stay in the data folder, where the initial database of an earlier run lies.
func (c *Cluster) Serve(data string) ([]string, error) {
	objects := filepath.Join(data, "objects")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return nil, err
	}
	return slices.Concat([]string{"--registry", c.Registry, "--bucket", "file://" + objects}, c.runtime()), nil
}

// runtime are the flags that say where pools run.
func (c *Cluster) runtime() []string {
	files := []string{"--volume", c.volume, "--volume-folder", c.folder}
	if c.bucket != "" {
		files = []string{"--filestores", c.bucket}
	}
	return append(files,
		"--runtime", "kube", "--kubeconfig", c.Kubeconfig, "--namespace-prefix", c.Prefix,
		"--traefik-namespace", "traefik", "--traefik-entrypoints", "web", "--traefik-networks", c.pods,
	)
}

// Clear takes away what was made: somebody else's cluster is no place to leave things in.
func (c *Cluster) Clear(ctx context.Context, down func(ctx context.Context, args ...string) error) error {
	err := down(ctx, append([]string{"down"}, c.runtime()...)...)
	if err != nil {
		return err
	}
	var drop []string
	for _, name := range []string{"acme_test", "acme_production", c.Prefix} {
		drop = append(drop, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	}
	return errors.Join(c.do(ctx, drop...), os.RemoveAll(filepath.Join(c.folder, "environments")), c.emptyBucket(ctx))
}

func (c *Cluster) emptyBucket(ctx context.Context) error {
	if c.bucket == "" {
		return nil
	}
	b, err := filestore.OpenBucket(ctx, c.bucket)
	if err != nil {
		return err
	}
	defer b.Close()
	return errors.Join(filestore.InBucket(b, "test/").RemoveAll(ctx), filestore.InBucket(b, "production/").RemoveAll(ctx))
}
