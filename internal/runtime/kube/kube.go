// Package kube runs pools, jobs and routers as objects of a Kubernetes cluster. It implements
// runtime.Runtime as package docker does, and knows nothing of tenants, databases or promotions.
//
// Every object is applied server-side under one field manager, has a name that follows from what it
// is for, and carries the labels of names.go, so that a call can be repeated after a crash. Nothing is
// remembered in the process. An environment is a namespace; a group of its own is another one.
//
// Waybill must reach pods and services by address: run it in the cluster, or on a node.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/folder"
)

var _ runtime.Runtime = (*Runtime)(nil)

// Options are what a Runtime needs to know.
type Options struct {
	Config *rest.Config // of the cluster
	// Prefix begins every name that Waybill makes outside its namespaces, theirs too, and distinguishes
	// the Waybills of one cluster; a DNS label of at most 20 characters.
	Prefix string

	// Volume names what filestores, sessions and the output of jobs are kept on: a PersistentVolume, or
	// namespace/name of the claim that is bound to it. DataDir is where this process sees its root.
	Volume  string
	DataDir string
	// Filestores are in a bucket instead; sessions must be in Redis then.
	Filestores *Filestores

	// Image names the image of the waybill binary, as the nodes can pull it. It is called only where
	// something is made from it: a router, or a pool, beside whose processes it runs as a witness.
	Image func(ctx context.Context) (ref string, err error)

	UID, GID   int      // of the processes and of their files
	PullSecret []byte   // .dockerconfigjson for the registry; empty: the nodes need none
	Namespace  string   // where this Waybill runs; empty: outside the cluster
	Reach      []string // namespaces that pools may reach: of PostgreSQL, Redis, a mail relay
	Traefik    Traefik
	Quota      map[string]string // of each namespace, by resource, for example requests.memory: 64Gi; nil: none but the count of pods

	Keeper Keeper // of what was declared; nil: nobody looks whether it stays so

	Patience time.Duration // with a pod that no node has room for; 0: two minutes, within which an autoscaler may bring one
	Log      *slog.Logger  // nil: silent
}

// Traefik says how people's requests reach the router; the zero value makes no route.
type Traefik struct {
	Namespace   string   // where Traefik runs
	EntryPoints []string // of Traefik; empty: its defaults
	Proxies     []string // networks of Traefik's pods, which may say who the client is
	TLSSecret   string   // in the environment's namespace; empty: that of the environment's certificate, or none
	Issuer      string   // cert-manager's ClusterIssuer for the secret; empty: somebody else fills it
}

// Runtime is a runtime.Runtime on a Kubernetes cluster.
type Runtime struct {
	opt   Options
	api   *dynamic.DynamicClient
	plain *http.Client // for logs, which are no objects
	owner *folder.Owner
	log   *slog.Logger
	hands *hands

	// Of a Rehearsal: the only address that its pods reach, one that they must not, and the image of the waybill binary, which tries both.
	reach       netip.AddrPort
	decoy, self string
	copies      string // folder here of what it copies, where filestores are in a bucket
	filesPort   uint16 // where the pods get at that copy, of the address that they reach, and
	filesToken  string // what lets them in
}

var prefixName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

// New returns a Runtime. It does not talk to the cluster yet: see Check.
func New(opt Options) (*Runtime, error) {
	if !prefixName.MatchString(opt.Prefix) {
		return nil, fmt.Errorf("kubernetes runtime: namespace prefix %q: expected 1 to 20 of a-z, 0-9 and -, beginning with a letter and ending with a letter or digit", opt.Prefix)
	}
	if opt.UID <= 0 || opt.GID <= 0 {
		return nil, fmt.Errorf("kubernetes runtime: user %d:%d: pods do not run as root; give an unprivileged user and group", opt.UID, opt.GID)
	}
	switch {
	case opt.Filestores != nil && (opt.Volume != "" || opt.DataDir != ""):
		return nil, fmt.Errorf("kubernetes runtime: volume %q and bucket %q for filestores: give one of them", opt.Volume, opt.Filestores.URL)
	case opt.Filestores == nil && (opt.Volume == "" || !filepath.IsAbs(opt.DataDir)):
		return nil, fmt.Errorf("kubernetes runtime: volume %q seen at %q: filestores are kept on a volume that Waybill and every pool mount, or in a bucket; name the volume, and the absolute path of its root here", opt.Volume, opt.DataDir)
	}
	if opt.Config == nil {
		return nil, errors.New("kubernetes runtime: no cluster was given")
	}
	for name, quantity := range opt.Quota {
		if _, err := resource.ParseQuantity(quantity); err != nil {
			return nil, fmt.Errorf("kubernetes runtime: quota of %s %q: %w", name, quantity, err)
		}
	}
	if opt.Patience == 0 {
		opt.Patience = 2 * time.Minute
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	config := rest.CopyConfig(opt.Config)
	config.QPS, config.Burst = 50, 100 // the client's own limits (5 a second) are for controllers of another time
	config.UserAgent = "waybill"
	plain, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubernetes runtime: client for %s: %w", config.Host, err)
	}
	api, err := dynamic.NewForConfigAndClient(config, plain)
	if err != nil {
		return nil, fmt.Errorf("kubernetes runtime: client for %s: %w", config.Host, err)
	}
	opt.Config = config
	return &Runtime{opt: opt, api: api, plain: plain, log: opt.Log, owner: &folder.Owner{UID: opt.UID, GID: opt.GID}, hands: &hands{}}, nil
}

// Close lets go of connections. Everything in the cluster stays as it is.
func (r *Runtime) Close() error {
	r.plain.CloseIdleConnections()
	return nil
}

// Leftovers lists what this Waybill has made and not taken away, as kind, namespace and name. It is
// empty once every environment was removed.
func (r *Runtime) Leftovers(ctx context.Context) ([]string, error) {
	var names []string
	kinds := []string{kindNamespace, kindDeployment, kindAutoscaler, kindJob, kindService, kindSecret, kindPod}
	if r.opt.Filestores == nil { // with a bucket there are no volumes, and no right to look for any
		kinds = append(kinds, kindVolume)
	}
	for _, kind := range kinds {
		all, err := r.list(ctx, kind, "", labels{})
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			names = append(names, kind+" "+o.GetNamespace()+"/"+o.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}
