package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// Vulnerabilities is what is known to be vulnerable among what runs.
type Vulnerabilities struct {
	Declared     bool                    `json:"declared" doc:"Whether the estate has a kind: Vulnerabilities; without it nothing is compared"`
	Scanned      *time.Time              `json:"scanned,omitempty" doc:"When the running releases were last compared"`
	Newest       map[string]time.Time    `json:"newest,omitempty" doc:"The newest advisory by ecosystem"`
	Problems     []string                `json:"problems" doc:"What is wrong with the databases by the estate's rules"`
	Error        string                  `json:"error,omitempty" doc:"Why the last comparison failed; what was found before stands"`
	Running      int                     `json:"running" doc:"How many releases run, each counted in each environment"`
	Environments []VulnerableEnvironment `json:"environments" doc:"Those that run something of which the estate refuses or warns"`
}

// VulnerableEnvironment is an environment that runs something vulnerable.
type VulnerableEnvironment struct {
	Name     string              `json:"name"`
	Releases []VulnerableRelease `json:"releases"`
}

// VulnerableRelease is a release that runs, with what it has.
type VulnerableRelease struct {
	Name            string          `json:"name"`
	Digest          string          `json:"digest"`
	Vulnerabilities []Vulnerability `json:"vulnerabilities" doc:"The gravest first"`
}

// Vulnerability is one that a running release has.
type Vulnerability struct {
	ID        string    `json:"id"`
	Ecosystem string    `json:"ecosystem"`
	Component string    `json:"component"`
	Version   string    `json:"version"`
	Severity  string    `json:"severity"`
	Level     string    `json:"level" enum:"refuse,warn"`
	Detail    string    `json:"detail"`
	Fix       string    `json:"fix"`
	FirstSeen time.Time `json:"first_seen"`
}

func (b Backend) vulnerabilityRoutes(api huma.API) {
	huma.Get(api, "/api/v1/vulnerabilities", func(ctx context.Context, _ *struct{}) (*body[Vulnerabilities], error) {
		return reply(b.vulnerabilities(ctx))
	}, does(identity.VulnerabilityRead))
	huma.Post(api, "/api/v1/vulnerabilities/scan", func(ctx context.Context, _ *struct{}) (*body[Vulnerabilities], error) {
		if err := b.Rescan(ctx); err != nil {
			return nil, problem(err)
		}
		return reply(b.vulnerabilities(ctx))
	}, does(identity.VulnerabilityScan))
}

func (b Backend) vulnerabilities(ctx context.Context) (Vulnerabilities, error) {
	sees := b.sees(ctx, identity.VulnerabilityRead)
	declared, err := b.Estate(ctx)
	if err != nil {
		return Vulnerabilities{}, err
	}
	return b.vulnerabilitiesIn(ctx, declared, sees)
}

func (b Backend) vulnerabilitiesIn(ctx context.Context, declared *estate.Estate, sees func(environment string) bool) (Vulnerabilities, error) {
	v := Vulnerabilities{Problems: []string{}, Environments: []VulnerableEnvironment{}}
	if v.Declared = declared.Vulnerabilities != nil; !v.Declared {
		return v, nil
	}
	scan, err := b.Store.LastVulnerabilityScan(ctx)
	if err != nil {
		return v, err
	}
	v.Scanned, v.Newest, v.Error = scan.ScannedAt, scan.Newest, scan.Error
	v.Problems = append(v.Problems, scan.Problems...)
	rows, err := b.Store.Vulnerabilities(ctx)
	if err != nil {
		return v, err
	}
	running, err := b.Store.RunningReleases(ctx)
	if err != nil {
		return v, err
	}
	rows = slices.DeleteFunc(rows, func(row store.Vulnerability) bool { return !sees(row.Environment) })
	running = slices.DeleteFunc(running, func(row store.RunningRelease) bool { return !sees(row.Environment) })
	v.Running = len(running)
	names := map[string]string{}
	for _, row := range rows { // sorted by environment and release
		if n := len(v.Environments); n == 0 || v.Environments[n-1].Name != row.Environment {
			v.Environments = append(v.Environments, VulnerableEnvironment{Name: row.Environment})
		}
		env := &v.Environments[len(v.Environments)-1]
		if n := len(env.Releases); n == 0 || env.Releases[n-1].Digest != row.Release {
			if _, known := names[row.Release]; !known {
				names[row.Release] = row.Release
				if r, err := b.Store.Release(ctx, row.Release); err == nil {
					names[row.Release] = r.Name
				}
			}
			env.Releases = append(env.Releases, VulnerableRelease{Name: names[row.Release], Digest: row.Release})
		}
		r := &env.Releases[len(env.Releases)-1]
		r.Vulnerabilities = append(r.Vulnerabilities, Vulnerability{ID: row.ID, Ecosystem: row.Ecosystem, Component: row.Component, Version: row.Version,
			Severity: row.Severity, Level: row.Level, Detail: row.Detail, Fix: row.Fix, FirstSeen: row.FirstSeen})
	}
	return v, nil
}

// markVulnerable names, in a status, the environments that run what the estate would not let in.
func (b Backend) markVulnerable(ctx context.Context, s *Status, declared *estate.Estate) error {
	v, err := b.vulnerabilitiesIn(ctx, declared, func(string) bool { return true })
	if err != nil {
		return err
	}
	s.Problems = append(s.Problems, v.Problems...)
	if v.Error != "" {
		s.Problems = append(s.Problems, "the running releases could not be compared with known vulnerabilities: "+v.Error)
	}
	for _, env := range v.Environments {
		i := slices.IndexFunc(s.Environments, func(e Environment) bool { return e.Name == env.Name })
		if i < 0 {
			continue
		}
		for _, r := range env.Releases {
			for _, one := range r.Vulnerabilities {
				if one.Level == string(vuln.Refuse) {
					s.Environments[i].Vulnerable = append(s.Environments[i].Vulnerable,
						fmt.Sprintf("%s (%s) in %s of %s, since %s", one.ID, one.Severity, one.Component, r.Name, one.FirstSeen.UTC().Format(time.DateOnly)))
				}
			}
		}
	}
	return nil
}
