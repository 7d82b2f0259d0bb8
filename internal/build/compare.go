package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/release"
)

// Comparison is how a release and what was built again from its commit differ.
type Comparison struct {
	Name    string `json:"name"`
	Commit  string `json:"commit"`
	Base    string `json:"base"`    // digest
	Release string `json:"release"` // digest of the release's manifest
	Rebuilt string `json:"rebuilt"` // digest of the manifest as built now

	// Same says that every layer unpacks to the same bytes and that configuration and annotations
	// are equal. Release and Rebuilt are then equal too, unless the layers are packed differently.
	Same        bool              `json:"same"`
	Layers      []LayerComparison `json:"layers"`
	Differences []Difference      `json:"differences,omitempty"` // of the configuration and the annotations
	Notes       []string          `json:"notes,omitempty"`       // what a person should know before judging
}

// LayerComparison is how one layer differs. DiffIDs are digests of the unpacked layer, computed and
// not taken from the configuration; one is empty where there is no such layer.
type LayerComparison struct {
	What    string           `json:"what"` // "base 1", "bridge", "addons acme_lane"
	Release string           `json:"release,omitempty"`
	Rebuilt string           `json:"rebuilt,omitempty"`
	Same    bool             `json:"same"`
	Packed  bool             `json:"packed_differently,omitempty"` // same content, other blob
	Files   []FileDifference `json:"files,omitempty"`
	More    int              `json:"more,omitempty"` // differences beyond the limit
	Order   bool             `json:"order,omitempty"`
}

// Difference is a value of the configuration or an annotation; a side is empty where it has none.
type Difference struct {
	Field   string `json:"field"`
	Release string `json:"release"`
	Rebuilt string `json:"rebuilt"`
}

// maxDifferences is how many are listed, of the fields and of each layer's files.
const maxDifferences = 500

// compareImages compares what is in the registry with what was built again.
func compareImages(ctx context.Context, opened Opened, rebuilt v1.Image, below int) (Comparison, error) {
	var c Comparison
	theirs, err := describeLayers(opened.Image, opened.BaseLayers)
	if err != nil {
		return c, fmt.Errorf("the release's layers: %w", err)
	}
	ours, err := describeLayers(rebuilt, below)
	if err != nil {
		return c, fmt.Errorf("the rebuilt layers: %w", err)
	}
	digest, err := rebuilt.Digest()
	if err != nil {
		return c, err
	}
	c.Rebuilt, c.Same = digest.String(), true
	left := newBudget()
	for _, pair := range pairLayers(theirs, ours) {
		compared, err := pair.compare(ctx, left)
		if err != nil {
			return c, err
		}
		c.Layers = append(c.Layers, compared)
		c.Same = c.Same && compared.Same
	}
	if c.Differences, err = compareDocuments(opened.Image, rebuilt); err != nil {
		return c, err
	}
	c.Same = c.Same && len(c.Differences) == 0
	return c, nil
}

// namedLayer is a layer with what it is for.
type namedLayer struct {
	layer v1.Layer
	what  string
}

// describeLayers names the layers by their history; below is how many are the base's.
func describeLayers(img v1.Image, below int) ([]namedLayer, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	var history []string
	for _, h := range config.History {
		if !h.EmptyLayer {
			history = append(history, h.CreatedBy)
		}
	}
	named := make([]namedLayer, len(layers))
	for i, layer := range layers {
		what, ours := "", false
		if skipped := len(layers) - len(history); i >= skipped && i >= below {
			what, ours = strings.CutPrefix(history[i-skipped], "waybill: ")
		}
		switch {
		case i < below:
			what = fmt.Sprintf("base %d", i+1)
		case !ours:
			what = fmt.Sprintf("layer %d", i+1)
		}
		named[i] = namedLayer{layer, what}
	}
	return named, nil
}

type layerPair struct{ theirs, ours *namedLayer }

// pairLayers joins the layers of one purpose; what is left over is joined in its order.
func pairLayers(theirs, ours []namedLayer) []layerPair {
	taken := map[int]bool{}
	pairs := make([]layerPair, len(theirs))
	match := func(i int, fits func(namedLayer) bool) {
		for j := range ours {
			if !taken[j] && fits(ours[j]) {
				pairs[i].ours, taken[j] = &ours[j], true
				return
			}
		}
	}
	for i := range theirs {
		pairs[i].theirs = &theirs[i]
		match(i, func(n namedLayer) bool { return n.what == theirs[i].what })
	}
	for i := range pairs {
		if pairs[i].ours == nil {
			match(i, func(namedLayer) bool { return true })
		}
	}
	for j := range ours {
		if !taken[j] {
			pairs = append(pairs, layerPair{ours: &ours[j]})
		}
	}
	return pairs
}

func (p layerPair) compare(ctx context.Context, left *budget) (LayerComparison, error) {
	var c LayerComparison
	if p.theirs != nil && p.ours != nil {
		c.What = p.theirs.what
		same, err := sameBlob(p.theirs.layer, p.ours.layer)
		if err != nil {
			return c, err
		}
		if same {
			id, err := p.ours.layer.DiffID()
			c.Release, c.Rebuilt, c.Same = id.String(), id.String(), true
			return c, err
		}
	}
	var theirs, ours layerContent
	var err error
	if p.theirs != nil {
		c.What = p.theirs.what
		if theirs, err = listLayer(ctx, p.theirs.layer, left); err != nil {
			return c, fmt.Errorf("the release's %w", err)
		}
		c.Release = theirs.diffID
	}
	if p.ours != nil {
		if c.What == "" {
			c.What = p.ours.what
		}
		if ours, err = listLayer(ctx, p.ours.layer, newBudget()); err != nil {
			return c, fmt.Errorf("the rebuilt %w", err)
		}
		c.Rebuilt = ours.diffID
	}
	if c.Same = c.Release == c.Rebuilt; c.Same {
		c.Packed = true
		return c, nil
	}
	c.Files = compareFiles(theirs.files, ours.files)
	c.Order = len(c.Files) == 0
	if len(c.Files) > maxDifferences {
		c.More = len(c.Files) - maxDifferences
		c.Files = c.Files[:maxDifferences]
	}
	return c, nil
}

func sameBlob(a, b v1.Layer) (bool, error) {
	da, errA := a.Digest()
	db, errB := b.Digest()
	return da == db, errors.Join(errA, errB)
}

// compareDocuments compares configuration and annotations, value by value.
func compareDocuments(img, rebuilt v1.Image) ([]Difference, error) {
	theirs, err := documentFields(img)
	if err != nil {
		return nil, fmt.Errorf("the release's configuration: %w", err)
	}
	ours, err := documentFields(rebuilt)
	if err != nil {
		return nil, fmt.Errorf("the rebuilt configuration: %w", err)
	}
	var list []Difference
	names := sortedNames(theirs)
	for name := range ours {
		if _, ok := theirs[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if theirs[name] != ours[name] && len(list) < maxDifferences {
			list = append(list, Difference{Field: name, Release: theirs[name], Rebuilt: ours[name]})
		}
	}
	return list, nil
}

// documentFields are the values of an image's configuration and annotations by their place.
func documentFields(img v1.Image) (map[string]string, error) {
	fields := map[string]string{}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var config any
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	flatten("configuration", config, fields)
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	for key, value := range manifest.Annotations {
		var decoded any
		if key == release.Annotation && json.Unmarshal([]byte(value), &decoded) == nil {
			flatten("release", decoded, fields)
			continue
		}
		fields["annotation "+key] = value
	}
	return fields, nil
}

func flatten(place string, value any, into map[string]string) {
	switch value := value.(type) {
	case map[string]any:
		// Modules are known by their names, not by their numbers.
		for key, v := range value {
			flatten(place+"."+key, v, into)
		}
	case []any:
		for i, v := range value {
			at := fmt.Sprintf("%s[%d]", place, i)
			if m, ok := v.(map[string]any); ok {
				if name, ok := m["name"].(string); ok {
					at = fmt.Sprintf("%s[%s]", place, printable(name))
				}
			}
			flatten(at, v, into)
		}
	default:
		encoded, err := json.Marshal(value)
		if err != nil {
			encoded = fmt.Append(nil, value)
		}
		into[place] = string(encoded)
	}
}
