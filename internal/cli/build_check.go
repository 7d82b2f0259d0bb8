package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/check/gather"
	"github.com/waybill-dev/waybill/internal/estate"
)

// buildChecks are the checks that a build runs before it makes anything.
type buildChecks struct {
	skip string // the reason, where a person chose not to run them
	// Report is what came of them, once the build has been through; see check.Report.Predicate.
	Report check.Report
}

// into has a build run the checks of the declared state. An error refuses the build.
func (c *buildChecks) into(ctx context.Context, a *app, o *build.Options, declared estate.Checks) error {
	if strings.TrimSpace(c.skip) != "" {
		c.Report = check.SkippedReport(c.skip)
		fmt.Fprintln(a.err, c.Report.Summary())
		return nil
	}
	policy, err := check.PolicyOf(declared)
	if err != nil {
		return fmt.Errorf("read the estate: %w", err)
	}
	running := make(chan runningOrErr, 1) // asked for while Git is
	go func() { running <- a.askRunning(ctx) }()
	o.Check = func(ctx context.Context, source build.SourceTree) error {
		g := gather.Options{
			Series: o.Series, Experimental: o.Experimental, Base: o.Base, BaseDir: o.BaseDir, Registry: o.Registry, Cache: o.Cache, Progress: o.Progress,
		}
		if g.Base == "" {
			g.Base = "odoo:" + o.Series
		}
		found := <-running
		if found.err != nil {
			return found.err
		}
		g.Running = found.releases
		in, err := gather.Source(ctx, source, g)
		if err != nil {
			return err
		}
		c.Report = check.Run(in, policy)
		if len(c.Report.Findings) > 0 {
			c.Report.Text(a.err, "")
		}
		if c.Report.Failed() {
			return fmt.Errorf("the checks refuse it (%s); repair what they name, declare an exception in the estate (kind: Checks), or say why not with --skip-checks REASON", strings.TrimSuffix(c.Report.Summary(), "."))
		}
		return nil
	}
	return nil
}

type runningOrErr struct {
	releases []check.RunningRelease
	err      error
}

// askRunning finds the releases that run, where there is a server.
func (a *app) askRunning(ctx context.Context) (r runningOrErr) {
	var status api.Status
	if status, r.err = a.knownServer(ctx); r.err == nil {
		r.releases, r.err = a.runningReleases(ctx, status, "")
	}
	return r
}

// skippedChecks is the type of the claim that says why a release was not checked. It is another one
// than that of results: where a policy requires checks, it does not stand for them.
const skippedChecks = "https://github.com/waybill-dev/waybill/blob/main/docs/check.md#skipped-v1"

// claim is what came of the checks, for the image.
func (c *buildChecks) claim() (attest.Claim, error) {
	predicate, err := c.Report.Predicate(version)
	if err != nil {
		return attest.Claim{}, err
	}
	claim := attest.Claim{Type: attest.Checks, Predicate: predicate}
	if c.Report.Skipped != "" {
		claim.Type = skippedChecks
	}
	return claim, nil
}
