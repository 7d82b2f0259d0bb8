package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// ensureImage returns a reference by which the engine has the image, after pulling it if need be.
// An image that is there by digest is not asked for again, so that pools start while the
// registry is away.
func (r *Runtime) ensureImage(ctx context.Context, ref string) (string, error) {
	if ref == "" {
		return "", errors.New("image: the reference is empty")
	}
	_, err := r.api.ImageInspect(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if !cerrdefs.IsNotFound(err) {
		return "", r.fault(err, "inspect image %s", ref)
	}
	if other, err := r.sameDigest(ctx, ref); err != nil || other != "" {
		return other, err
	}
	return ref, r.pull(ctx, ref)
}

// sameDigest looks for the digest of ref under another repository name: a registry's port may
// have changed since the image was pulled.
func (r *Runtime) sameDigest(ctx context.Context, ref string) (string, error) {
	_, digest, ok := strings.Cut(ref, "@")
	if !ok {
		return "", nil
	}
	images, err := r.api.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return "", r.fault(err, "list images")
	}
	for _, image := range images.Items {
		for _, have := range image.RepoDigests {
			if strings.HasSuffix(have, "@"+digest) {
				return have, nil
			}
		}
	}
	return "", nil
}

func (r *Runtime) pull(ctx context.Context, ref string) error {
	log := r.log.With("image", ref)
	log.InfoContext(ctx, "pulling image")
	began := time.Now()
	auth, err := r.registryAuth(ctx, ref)
	if err != nil {
		return err
	}
	res, err := r.api.ImagePull(ctx, ref, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return r.pullFault(err, ref)
	}
	defer res.Close()
	progress := pullProgress{log: log, every: 5 * time.Second, shown: began, layers: map[string][2]int64{}}
	for msg, err := range res.JSONMessages(ctx) {
		if err != nil {
			return r.pullFault(err, ref)
		}
		if msg.Error != nil {
			return r.pullFault(msg.Error, ref)
		}
		if msg.Progress != nil && msg.Status == "Downloading" {
			progress.add(ctx, msg.ID, msg.Progress.Current, msg.Progress.Total)
		}
	}
	log.InfoContext(ctx, "pulled image", "seconds", time.Since(began).Seconds())
	return nil
}

// registryAuth is the engine's header with the credentials for ref's registry; empty: none.
func (r *Runtime) registryAuth(ctx context.Context, ref string) (string, error) {
	if r.opt.RegistryAuth == nil {
		return "", nil
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", ref, err)
	}
	a, err := authn.Resolve(ctx, r.opt.RegistryAuth, parsed.Context())
	if err != nil {
		return "", fmt.Errorf("credentials for registry %s: %w", parsed.Context().RegistryStr(), err)
	}
	c, err := authn.Authorization(ctx, a)
	if err != nil {
		return "", fmt.Errorf("credentials for registry %s: %w", parsed.Context().RegistryStr(), err)
	}
	if *c == (authn.AuthConfig{}) {
		return "", nil
	}
	return authconfig.Encode(registry.AuthConfig{
		Username: c.Username, Password: c.Password, Auth: c.Auth,
		IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
		ServerAddress: parsed.Context().RegistryStr(),
	})
}

// pullFault names the cause of a failed pull: the engine tells it in words only.
func (r *Runtime) pullFault(err error, ref string) error {
	host := ref
	if parsed, perr := name.ParseReference(ref); perr == nil {
		host = parsed.Context().RegistryStr()
	}
	msg := strings.ToLower(err.Error())
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(msg, p) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("pull image %s: %w", ref, err)
	case has("http response to https client"):
		return fmt.Errorf("pull image %s: registry %s speaks plain HTTP, which the Docker Engine refuses for other machines: give it TLS or list it under insecure-registries in /etc/docker/daemon.json: %w", ref, host, err)
	case has("x509", "certificate"):
		return fmt.Errorf("pull image %s: the Docker Engine does not trust the certificate of registry %s: put its CA at /etc/docker/certs.d/%s/ca.crt: %w", ref, host, host, err)
	case has("unauthorized", "denied", "no basic auth", "forbidden"):
		return fmt.Errorf("pull image %s: registry %s refuses: check the credentials for it and that they may read this repository: %w", ref, host, err)
	case has("manifest unknown", "not found", "name unknown", "does not exist"):
		return fmt.Errorf("pull image %s: registry %s has no such image: was it built and pushed there, or cleaned up since?: %w", ref, host, err)
	case has("no space left"):
		return fmt.Errorf("pull image %s: the disk of the Docker Engine is full: make room (docker system prune) and try again: %w", ref, err)
	case has("dial tcp", "connection refused", "no such host", "timeout", "connection reset", "network is unreachable", "awaiting headers", "eof", "bad gateway", "service unavailable", "gateway time"):
		if !strings.Contains(msg, "docker.sock") {
			return fmt.Errorf("pull image %s: registry %s does not answer: check that it runs and can be reached from this machine: %w: %w", ref, host, err, runtime.ErrUnavailable)
		}
	}
	return r.fault(err, "pull image %s", ref)
}

// pullProgress logs how far a pull is, now and then.
type pullProgress struct {
	log    *slog.Logger
	every  time.Duration
	shown  time.Time
	layers map[string][2]int64 // bytes: so far, in all
}

func (p *pullProgress) add(ctx context.Context, layer string, current, total int64) {
	p.layers[layer] = [2]int64{current, total}
	if time.Since(p.shown) < p.every {
		return
	}
	p.shown = time.Now()
	var have, all int64
	for _, l := range p.layers {
		have, all = have+l[0], all+l[1]
	}
	p.log.InfoContext(ctx, "pulling image", "mib", have>>20, "of_mib", all>>20)
}
