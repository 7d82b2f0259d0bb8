package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is one image, with what is attached to it.
type Image interface {
	// Name is the repository's name, or the folder's.
	Name() string
	// Digest is that of the image's manifest, "sha256:…".
	Digest() string
	// Whole reads the manifest, the configuration and every layer and compares their digests. Layers for
	// which known answers true are not read. A *Refused says what was altered.
	Whole(ctx context.Context, known func(layer string) bool) error

	referrers(ctx context.Context) ([]v1.Descriptor, error)
	manifest(ctx context.Context, digest v1.Hash) ([]byte, error)
	blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
}

// Remote is an image in a registry. It is safe for concurrent use.
type Remote struct {
	repository name.Repository
	subject    v1.Descriptor
	auth       authn.Authenticator
	via        http.RoundTripper

	mu     sync.Mutex
	client *http.Client // may read; writes too once that was needed
	writes bool
}

// Open finds an image in a registry. auth nil is anonymous, via nil the way to any registry. A *Refused says that the manifest was altered.
func Open(ctx context.Context, ref name.Reference, auth authn.Authenticator, via http.RoundTripper) (*Remote, error) {
	r := in(ref.Context(), auth, via)
	content, kind, err := r.getManifest(ctx, ref.Identifier())
	if gone(err) {
		return nil, fmt.Errorf("image %s is not in the registry: %w", ref, err)
	}
	if err != nil {
		return nil, fmt.Errorf("find image %s: %w", ref, err)
	}
	if !kind.IsImage() {
		return nil, fmt.Errorf("%s is a %s, not one image", ref, kind)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if asked, ok := ref.(name.Digest); ok {
		wanted, err := v1.NewHash(asked.DigestStr())
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", ref, err)
		}
		if err := matches("image's manifest", content, wanted); err != nil {
			return nil, err
		}
	}
	r.subject = v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
	return r, nil
}

// Pushed is Open for an image that this process has just pushed: the registry is not asked for it again.
func Pushed(to name.Repository, image v1.Image, auth authn.Authenticator, via http.RoundTripper) (*Remote, error) {
	subject, err := partial.Descriptor(image)
	if err != nil {
		return nil, err
	}
	r := in(to, auth, via)
	r.subject = v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	return r, nil
}

func in(repository name.Repository, auth authn.Authenticator, via http.RoundTripper) *Remote {
	if auth == nil {
		auth = authn.Anonymous
	}
	if via == nil {
		via = remote.DefaultTransport
	}
	return &Remote{repository: repository, auth: auth, via: via}
}

// Name is the repository's name without the registry.
func (r *Remote) Name() string { return r.repository.RepositoryStr() }

// Digest is that of the image's manifest.
func (r *Remote) Digest() string { return r.subject.Digest.String() }

// Reference names the image with its registry.
func (r *Remote) Reference() string { return r.repository.Digest(r.Digest()).String() }

// Whole implements Image.
func (r *Remote) Whole(ctx context.Context, known func(string) bool) error {
	return whole(ctx, r, known)
}

func (r *Remote) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	content, _, err := r.getManifest(ctx, digest.String())
	if err != nil {
		return nil, err
	}
	return content, matches("manifest", content, digest)
}

// getManifest reads a manifest by tag or digest, without comparing it with anything.
func (r *Remote) getManifest(ctx context.Context, identifier string) ([]byte, types.MediaType, error) {
	answer, err := r.ask(ctx, http.MethodGet, "manifests/"+identifier, acceptManifests, nil)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := transport.CheckError(answer, http.StatusOK); err != nil {
		return nil, "", err
	}
	content, err := readAll(answer.Body, maxManifest)
	return content, types.MediaType(answer.Header.Get("Content-Type")), err
}

func (r *Remote) blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	answer, err := r.ask(ctx, http.MethodGet, "blobs/"+digest.String(), nil, nil)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(answer, http.StatusOK); err != nil {
		_ = answer.Body.Close()
		return nil, err
	}
	return answer.Body, nil
}

var acceptManifests = http.Header{"Accept": {strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2), string(types.OCIImageIndex), string(types.DockerManifestList),
}, ", ")}}

// ask sends one request about the repository. Whatever is not a GET is authorised to write.
func (r *Remote) ask(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	client, err := r.authorised(ctx, method != http.MethodGet)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: r.repository.Scheme(), Host: r.repository.RegistryStr(), Path: "/v2/" + r.repository.RepositoryStr() + "/"}
	request, err := http.NewRequestWithContext(ctx, method, u.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	return client.Do(request)
}

// authorised is a client that speaks the registry's way of authentication.
func (r *Remote) authorised(ctx context.Context, write bool) (*http.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && (r.writes || !write) {
		return r.client, nil
	}
	scope := transport.PullScope
	if write {
		scope = transport.PushScope
	}
	t, err := transport.NewWithContext(ctx, r.repository.Registry, r.auth, transport.NewRetry(r.via), []string{r.repository.Scope(scope)})
	if err != nil {
		return nil, err
	}
	r.client, r.writes = &http.Client{Transport: transport.NewUserAgent(t, "waybill")}, write
	return r.client, nil
}

// whole compares everything that an image consists of with its digests.
func whole(ctx context.Context, image Image, known func(string) bool) error {
	digest, err := v1.NewHash(image.Digest())
	if err != nil {
		return err
	}
	content, err := image.manifest(ctx, digest)
	if err != nil {
		return lost("manifest", digest, err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return refuse(Altered, mendStorage, "the manifest does not parse: %v", err)
	}
	for i, part := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		what := fmt.Sprintf("layer %d of %d", i, len(m.Layers))
		if i == 0 {
			what = "configuration"
		}
		if known != nil && known(part.Digest.String()) {
			continue
		}
		if err := intact(ctx, image, what, part); err != nil {
			return err
		}
	}
	return nil
}

// intact reads one part to its end.
func intact(ctx context.Context, image Image, what string, part v1.Descriptor) error {
	r, err := image.blob(ctx, part.Digest)
	if err != nil {
		return lost(what, part.Digest, err)
	}
	defer func() { _ = r.Close() }()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, part.Size+1))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a file cut short ends before its Content-Length
		return fmt.Errorf("read the %s (%s): %w", what, part.Digest, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != part.Size || got != part.Digest.Hex || part.Digest.Algorithm != "sha256" {
		return refuse(Altered, mendStorage, "the %s was altered: the manifest names %s with %d bytes, the registry has other content (sha256:%.12s…, %d bytes or more)", what, part.Digest, part.Size, got, n)
	}
	return nil
}

// matches compares content with the digest under which it was asked for.
func matches(what string, content []byte, digest v1.Hash) error {
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); digest.Algorithm != "sha256" || got != digest.Hex {
		return refuse(Altered, mendStorage, "the %s was altered: asked for %s, the registry gives sha256:%.12s…", what, digest, got)
	}
	return nil
}

// lost says whether a part is gone, which is final, or could not be read, which is not.
func lost(what string, digest v1.Hash, err error) error {
	var refused *Refused
	if errors.As(err, &refused) {
		return err
	}
	if gone(err) {
		return refuse(Altered, mendStorage, "the %s %s is missing", what, digest)
	}
	return fmt.Errorf("read the %s %s: %w", what, digest, err)
}

func gone(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return content, err
}
