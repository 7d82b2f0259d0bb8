package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Registry is Waybill's own registry, or the one that stands in for it: names without a host are
// looked for there and nowhere else.
type Registry struct {
	Host     string // host:port
	Plain    bool   // HTTP instead of HTTPS; always so for localhost and 127.0.0.0/8
	User     string // to write; empty: as the docker client is logged in
	Password string

	Transport http.RoundTripper // how it is reached; nil: as any registry

	// For tests, that need not wait as long as people do.
	patience time.Duration   // how long it may be silent; default: defaultPatience
	retry    *remote.Backoff // between tries; default: one second, then three
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// reference makes "acme@sha256:…" or "odoo:19.0" one in Waybill's registry, and leaves alone what
// names a host.
func (r Registry) reference(ref string) (name.Reference, error) {
	var options []name.Option
	if !hasHost(ref) {
		if r.Host == "" {
			return nil, fmt.Errorf("image %q names no registry, and none is configured", ref)
		}
		ref = r.Host + "/" + ref
	}
	if r.Plain && strings.HasPrefix(ref, r.Host+"/") {
		options = append(options, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return nil, fmt.Errorf("image %q is no reference: expected NAME:TAG, NAME@sha256:… or HOST/NAME:TAG", ref)
	}
	return parsed, nil
}

// hasHost follows Docker's rule: what is before the first slash is a host when it has a dot, a
// colon, or is localhost.
func hasHost(ref string) bool {
	first, _, ok := strings.Cut(ref, "/")
	return ok && (strings.ContainsAny(first, ".:") || first == "localhost")
}

func (r Registry) options(ctx context.Context, ref name.Reference) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithUserAgent("waybill"), remote.WithJobs(4), remote.WithTransport(r.via())}
	if r.retry != nil {
		options = append(options, remote.WithRetryBackoff(*r.retry))
	}
	if r.own(ref) {
		return append(options, remote.WithAuth(&authn.Basic{Username: r.User, Password: r.Password}))
	}
	return append(options, remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

func (r Registry) via() http.RoundTripper {
	p := &patient{r.Transport, r.patience}
	if p.next == nil {
		p.next = remote.DefaultTransport
	}
	if p.patience == 0 {
		p.patience = defaultPatience
	}
	return p
}

// push uploads what the registry does not have yet. The manifest goes last, so that an interrupted
// push leaves nothing that can be pulled. The registry is not asked for layers that are known to have arrived
// earlier; where it refuses the manifest for one that is gone again, everything is looked at anew.
func (r Registry) push(ctx context.Context, repository, tag string, img v1.Image, known recall) error {
	ref, err := r.reference(repository + ":" + tag)
	if err != nil {
		return err
	}
	options, earlier := r.options(ctx, ref), known.arrived(ref.Context())
	layers := earlier.layers()
	err = remote.Write(ref, img, append(options, remote.WithTransport(supposing{r.via(), layers}))...)
	if refused := (*transport.Error)(nil); len(layers) > 0 && errors.As(err, &refused) {
		earlier.forget()
		err = remote.Write(ref, img, options...)
	}
	if err != nil {
		return fmt.Errorf("pushing %s: %w. No release was made; build again, and what has arrived is not sent again", ref, explain(err))
	}
	earlier.remember(img)
	return nil
}

// explain adds the way out to a registry's refusals.
func explain(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no registry answers there: %w; Waybill's own runs with: waybill up", err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("the registry, or something before it, cut the connection: %w", err)
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		switch refused.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("the registry refused: %w; check the registry's user and password", err)
		case http.StatusNotFound:
			return fmt.Errorf("it is not there: %w", err)
		}
		if refused.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("the registry failed (%d %s); its own log says why: %w", refused.StatusCode, http.StatusText(refused.StatusCode), err)
		}
	}
	return err
}

func notFound(err error) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}
