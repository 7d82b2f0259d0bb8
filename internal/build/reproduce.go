package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/release"
)

// ReproduceOptions says which release to build again, and from what.
type ReproduceOptions struct {
	Ref     string // "acme@sha256:…" or "acme:r2" in the registry, or a reference that names a host
	Source  string // folder of a Git repository that has the release's commit
	Base    string // where the release's base is: reference, oci:FOLDER or rootfs:FILE; default: where the release says
	BaseDir string // what relative folders and files in the base are relative to

	Waybill  string // version of this Waybill
	Registry Registry
	Cache    string                           // folder; default: the user's cache folder
	Progress func(format string, args ...any) // one line each; may be nil
}

// Reproduce builds a release again from what it says of itself, pushes nothing, and compares. An
// error means that it could not be built again; that it came out differently is in the Comparison.
func Reproduce(ctx context.Context, o ReproduceOptions) (Comparison, error) {
	compared, err := reproduce(ctx, o)
	if err != nil {
		return Comparison{}, fmt.Errorf("reproducing %s: %w", o.Ref, err)
	}
	return compared, nil
}

func reproduce(ctx context.Context, o ReproduceOptions) (Comparison, error) {
	opened, err := openRelease(ctx, o.Ref, o.Registry)
	if err != nil {
		return Comparison{}, err
	}
	rel := opened.Release
	var notes []string
	if rel.Waybill != o.Waybill {
		notes = append(notes, fmt.Sprintf("the release was built by Waybill %s, this is Waybill %s; if the bridge differs, take that version", orUnknown(rel.Waybill), orUnknown(o.Waybill)))
	}
	if len(rel.Addons) == 0 {
		notes = append(notes, "the release does not say which folders its addons came from; the folder \"addons\" is taken")
	}
	options, err := buildAgain(ctx, o, rel)
	if err != nil {
		return Comparison{}, err
	}
	made, err := makeImage(ctx, options)
	if err != nil {
		return Comparison{}, err
	}
	defer made.close()
	// Where the base was found this time is not what is compared, nor who compares.
	again := made.release
	again.Base.Reference, again.Waybill, again.BridgeProtocol = rel.Base.Reference, rel.Waybill, bridge.Protocol
	if len(rel.Addons) == 0 {
		again.Addons = nil
	}
	annotated, err := annotations(again, made.below)
	if err != nil {
		return Comparison{}, err
	}
	rebuilt, ok := mutate.Annotations(made.image, annotated).(v1.Image)
	if !ok {
		return Comparison{}, errors.New("the image cannot be annotated")
	}
	compared, err := compareImages(ctx, opened, rebuilt, made.below)
	if err != nil {
		return Comparison{}, err
	}
	compared.Release, compared.Name, compared.Commit, compared.Base, compared.Notes = rel.Digest, rel.Name, rel.Commit, rel.Base.Digest, notes
	return compared, nil
}

func orUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}

// buildAgain are the options that the release was built with, as it tells them.
func buildAgain(ctx context.Context, o ReproduceOptions, rel release.Release) (Options, error) {
	switch {
	case rel.Dirty:
		return Options{}, fmt.Errorf("it was built from uncommitted changes on top of commit %.12s, which no repository holds; commit them and build anew", rel.Commit)
	case rel.BridgeProtocol != bridge.Protocol:
		return Options{}, fmt.Errorf("it carries a bridge of protocol %d, and this Waybill's is %d: take the Waybill that built it (%s)", rel.BridgeProtocol, bridge.Protocol, orUnknown(rel.Waybill))
	}
	repo, err := openRepository(ctx, o.Source)
	if err != nil {
		return Options{}, err
	}
	if !repo.bare { // the release names folders from the repository's root
		top, err := repo.git(ctx, "rev-parse", "--show-toplevel")
		if err != nil {
			return Options{}, err
		}
		o.Source = strings.TrimSuffix(string(top), "\n")
	}
	if _, err := repo.resolve(ctx, rel.Commit); err != nil {
		return Options{}, fmt.Errorf("commit %.12s is not in %s; the release comes from %s: fetch it there (git fetch --all), or name a repository that has it with --source", rel.Commit, o.Source, rel.Source)
	}
	base, err := o.findBase(ctx, rel)
	if err != nil {
		return Options{}, err
	}
	return Options{
		Source: o.Source, Commit: rel.Commit, Addons: rel.Addons,
		Repository: rel.Repository, Name: rel.Name, Series: rel.Series, Experimental: true,
		Base: base, BaseDir: o.BaseDir, SourceURL: rel.Source, Waybill: rel.Waybill,
		Registry: o.Registry, Cache: o.Cache, Progress: o.Progress, afresh: true,
	}, nil
}

// findBase returns where the base of that very digest is.
func (o ReproduceOptions) findBase(ctx context.Context, rel release.Release) (string, error) {
	base := o.Base
	if base == "" {
		base = rel.Base.Reference
		if !strings.HasPrefix(base, layoutPrefix) && !strings.HasPrefix(base, rootfsPrefix) {
			ref, err := o.Registry.reference(base)
			if err != nil {
				return "", fmt.Errorf("base: %w", err)
			}
			// By its digest: the tag may have moved on. A name without a host keeps having none.
			base = strings.TrimPrefix(ref.Context().Digest(rel.Base.Digest).String(), o.Registry.Host+"/")
		}
	}
	cache, err := cacheDir(o.Cache)
	if err != nil {
		return "", err
	}
	const elsewhere = "name a place that has it: --base oci:FOLDER, rootfs:FILE or HOST/NAME@sha256:…"
	img, err := openBase(ctx, base, o.BaseDir, cache, o.Registry)
	if err != nil {
		return "", fmt.Errorf("the release stands on base %s (%s), which is not to be had: %w; %s", rel.Base.Reference, rel.Base.Digest, err, elsewhere)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("base %q: %w", base, err)
	}
	if digest.String() != rel.Base.Digest {
		return "", fmt.Errorf("the release stands on base %s (%s), and %s is %s now; %s", rel.Base.Reference, rel.Base.Digest, base, digest, elsewhere)
	}
	return base, nil
}

// made is an image that was made and not pushed.
type made struct {
	release release.Release // without its digest
	image   v1.Image
	below   int // how many of its layers are the base's
	recall  recall
	close   func()
}

// rootFolders are the addons folders from the repository's root, however they were named.
func rootFolders(folders []string) []string {
	list := make([]string, len(folders))
	for i, folder := range folders {
		if list[i] = folder; folder == "" {
			list[i] = "."
		}
	}
	slices.Sort(list)
	return list
}

func workFolder() (string, func(), error) {
	work, err := os.MkdirTemp("", "waybill-build-*")
	if err != nil {
		return "", nil, fmt.Errorf("no temporary folder in %s: %w", filepath.Clean(os.TempDir()), err)
	}
	return work, func() { os.RemoveAll(work) }, nil
}
