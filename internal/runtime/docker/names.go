package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// Labels of everything that Waybill makes in an engine.
const (
	labelInstance    = "dev.waybill.instance"
	labelEnvironment = "dev.waybill.environment"
	labelGroup       = "dev.waybill.group"
	labelPool        = "dev.waybill.pool"
	labelRole        = "dev.waybill.role"
	labelJob         = "dev.waybill.job"
	labelSpec        = "dev.waybill.spec"    // hash of what the container was made from
	labelImage       = "dev.waybill.image"   // as it was asked for
	labelWorkers     = "dev.waybill.workers" // of a pool
)

// The roles of containers. Those of a pool are also the value of WAYBILL_ROLE.
const (
	roleWeb       = "web"
	roleWebsocket = "websocket"
	roleCron      = "cron"
	roleUpdate    = "update"
	roleRouter    = "router"
)

// sharedGroup is the group of pools that no tenant has for itself; its network is the environment's.
const sharedGroup = "shared"

var instanceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

// labels are values by label, where an empty value stands for any; an empty map means everything
// of the instance.
type labels map[string]string

func (r *Runtime) filters(want labels) client.Filters {
	f := client.Filters{}.Add("label", labelInstance+"="+r.opt.Instance)
	for k, v := range want {
		if v != "" {
			k += "=" + v
		}
		f = f.Add("label", k)
	}
	return f
}

// name is the name of a container or network of an environment.
func (r *Runtime) name(environment, what string) string {
	return "waybill-" + r.opt.Instance + "-" + environment + "-" + what
}

func poolContainer(pool, role string) string { return "pool-" + pool + "-" + role }
func jobContainer(job string) string         { return "job-" + job }

// alias is the name by which the router finds a process of a pool. It is a network alias and not
// the container's name, which can be longer than a DNS label may be. It survives a restart of
// the engine, where addresses change.
func alias(pool, role string) string { return pool + "-" + role }

// specHash is the hash of anything that JSON can hold.
func specHash(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("hash of a container's specification: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12]), nil
}

// The folders of an environment.
func (r *Runtime) environmentDir(environment string) string {
	return filepath.Join(r.opt.DataDir, "environments", environment)
}

func (r *Runtime) routerDir(environment string) string {
	return filepath.Join(r.environmentDir(environment), "router")
}

func (r *Runtime) tlsDir(environment string) string {
	return filepath.Join(r.environmentDir(environment), "tls")
}

func (r *Runtime) poolDir(environment, pool string) string {
	return filepath.Join(r.environmentDir(environment), "pools", pool)
}

func (r *Runtime) jobDir(environment, job string) string {
	return filepath.Join(r.environmentDir(environment), "jobs", job)
}

// Filestore is where the files of a database are: Odoo's own folder.
func (r *Runtime) Filestore(environment, group, database string) filestore.Store {
	return filestore.Dir(filepath.Join(r.DataDir(environment, group), "filestore", database))
}

// DataDir is the folder on this machine that a group's pools see as /var/lib/odoo: filestore and
// sessions. Removing an environment leaves it in place.
func (r *Runtime) DataDir(environment, group string) string {
	return filepath.Join(r.environmentDir(environment), "data", group)
}

// EnsureDataDir makes the folder for the containers' user.
func (r *Runtime) EnsureDataDir(environment, group string) error {
	return r.owner.Make(r.DataDir(environment, group), 0o700)
}
