package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/docker"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
	"github.com/waybill-dev/waybill/internal/selfimage"
)

// Kube says how pools run on Kubernetes.
type Kube struct {
	Config     string // kubeconfig; empty: KUBECONFIG, or the service account of the pod that this is
	Context    string // of the kubeconfig; empty: its current one
	Prefix     string // of the namespaces
	Volume     string // PersistentVolume, or namespace/claim, for filestores
	VolumeDir  string // where its root is here
	Filestores string // URL of a bucket for filestores, instead
	Reach      []string
	PullSecret string // file in the form of .dockerconfigjson
	Traefik    kube.Traefik
	Quota      map[string]string
	Rehearsals string // address of this machine at which the pods of rehearsals reach it; empty: the one from which it talks to the cluster
}

// engineRoom is where pools run: what the server asks beyond runtime.Runtime.
type engineRoom interface {
	runtime.Runtime
	Close() error
}

// openRuntime connects to where pools run. A cluster that is away does not keep the server from starting,
// as an engine does not; one that lacks something does.
func (s *server) openRuntime(ctx context.Context) error {
	image := func(ctx context.Context) (string, error) {
		auth, err := s.auth()
		if err != nil {
			return "", err
		}
		return selfimage.Push(ctx, s.registry, auth, s.images().Transport)
	}
	if s.config.Kube != nil {
		return s.openKube(ctx, *s.config.Kube, image)
	}
	uid := containerUID()
	options := docker.Options{Instance: s.instance, DataDir: s.config.Data, UID: uid, GID: uid, Log: s.log, RouterImage: image}
	if s.tenants != nil {
		options.PostgresSocketDir = s.tenants.SocketDir()
	}
	if s.config.Registry != "" {
		options.RegistryAuth = authn.DefaultKeychain
	}
	d, err := docker.New(options)
	if err != nil {
		return err
	}
	s.runtime, s.engineVersion = d, d.EngineVersion
	s.engineName, s.engineFix = "docker engine", "start it: systemctl start docker"
	return nil
}

func (s *server) openKube(ctx context.Context, k Kube, image func(context.Context) (string, error)) error {
	kept, err := s.newKeeper()
	if err != nil {
		return err
	}
	r, err := newKube(ctx, k, image, kept, s.log)
	if err != nil {
		return err
	}
	s.runtime = r
	s.engineName, s.engineFix = "kubernetes", "see that the cluster runs, and give Waybill what is named: docs/kubernetes.md"
	s.engineVersion = func(ctx context.Context) (string, error) {
		if err := r.Check(ctx); err != nil {
			return "", err
		}
		return r.Version(ctx)
	}
	if err := r.Check(ctx); errors.Is(err, runtime.ErrUnavailable) {
		s.log.Warn("the cluster is away; going on without it", "error", err)
	} else if err != nil {
		return err
	}
	return nil
}

// newKube is the runtime on a cluster; without kept nobody looks whether what it applies stays so.
func newKube(ctx context.Context, k Kube, image func(context.Context) (string, error), kept kube.Keeper, log *slog.Logger) (*kube.Runtime, error) {
	config, namespace, err := clusterConfig(k)
	if err != nil {
		return nil, err
	}
	var pull []byte
	if k.PullSecret != "" {
		if pull, err = os.ReadFile(k.PullSecret); err != nil {
			return nil, fmt.Errorf("the nodes' credentials for the registry: %w", err)
		}
	}
	uid := containerUID()
	opt := kube.Options{Config: config, Prefix: k.Prefix, Volume: k.Volume, Image: image, UID: uid, GID: uid,
		PullSecret: pull, Namespace: namespace, Reach: k.Reach, Traefik: k.Traefik, Quota: k.Quota, Keeper: kept, Log: log}
	if k.Filestores != "" {
		if opt.Filestores, err = openFilestores(ctx, k.Filestores); err != nil {
			return nil, err
		}
	} else if opt.DataDir, err = filepath.Abs(k.VolumeDir); err != nil {
		return nil, err
	}
	return kube.New(opt)
}

// credentials are the variables by which this process reaches buckets, and which an environment's gateway gets too.
var credentials = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}

func openFilestores(ctx context.Context, at string) (*kube.Filestores, error) {
	bucket, err := filestore.OpenBucket(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("the bucket for filestores: %w", err)
	}
	f := &kube.Filestores{Bucket: bucket, URL: at, Env: map[string]string{}}
	for _, name := range credentials {
		if value := os.Getenv(name); value != "" {
			f.Env[name] = value
		}
	}
	return f, nil
}

// podNamespace is where a pod finds the name of its namespace.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// clusterConfig finds the cluster, and the namespace of this pod where it is one.
func clusterConfig(k Kube) (*rest.Config, string, error) {
	if k.Config == "" && os.Getenv("KUBECONFIG") == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, "", fmt.Errorf("no Kubernetes was named: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account: %w", err)
		}
		namespace, err := os.ReadFile(podNamespace)
		if err != nil {
			return nil, "", fmt.Errorf("the namespace of this pod: %w", err)
		}
		return config, strings.TrimSpace(string(namespace)), nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // KUBECONFIG may name several files
	rules.ExplicitPath = k.Config
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.Context}).ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("the kubeconfig: %w", err)
	}
	return config, "", nil
}

// podsReach refuses environments that pods could not serve. shared says whether they have a folder in common.
func podsReach(declared *estate.Estate, shared bool) error {
	for _, env := range declared.Environments {
		if !shared && !env.Redis.Sessions {
			return fmt.Errorf("environment %s keeps sessions in files, and with filestores in a bucket its pods share no folder for them: set redis.sessions: true (docs/kubernetes.md)", env.Name)
		}
		if env.Database.URL == "" {
			return fmt.Errorf("environment %s names no database server: on Kubernetes, pods reach PostgreSQL by its URL only; give database.url (docs/kubernetes.md)", env.Name)
		}
	}
	return nil
}
