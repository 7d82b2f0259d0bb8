package build

import (
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Locate says where an image is, and how one identifies oneself there: "acme@sha256:…" or "acme:r2"
// in Waybill's registry, or a reference that names a host.
func (r Registry) Locate(ref string) (name.Reference, authn.Authenticator, error) {
	parsed, err := r.reference(ref)
	if err != nil {
		return nil, nil, err
	}
	if r.own(parsed) {
		return parsed, &authn.Basic{Username: r.User, Password: r.Password}, nil
	}
	auth, err := authn.DefaultKeychain.Resolve(parsed.Context())
	return parsed, auth, err
}

// own says whether a reference lies where the registry's own user and password count. Elsewhere, and
// where it has none, the docker client's logins do.
func (r Registry) own(ref name.Reference) bool {
	return r.User != "" && ref.Context().RegistryStr() == r.Host
}
