package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/check/gather"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
)

// checking is what waybill check was asked.
type checking struct {
	folder       string
	estate       string
	series, base string
	experimental bool
	addons       []string
	running      string // file
	registry     string
	failOn       string
	list         bool
	explain      string
}

// defaultSeries is that of a working tree for which nobody says one.
const defaultSeries = "19.0"

func (a *app) check() *cobra.Command {
	var c checking
	cmd := &cobra.Command{
		Use:   "check [FOLDER]",
		Short: "Check addons in a working tree: what would fail later, with place and fix",
		Long: `Check the addons of a working tree as they lie there, committed or not: what Odoo would
refuse to load, what would break an update, what does not belong into an image. Series, base,
folders of addons and levels come from the estate: the one named by --estate, else that of the
server that runs on the data folder. Without either, --series, --base and --addons say them.

Exit code 0: nothing that counts. 1: findings. 2: it could not be checked.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s: expected one folder, got %d; see: %s --help", cmd.CommandPath(), len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.folder = "."
			if len(args) > 0 {
				c.folder = args[0]
			}
			switch {
			case c.list:
				return a.listChecks()
			case c.explain != "":
				return a.explainCheck(c.explain)
			}
			report, err := a.runChecks(cmd.Context(), c, cmd.Flags().Changed("series"))
			if err != nil {
				// Not exit code 1: nobody shall take this for findings.
				return usage{err}
			}
			if err := a.printReport(cmd.Context(), report, c.folder); err != nil {
				return usage{err}
			}
			if report.FailedAt(check.Severity(c.failOn)) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&c.estate, "estate", "", "folder with the declared state; default: the server's, where one runs")
	cmd.Flags().StringVar(&c.series, "series", defaultSeries, "series of Odoo, instead of the estate's")
	cmd.Flags().BoolVar(&c.experimental, "experimental", false, "allow a series that Waybill has not been tested with")
	cmd.Flags().StringVar(&c.base, "base", "", "base image, instead of the estate's: a reference, oci:FOLDER or rootfs:FILE; none: go without")
	cmd.Flags().StringArrayVar(&c.addons, "addons", nil, "folder with addons within FOLDER, instead of the estate's; may be given several times")
	cmd.Flags().StringVar(&c.running, "running", "", "file that says what runs (waybill release show RELEASE -o json); default: what the server knows")
	cmd.Flags().StringVar(&c.registry, "registry", "", "host[:port] of another registry than the server's own, for the base")
	cmd.Flags().StringVar(&c.failOn, "fail-on", "error", "error, warning or note: findings from this severity on end with exit code 1")
	cmd.Flags().BoolVar(&c.list, "list", false, "list the checks")
	cmd.Flags().StringVar(&c.explain, "explain", "", "explain one check")
	return cmd
}

// runChecks gathers what the checks look at, and runs them.
func (a *app) runChecks(ctx context.Context, c checking, seriesGiven bool) (check.Report, error) {
	if !slices.Contains([]string{"error", "warning", "note"}, c.failOn) {
		return check.Report{}, fmt.Errorf("--fail-on %s: expected error, warning or note", c.failOn)
	}
	o := gather.Options{Series: c.series, Experimental: c.experimental, Base: c.base, Progress: a.progress()}
	addons, policy := c.addons, check.Policy{}
	status, err := a.knownServer(ctx)
	if err != nil {
		return check.Report{}, err
	}
	dir := c.estate
	if dir == "" {
		dir = status.Estate
	}
	if dir != "" {
		declared, err := estate.Load(ctx, dir)
		if err != nil {
			return check.Report{}, fmt.Errorf("read the estate in %s: %w", dir, err)
		}
		if policy, err = check.PolicyOf(declared.Checks); err != nil {
			return check.Report{}, fmt.Errorf("read the estate in %s: %w", dir, err)
		}
		p := declared.Product
		if !seriesGiven {
			o.Series = p.Series
		}
		o.Experimental = o.Experimental || p.Experimental
		if len(addons) == 0 {
			addons = p.Addons
		}
		if c.base == "" {
			if o.BaseDir, err = filepath.Abs(dir); err != nil {
				return check.Report{}, err
			}
			o.Base, o.BaseOptional = p.Base, true
		}
	}
	if c.base == "none" {
		o.Base = ""
	}
	if o.Base != "" {
		o.Registry, err = a.registry(c.registry)
		if err != nil && !strings.HasPrefix(o.Base, "oci:") && !strings.HasPrefix(o.Base, "rootfs:") {
			// Without a server, a name without a host cannot be found; one with a host can.
			o.Registry = build.Registry{}
		}
	}
	if o.Running, err = a.runningReleases(ctx, status, c.running); err != nil {
		return check.Report{}, err
	}
	in, err := gather.Folder(ctx, c.folder, addons, o)
	if err != nil {
		return check.Report{}, err
	}
	return check.Run(in, policy), nil
}

// knownServer asks the server that runs on the data folder; the zero value where there is none. One
// that was named must answer.
func (a *app) knownServer(ctx context.Context) (api.Status, error) {
	var s api.Status
	if _, _, err := a.address(); err != nil {
		if a.server != "" {
			return s, err
		}
		return s, nil
	}
	err := a.call(ctx, "GET", "/api/v1/status", nil, &s)
	var gone *unreachable
	if errors.As(err, &gone) && a.server == "" && ctx.Err() == nil {
		return api.Status{}, nil // it was stopped, and left its address behind
	}
	return s, err
}

// maxRunningFile bounds the file of --running.
const maxRunningFile = 64 << 20 // bytes

// runningReleases are what runs: as a file says, else as the server knows.
func (a *app) runningReleases(ctx context.Context, s api.Status, file string) ([]check.RunningRelease, error) {
	if file != "" {
		return readRunning(file)
	}
	var running []check.RunningRelease
	for _, env := range s.Environments {
		seen := map[string]bool{}
		for _, tenant := range env.Tenants {
			if tenant.ServingDigest == "" || seen[tenant.ServingDigest] {
				continue
			}
			seen[tenant.ServingDigest] = true
			var r release.Release
			if err := a.call(ctx, "GET", "/api/v1/releases/"+tenant.ServingDigest, nil, &r); err != nil {
				return nil, fmt.Errorf("release %s, which runs in %s: %w", tenant.Serving, env.Name, err)
			}
			running = append(running, check.RunningRelease{Environment: env.Name, Release: r})
		}
	}
	slices.SortStableFunc(running, func(a, b check.RunningRelease) int { return b.Release.Created.Compare(a.Release.Created) })
	return running, nil
}

// readRunning reads one release, or a list of them with their environments.
func readRunning(file string) ([]check.RunningRelease, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--running: %w", err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxRunningFile))
	if err != nil {
		return nil, fmt.Errorf("--running: %w", err)
	}
	var one release.Release
	if json.Unmarshal(content, &one) == nil && len(one.Modules) > 0 {
		return []check.RunningRelease{{Release: one}}, nil
	}
	var many []check.RunningRelease
	if err := json.Unmarshal(content, &many); err != nil || slices.ContainsFunc(many, func(r check.RunningRelease) bool { return len(r.Release.Modules) == 0 }) {
		return nil, fmt.Errorf(`--running %s: expected a release (waybill release show RELEASE -o json), or a list of {"environment": NAME, "release": RELEASE}`, file)
	}
	return many, nil
}

// printReport shows a report in the form that was asked for.
func (a *app) printReport(ctx context.Context, r check.Report, folder string) error {
	if a.format == "sarif" {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r.SARIF(version, within(ctx, folder)))
	}
	return a.print(r, func(w io.Writer) { r.Text(w, folder) })
}

// within is the folder's place in its Git repository, with slashes; empty for its root, and where
// there is none. Code hosts look for a file from the repository's root.
func within(ctx context.Context, folder string) string {
	cmd := exec.CommandContext(ctx, "git", "rev-parse", "--show-prefix")
	cmd.Dir = folder
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSpace(string(out)), "/")
}

// listedCheck is a check as --list tells it.
type listedCheck struct {
	ID       string         `json:"id"`
	Severity check.Severity `json:"severity"`
	Why      string         `json:"why"`
	Needs    []string       `json:"needs"`
}

func listed(c check.Check) listedCheck {
	l := listedCheck{ID: c.ID, Severity: c.Severity, Why: c.Why, Needs: []string{}}
	for _, n := range []struct {
		needed bool
		what   string
	}{{c.Needs.Base, "the base image"}, {c.Needs.Python, "the base's Python"}, {c.Needs.Running, "what runs"}} {
		if n.needed {
			l.Needs = append(l.Needs, n.what)
		}
	}
	return l
}

func (a *app) listChecks() error {
	all := []listedCheck{}
	for _, c := range check.Checks() {
		all = append(all, listed(c))
	}
	return a.print(all, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CHECK\tSEVERITY\tWHY")
		for _, c := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\n", c.ID, c.Severity, c.Why)
		}
		_ = t.Flush()
	})
}

func (a *app) explainCheck(id string) error {
	var ids []string
	for _, c := range check.Checks() {
		if c.ID != id {
			ids = append(ids, c.ID)
			continue
		}
		l := listed(c)
		return a.print(l, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s\n%s\n", l.ID, l.Severity, l.Why)
			if len(l.Needs) > 0 {
				fmt.Fprintf(w, "It needs %s.\n", strings.Join(l.Needs, " and "))
			}
			fmt.Fprintf(w, "In the estate: kind: Checks, levels: {%s: error, warning, note or off}, or an exception with a reason and a last day.\n", l.ID)
		})
	}
	err := (estate.Checks{Levels: map[string]string{id: ""}}).Unknown(ids)
	hint := "see: waybill check --list"
	if problems := estate.Problems(err); len(problems) > 0 && problems[0].Hint != "" {
		hint = problems[0].Hint
	}
	return usagef("there is no check %q; %s", id, hint)
}
