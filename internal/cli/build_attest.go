package cli

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/sbom"
)

// signing is what a build says of itself, and with which key.
type signing struct {
	key     string // URI; empty: the data folder's own
	builder string // URI
	signer  crypto.Signer
	claims  []attest.Claim // what is known besides the provenance

	// What build finds out while it pushes.
	image   v1.Image
	authors []string // of the commit; addresses
}

// open finds the key before anything is built.
func (s *signing) open(ctx context.Context, a *app) (err error) {
	from := s.key
	if from == "" {
		from = filepath.Join(a.data, "keys", keys.SigningFile)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			return usagef("there is no key to sign the release with: the data folder %s has none. Make one for this machine: waybill key new FILE; then build with --key FILE, and trust FILE.pub in the estate (kind: Trust)", a.data)
		}
	}
	s.signer, err = keys.OpenSigner(ctx, from)
	return err
}

// build makes the release, and finds out while it is pushed what it is made of, and by whom.
func (s *signing) build(ctx context.Context, o build.Options) (release.Release, error) {
	o.Beside = func(ctx context.Context, opened build.Opened) (err error) {
		s.image = opened.Image
		if s.authors, err = authors(ctx, o.Source, opened.Release.Commit); err != nil {
			return err
		}
		materials, err := billOfMaterials(ctx, opened, o.Cache)
		s.claims = append(s.claims, materials)
		return err
	}
	return build.Build(ctx, o)
}

// attestBuild says how a release was built, and whatever else is known of it, and attaches that to the image.
func attestBuild(ctx context.Context, o build.Options, built release.Release, s *signing, started time.Time) ([]attest.Attached, error) {
	attached, err := func() ([]attest.Attached, error) {
		ref, auth, err := o.Registry.Locate(built.Repository + "@" + built.Digest)
		if err != nil {
			return nil, err
		}
		image, err := attest.Pushed(ref.Context(), s.image, auth, o.Registry.Transport)
		if err != nil {
			return nil, err
		}
		list := make([]attest.Attached, len(s.claims)+1)
		group, within := errgroup.WithContext(ctx)
		for i, claim := range s.claims {
			group.Go(func() (err error) {
				list[i], err = image.Attest(within, claim, s.signer)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		// The provenance last: where it is, all is.
		provenance := attest.Build{Release: built, Addons: o.Addons, Builder: s.builder, Version: version, Started: started, Finished: time.Now()}.Claim()
		list[len(list)-1], err = image.Attest(ctx, provenance, s.signer)
		return list, err
	}()
	if err != nil {
		return nil, fmt.Errorf("the image is in the registry as %s@%s, but it is not signed, so nothing will admit it: %w. Run the same build again: it does only what is missing", built.Repository, built.Digest, err)
	}
	return attached, nil
}

// billOfMaterials reads what the image is made of; the base's part is remembered.
func billOfMaterials(ctx context.Context, made build.Opened, cache string) (attest.Claim, error) {
	inventory, err := sbom.Of(ctx, made, cache)
	if err != nil {
		return attest.Claim{}, err
	}
	var document bytes.Buffer
	if err := inventory.WriteCompact(&document); err != nil {
		return attest.Claim{}, fmt.Errorf("write the bill of materials: %w", err)
	}
	return attest.BillOfMaterials(document.Bytes()), nil
}
