package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	bridgefiles "github.com/waybill-dev/waybill/bridge"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// Options says what to build, on what, and where to.
type Options struct {
	Source     string   // folder of a Git repository, or within one
	Commit     string   // default: HEAD, which then must have no uncommitted changes
	Addons     []string // folders of modules, relative to Source; default: addons
	AllowDirty bool     // build uncommitted changes, and mark the release

	Repository   string // name in the registry: the product's
	Name         string // what people call the release; default: the start of the commit
	Series       string // for example "19.0"
	Experimental bool   // allow a series that Waybill has not been tested with
	Base         string // reference, oci:FOLDER or rootfs:FILE; default: odoo:SERIES
	BaseDir      string // what relative folders and files in Base are relative to
	Waybill      string // version of Waybill; recorded, since the bridge in the image is its own
	SourceURL    string // recorded as the source; default: the URL of the remote "origin", else Repository

	// Check looks at the source before anything is made of it; its error refuses the build. May be nil.
	Check func(context.Context, SourceTree) error

	// Beside is given the image while it is pushed; its error ends that. Its layers may be read. May be nil.
	Beside func(context.Context, Opened) error

	Registry Registry
	Cache    string                           // folder; default: the user's cache folder
	Progress func(format string, args ...any) // one line each; may be nil

	afresh bool // nothing that an earlier build found out is taken over
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(format, args...)
	}
}

// Build makes a release and pushes it under its digest and its name. Building one commit on one
// base twice gives the same digest, whatever the machine. Nothing is left behind by a failure: a
// manifest is pushed only when all that it names is there.
func Build(ctx context.Context, o Options) (release.Release, error) {
	rel, err := build(ctx, o)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) { // what broke off first is not what people want to know
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	if err != nil {
		return release.Release{}, fmt.Errorf("build: %w", err)
	}
	return rel, nil
}

func build(ctx context.Context, o Options) (release.Release, error) {
	made, err := makeImage(ctx, o)
	if err != nil {
		return release.Release{}, err
	}
	defer made.close()
	rel := made.release
	digest, err := made.image.Digest()
	if err != nil {
		return release.Release{}, err
	}
	rel.Digest = digest.String()
	group, within := errgroup.WithContext(ctx)
	group.Go(func() error { return o.Registry.push(within, o.Repository, rel.Name, made.image, made.recall) })
	if o.Beside != nil {
		group.Go(func() error { return o.Beside(within, Opened{Release: rel, Image: made.image, BaseLayers: made.below}) })
	}
	if err := group.Wait(); err != nil {
		return release.Release{}, err
	}
	o.say("release %s: %s@%s", rel.Name, rel.Repository, rel.Digest)
	return rel, nil
}

// makeImage makes the image in a temporary folder, which goes with the result's close.
func makeImage(ctx context.Context, o Options) (*made, error) {
	info, err := odoo.Series(o.Series, o.Experimental)
	if err != nil {
		return nil, err
	}
	if o.Repository == "" {
		return nil, errors.New("no name for the product")
	}
	if o.Name != "" && !tagPattern.MatchString(o.Name) {
		return nil, fmt.Errorf("release name %q: expected letters, digits, dots, dashes and underscores, at most 128", o.Name)
	}
	if o.Base == "" {
		o.Base = "odoo:" + o.Series
	}
	cache, err := cacheDir(o.Cache)
	if err != nil {
		return nil, err
	}
	var known recall
	if !o.afresh {
		known = newRecall(cache)
	}
	// The base is opened while the source is read. Its layers are read within the same context later.
	within, cancel := context.WithCancel(ctx)
	opened := make(chan openedBase, 1)
	go func() { opened <- o.openBase(within, cache) }()
	src, err := readSource(ctx, o, info, known)
	if err != nil {
		cancel()
		<-opened
		return nil, err
	}
	work, remove, err := workFolder()
	if err != nil {
		cancel()
		<-opened
		src.close()
		return nil, err
	}
	// A layer may be written as late as when it is pushed, and then reads from the source.
	end := func() { src.close(); remove(); cancel() }
	o.say("%d modules at commit %s", len(src.modules), src.commit[:12])
	m, err := makeFrom(ctx, o, info, src, <-opened, &layerMaker{work: work, recall: known})
	if err != nil {
		end()
		return nil, err
	}
	m.close, m.recall = end, known
	return m, nil
}

// openedBase is a base that has been looked at.
type openedBase struct {
	image v1.Image
	scan  BaseScan
	err   error
}

func (o Options) openBase(ctx context.Context, cache string) (b openedBase) {
	if b.image, b.err = openBase(ctx, o.Base, o.BaseDir, cache, o.Registry); b.err != nil {
		return b
	}
	if b.scan, b.err = ScanBase(ctx, b.image, cache); b.err != nil {
		b.err = fmt.Errorf("%s: %w", o.Base, b.err)
	}
	return b
}

// makeFrom makes the image of a source that has been read on a base that has been opened.
func makeFrom(ctx context.Context, o Options, info odoo.SeriesInfo, src *source, base openedBase, maker *layerMaker) (*made, error) {
	if base.err != nil {
		return nil, base.err
	}
	scan := base.scan
	if scan.Series != o.Series {
		return nil, fmt.Errorf("base %s holds Odoo %s, and the product is of series %s", o.Base, scan.Series, o.Series)
	}
	scan.Base.Reference = o.Base
	o.say("base %s: Odoo %s (%s), %d modules", o.Base, scan.Base.Version, scan.Base.Python, len(scan.Base.Modules))

	rel, err := describe(o, info, src, scan.Base, maker.recall)
	if err != nil {
		return nil, err
	}
	return layUp(ctx, maker, src, base.image, rel)
}

// layUp makes the layers and puts them on the base.
func layUp(ctx context.Context, maker *layerMaker, src *source, base v1.Image, rel release.Release) (*made, error) {
	below, err := base.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading the base: %w", err)
	}
	addenda, err := makeLayers(ctx, maker, src, len(below))
	if err != nil {
		return nil, err
	}
	img, err := assemble(base, addenda, rel, len(below))
	if err != nil {
		return nil, err
	}
	return &made{release: rel, image: img, below: len(below)}, nil
}

// describe checks that the modules hold together and says what the release is.
func describe(o Options, info odoo.SeriesInfo, src *source, base release.Base, known recall) (release.Release, error) {
	rel := release.Release{
		Repository: o.Repository, Name: o.Name, Series: o.Series, Source: o.SourceURL,
		Commit: src.commit, Dirty: src.dirty, Created: src.created, Base: base, BridgeProtocol: bridge.Protocol,
		Addons: src.folders, Waybill: o.Waybill,
	}
	if rel.Name == "" {
		rel.Name = src.commit[:12]
		if src.dirty {
			rel.Name += "-dirty"
		}
	}
	rel.Source = cmp.Or(rel.Source, src.origin, o.Repository)
	byName := map[string]sourceModule{}
	for _, m := range src.modules {
		byName[m.name] = m
		if slices.ContainsFunc(base.Modules, func(b release.Module) bool { return b.Name == m.name }) {
			return release.Release{}, fmt.Errorf("%s: the base has a module %q of its own, and Odoo would take that one; rename yours or extend Odoo's", m.folder, m.name)
		}
		version, err := info.AdaptVersion(m.manifest.Version)
		if err != nil {
			return release.Release{}, fmt.Errorf("%s:%d: %w", m.file, m.manifest.Line("version"), err)
		}
		checksum, err := known.examined(m, func() (string, error) {
			if err := m.checkContents(); err != nil {
				return "", err
			}
			sum, err := m.checksum(odoo.ChecksumRule{})
			if err != nil {
				return "", fmt.Errorf("%s: %w", m.folder, err)
			}
			return sum, nil
		})
		if err != nil {
			return release.Release{}, err
		}
		depends := slices.Clone(m.manifest.Depends)
		slices.Sort(depends)
		rel.Modules = append(rel.Modules, release.Module{
			Name: m.name, Version: version, Depends: slices.Compact(depends),
			AutoInstall: m.manifest.AutoInstall, Checksum: checksum,
		})
	}
	_, err := odoo.NewGraph(rel.Modules, base.Modules)
	var missing *odoo.MissingDependencyError
	var cycle *odoo.CycleError
	switch {
	case errors.As(err, &missing):
		wanting := byName[missing.WantedBy[0]]
		return release.Release{}, fmt.Errorf("%s:%d: module %q is unknown: it is neither among the addons nor in base %s, and %s depends on it; add its folder to \"addons\" or take it off \"depends\"",
			wanting.file, wanting.manifest.Line("depends"), missing.Module, base.Reference, strings.Join(missing.WantedBy, ", "))
	case errors.As(err, &cycle):
		return release.Release{}, fmt.Errorf("%s: %w", byName[cycle.Modules[0]].file, err)
	}
	return rel, err
}

// makeLayers makes the product's layers and the bridge's.
func makeLayers(ctx context.Context, maker *layerMaker, src *source, below int) ([]addendum, error) {
	room := maxLayers - below - 1
	if room < 1 {
		return nil, fmt.Errorf("the base has %d layers, which leaves no room for others (Docker's limit is %d); flatten it: docker export, then base: rootfs:FILE", below, maxLayers)
	}
	files, err := bridgeFiles(fs.FS(bridgefiles.Files))
	if err != nil {
		return nil, err
	}
	layer, err := maker.layer(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("the bridge's layer: %w", err)
	}
	// The bridge is the lowest: it changes with Waybill, rarely.
	addenda := []addendum{{layer: layer, what: "bridge", created: folderTime}}
	for _, group := range groups(src.modules, room) {
		var files []layerFile
		var names []string
		newest := group[0].changed
		for _, m := range group {
			of, err := m.layerFiles()
			if err != nil {
				return nil, err
			}
			files = append(files, of...)
			names = append(names, m.name)
			if m.changed.After(newest) {
				newest = m.changed
			}
		}
		layer, err := maker.layer(ctx, files)
		if err != nil {
			return nil, fmt.Errorf("the layer of %s: %w", few(names), err)
		}
		addenda = append(addenda, addendum{layer: layer, what: "addons " + strings.Join(names, " "), created: newest})
	}
	return addenda, nil
}

// annotations are what the manifest says of the release.
func annotations(rel release.Release, baseLayers int) (map[string]string, error) {
	rel.Digest = ""
	encoded, err := json.Marshal(rel)
	if err != nil {
		return nil, err
	}
	return map[string]string{release.Annotation: string(encoded), baseLayersAnnotation: fmt.Sprint(baseLayers)}, nil
}
