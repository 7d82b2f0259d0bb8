package attest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/release"
)

// BuildType says what the parameters of a build mean; docs/trust.md explains it.
const BuildType = "https://github.com/waybill-dev/waybill/blob/main/docs/trust.md#build-v1"

// DefaultBuilder is the builder of a build whose caller named none.
const DefaultBuilder = "urn:waybill:builder:cli"

// Build is how a release came to be.
type Build struct {
	Release  release.Release
	Addons   []string // folders in the source
	Builder  string   // URI; empty: DefaultBuilder
	Version  string   // of Waybill
	Started  time.Time
	Finished time.Time
}

// The SLSA provenance v1 predicate (https://slsa.dev/spec/v1.0/provenance), as far as it is used.
type provenance struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType            string       `json:"buildType"`
	ExternalParameters   Parameters   `json:"externalParameters"`
	ResolvedDependencies []dependency `json:"resolvedDependencies"`
}

// Parameters are what a build was asked for: enough to do it again.
type Parameters struct {
	Source     string   `json:"source"` // URL, or the product's name where the repository has no remote
	Commit     string   `json:"commit"` // full Git commit
	Addons     []string `json:"addons"` // folders in the source
	Base       string   `json:"base"`   // image as the estate names it
	Repository string   `json:"repository"`
	Name       string   `json:"name"`
	Series     string   `json:"series"`
	Dirty      bool     `json:"dirty,omitempty"` // there were changes that the commit does not have
}

type dependency struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
	Name   string            `json:"name,omitempty"`
}

type runDetails struct {
	Builder  builder      `json:"builder"`
	Metadata *runMetadata `json:"metadata,omitempty"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type runMetadata struct {
	StartedOn  time.Time `json:"startedOn,omitzero"`
	FinishedOn time.Time `json:"finishedOn,omitzero"`
}

// Claim is the build's provenance.
func (b Build) Claim() Claim {
	r := b.Release
	if b.Builder == "" {
		b.Builder = DefaultBuilder
	}
	commit := dependency{URI: sourceURI(r.Source), Digest: map[string]string{"gitCommit": r.Commit}, Name: "source"}
	base := dependency{URI: r.Base.Reference, Digest: map[string]string{}, Name: "base"}
	if algorithm, hex, ok := strings.Cut(r.Base.Digest, ":"); ok {
		base.Digest[algorithm] = hex
	}
	return Claim{
		Type: Provenance,
		Predicate: provenance{
			BuildDefinition: buildDefinition{
				BuildType: BuildType,
				ExternalParameters: Parameters{Source: r.Source, Commit: r.Commit, Addons: b.Addons, Base: r.Base.Reference,
					Repository: r.Repository, Name: r.Name, Series: r.Series, Dirty: r.Dirty},
				ResolvedDependencies: []dependency{commit, base},
			},
			RunDetails: runDetails{
				Builder:  builder{ID: b.Builder, Version: map[string]string{"waybill": b.Version}},
				Metadata: &runMetadata{StartedOn: b.Started.UTC().Truncate(time.Second), FinishedOn: b.Finished.UTC().Truncate(time.Second)},
			},
		},
		Passing: []string{"runDetails.metadata"},
	}
}

// sourceURI is a source in the form that SLSA asks for: git+https://….
func sourceURI(source string) string {
	if strings.Contains(source, "://") {
		return "git+" + source
	}
	return source
}

// parseProvenance reads the predicate of a build of Waybill's.
func parseProvenance(predicate []byte) (provenance, error) {
	var p provenance
	if err := json.Unmarshal(predicate, &p); err != nil {
		return p, fmt.Errorf("the provenance does not parse: %w", err)
	}
	if p.BuildDefinition.BuildType != BuildType {
		return p, fmt.Errorf("the provenance is of build type %q; only builds of waybill are understood (%s)", p.BuildDefinition.BuildType, BuildType)
	}
	if p.RunDetails.Builder.ID == "" || p.BuildDefinition.ExternalParameters.Commit == "" {
		return p, fmt.Errorf("the provenance names no builder or no commit")
	}
	return p, nil
}
