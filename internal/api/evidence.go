package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
)

// ReleaseEvidence is what speaks for a release, or against it: what is attached to its image, held against the trust
// of the estate's last environment.
type ReleaseEvidence struct {
	Environment  string                `json:"environment" doc:"Whose trust it is held against: the last one, which asks for most"`
	Unknown      string                `json:"unknown,omitempty" doc:"Why nothing is known"`
	Trusted      bool                  `json:"trusted"`
	Refusals     []ReleaseRefusal      `json:"refusals" doc:"What is asked for and does not hold"`
	Attestations []ReleaseAttestation  `json:"attestations"`
	Checks       *ReleaseChecks        `json:"checks,omitempty" doc:"As far as a trusted key signed them"`
	Known        *ReleaseVulnerability `json:"vulnerabilities,omitempty" doc:"By the estate's databases, now; accepted ones are left out"`
	KnownWhy     string                `json:"vulnerabilities_unknown,omitempty" doc:"Why they are not known"`
}

// ReleaseRefusal is one reason not to trust a release.
type ReleaseRefusal struct {
	Reason string `json:"reason"`
	WayOut string `json:"way_out"`
}

// ReleaseAttestation is something that was said of a release and signed.
type ReleaseAttestation struct {
	Type    string `json:"type"`
	OK      bool   `json:"ok"`
	Key     string `json:"key" doc:"As the estate calls it; its ID where it is not trusted"`
	Builder string `json:"builder,omitempty"`
	Source  string `json:"source,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Reason  string `json:"reason,omitempty" doc:"Why it does not count"`
}

// ReleaseChecks is what the checks found when it was built.
type ReleaseChecks struct {
	Skipped  string           `json:"skipped,omitempty" doc:"Why no check ran"`
	Ran      int              `json:"ran"`
	Modules  int              `json:"modules"`
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
	Notes    int              `json:"notes"`
	Accepted int              `json:"accepted"`
	Findings []ReleaseFinding `json:"findings" doc:"At most 200"`
}

// ReleaseFinding is one finding of a check.
type ReleaseFinding struct {
	Check    string `json:"check"`
	Severity string `json:"severity"`
	Place    string `json:"place"`
	Message  string `json:"message"`
	Fix      string `json:"fix"`
	Accepted string `json:"accepted,omitempty" doc:"Why it was let pass"`
}

// ReleaseVulnerability are numbers of known vulnerabilities by severity.
type ReleaseVulnerability struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
}

func (b Backend) evidenceRoutes(api huma.API) {
	huma.Get(api, "/api/v1/releases/{id}/evidence", func(ctx context.Context, in *IDInput) (*body[ReleaseEvidence], error) {
		r, err := b.Store.Release(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		return reply(b.Evidence(ctx, r))
	}, does(identity.ReleaseRead), describe("What speaks for a release, or against it", "Read from the registry; what cannot be had says why"))
	huma.Get(api, "/api/v1/releases/{id}/sbom", func(ctx context.Context, in *IDInput) (*struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}, error) {
		r, err := b.Store.Release(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		content, err := b.SBOM(ctx, r)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("the image of " + r.Name + " cannot be read: " + err.Error())
		}
		return &struct {
			ContentType string `header:"Content-Type"`
			Body        []byte
		}{"application/vnd.cyclonedx+json", content}, nil
	}, does(identity.ReleaseRead), describe("What a release is made of", "CycloneDX 1.6, read from the image: the same as waybill release sbom writes"))
}
