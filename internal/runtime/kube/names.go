package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
)

// manager is the field manager of everything that Waybill applies.
const manager = "waybill"

// counter is the field manager of a count of replicas that an autoscaler moves from then on.
const counter = "waybill-scale"

// Labels of everything that Waybill makes in a cluster.
const (
	labelInstance    = "waybill.dev/instance" // the prefix
	labelEnvironment = "waybill.dev/environment"
	labelGroup       = "waybill.dev/group"
	labelPool        = "waybill.dev/pool"
	labelRole        = "waybill.dev/role"
	labelJob         = "waybill.dev/job"
)

// Annotations.
const (
	noteImage   = "waybill.dev/image"   // as it was asked for
	noteWorkers = "waybill.dev/workers" // of a pool
	noteFiles   = "waybill.dev/files"   // on a pod: its files have changed, look
	noteDigests = "waybill.dev/digests" // on a namespace: the images that may run in it, separated by spaces
)

// The roles of processes. Those of a pool are also the value of WAYBILL_ROLE.
const (
	roleWeb       = "web"
	roleWebsocket = "websocket"
	roleCron      = "cron"
	roleUpdate    = "update"
	roleRouter    = "router"
	roleFiles     = "files"     // the gateway to a bucket with filestores
	roleRehearsal = "rehearsal" // on a namespace
)

// sharedGroup is the group of pools that no tenant has for itself; its namespace is the environment's.
const sharedGroup = "shared"

// Names of objects, one of each in a namespace.
const (
	accountName   = "waybill"      // service account of the pods; it may do nothing
	claimName     = "data"         // of the volume
	routerName    = "router"       // deployment, service, pair
	tableName     = "router-table" // config map
	tlsName       = "router-tls"   // secret
	filesName     = "files"        // of the gateway: deployment, service, secret, budget
	pullName      = "registry"     // secret
	policyName    = "waybill"      // prefix of network policies
	quotaName     = "waybill"      // resource quota, limit range
	containerApp  = "app"          // the container that does the work
	containerSee  = "witness"      // the one beside it
	containerOut  = "results"      // beside a job that shares no folder with Waybill
	containerGate = "shut-in"      // the one before it, in a rehearsal
)

// labels are values by label, where an empty value stands for any.
type labels map[string]string

func (l labels) selector(prefix string) string {
	parts := []string{labelInstance + "=" + prefix}
	for k, v := range l {
		if v != "" {
			k += "=" + v
		}
		parts = append(parts, k)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// namespace is where an environment's pools of a group run.
func (r *Runtime) namespace(environment, group string) string {
	if group == sharedGroup || group == "" {
		return shorten(r.opt.Prefix + "-" + environment)
	}
	// Two hyphens: the group "b" of the environment "a" is not the environment "a-b".
	return shorten(r.opt.Prefix + "-" + environment + "--" + group)
}

// shorten makes a name fit into a DNS label; what is cut off, a hash stands for.
func shorten(name string) string {
	const most = 63
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	tail := "-" + hex.EncodeToString(sum[:5])
	return strings.TrimRight(name[:most-len(tail)], "-") + tail
}

func poolObject(pool, role string) string { return shorten("pool-" + pool + "-" + role) }
func poolFiles(pool string) string        { return shorten("pool-" + pool) }
func jobObject(job string) string         { return shorten("job-" + job) }

// The folders of an environment on the volume, below its root; the same below DataDir.
func environmentDir(environment string) string { return filepath.Join("environments", environment) }
func dataPath(environment, group string) string {
	return filepath.Join(environmentDir(environment), "data", group)
}
func jobPath(environment, job string) string {
	return filepath.Join(environmentDir(environment), "jobs", job)
}
func outPath(environment, job string) string { return filepath.Join(jobPath(environment, job), "out") }

// DataDir is the folder here that a group's pools see as /var/lib/odoo; empty where there is none, since filestores are in a bucket.
func (r *Runtime) DataDir(environment, group string) string {
	if r.opt.Filestores != nil {
		return ""
	}
	return filepath.Join(r.opt.DataDir, dataPath(environment, group))
}

// EnsureDataDir makes the folder for the pods' user, where there is one.
func (r *Runtime) EnsureDataDir(environment, group string) error {
	if r.opt.Filestores != nil {
		return nil
	}
	return r.owner.Make(r.DataDir(environment, group), 0o700)
}
