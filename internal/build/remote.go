package build

import (
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Locate says where an image is, and how one identifies oneself there: "acme@sha256:…" or "acme:r2"
// in Waybill's registry, or a reference that names a host.
func (r Registry) Locate(ref string) (name.Reference, authn.Authenticator, error) {
	parsed, err := r.reference(ref)
	switch {
	case err != nil:
		return nil, nil, err
	case parsed.Context().RegistryStr() != r.Host:
		auth, err := authn.DefaultKeychain.Resolve(parsed.Context())
		return parsed, auth, err
	case r.User != "":
		return parsed, &authn.Basic{Username: r.User, Password: r.Password}, nil
	}
	return parsed, authn.Anonymous, nil
}
