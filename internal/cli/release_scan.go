package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/sbom"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// scanning is what one asks of waybill release scan.
type scanning struct {
	estate, registry string
	databases        []string
	running, all     bool
	attach           bool
	by               signing
}

// scanned is its answer.
type scanned struct {
	vuln.Report
	vuln.Verdict
}

func (a *app) releaseScan() *cobra.Command {
	var s scanning
	cmd := &cobra.Command{
		Use:   "scan REF | --running",
		Short: "Compare a release with known vulnerabilities, offline",
		Long: `Compare what a release is made of with advisories in OSV's format, and judge the result by the
estate (kind: Vulnerabilities). Nothing is fetched: the databases are folders or zip files, such as
OSV's all.zip of Debian and of PyPI. It ends with 1 when the estate refuses the release.

With --running the server compares all that runs, now, and names the environments that run
something vulnerable. It does so by itself when a database was renewed.

With --attach the result is signed and attached to the image, where the estate may ask for it
(kind: Trust, require: [vulnerabilities]).`,
		Args: func(cmd *cobra.Command, args []string) error {
			if s.running {
				if s.estate != "" || s.registry != "" || len(s.databases) > 0 || s.attach {
					return usagef("--running goes by the server's own estate and registry: without --estate, --registry, --databases and --attach")
				}
				return exactly()(cmd, args)
			}
			return exactly("REF")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.running {
				return a.scanRunning(cmd.Context(), s.all)
			}
			if s.attach {
				if err := s.by.open(cmd.Context(), a); err != nil {
					return err
				}
			} else if s.by.key != "" {
				return usagef("--key is for what --attach signs")
			}
			answer, err := a.scan(cmd.Context(), args[0], s)
			if err != nil {
				return err
			}
			if err := a.print(answer, func(w io.Writer) { showScanned(w, answer, s.all) }); err != nil {
				return err
			}
			if answer.Refused {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&s.databases, "databases", nil, "folders or zip files with OSV advisories, in the place of the estate's")
	cmd.Flags().StringVar(&s.estate, "estate", "", "folder with the declared state; default: the server's")
	cmd.Flags().StringVar(&s.registry, "registry", "", "host[:port] of another registry than the server's own; the release is then NAME:TAG or NAME@DIGEST")
	cmd.Flags().BoolVar(&s.running, "running", false, "compare everything that runs")
	cmd.Flags().BoolVar(&s.attach, "attach", false, "sign the result and attach it to the image")
	cmd.Flags().StringVar(&s.by.key, "key", "", "key to sign with, as of waybill build; default: the data folder's own")
	cmd.Flags().BoolVar(&s.all, "all", false, "show also what is below the estate's thresholds")
	return cmd
}

func (a *app) scan(ctx context.Context, ref string, s scanning) (scanned, error) {
	started := time.Now()
	rules, databases, err := a.vulnerabilityRules(ctx, s)
	if err != nil {
		return scanned{}, err
	}
	_, ref, images, err := a.findRelease(ctx, ref, s.registry)
	if err != nil {
		return scanned{}, err
	}
	inv, err := sbom.Read(ctx, ref, images, "")
	if err != nil {
		return scanned{}, err
	}
	report, err := vuln.Scan(ctx, inv, databases, "")
	if err != nil {
		return scanned{}, err
	}
	found := scanned{report, vuln.Evaluate(report, rules, time.Now())}
	if s.attach {
		err = a.attachScan(ctx, ref, images, found, databases, &s.by, started)
	}
	return found, err
}

// vulnerabilityRules are the estate's: of the folder given, or of the server. With databases given and
// another registry than the server's, an estate is not needed.
func (a *app) vulnerabilityRules(ctx context.Context, s scanning) (estate.Vulnerabilities, []string, error) {
	var given []string
	for _, d := range s.databases {
		absolute, err := filepath.Abs(d)
		if err != nil {
			return estate.Vulnerabilities{}, nil, err
		}
		given = append(given, absolute)
	}
	if s.estate == "" && s.registry != "" && len(given) > 0 {
		return estate.DefaultVulnerabilities(given...), given, nil
	}
	dir := s.estate
	if dir == "" {
		var status api.Status
		if err := a.call(ctx, "GET", "/api/v1/status", nil, &status); err != nil {
			return estate.Vulnerabilities{}, nil, err
		}
		dir = status.Estate
		if err := isHere(dir); err != nil {
			return estate.Vulnerabilities{}, nil, err
		}
	}
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return estate.Vulnerabilities{}, nil, usage{fmt.Errorf("read the estate in %s: %w", dir, err)}
	}
	rules := estate.DefaultVulnerabilities(given...)
	if declared.Vulnerabilities != nil {
		rules = *declared.Vulnerabilities
	}
	if len(given) == 0 {
		given = rules.DatabasePaths(declared.Root)
	}
	if len(given) == 0 {
		return rules, nil, usagef("the estate in %s names no vulnerability databases (kind: Vulnerabilities); name them there, or with --databases", dir)
	}
	return rules, given, nil
}

// maxRemedies is how many ways out are printed; -o json has them all.
const maxRemedies = 8

func showScanned(w io.Writer, s scanned, all bool) {
	fmt.Fprintf(w, "%s  %s\n", s.Name, s.Release)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COMPARED\tCOMPONENTS\tADVISORIES\tNEWEST")
	for _, c := range s.Compared {
		newest := ""
		if !c.Newest.IsZero() {
			newest = c.Newest.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", c.Ecosystem, c.Components, c.Advisories, dash(newest))
	}
	_ = t.Flush()
	rows, hidden, acceptable := 0, 0, false
	fmt.Fprintln(t, "\nLEVEL\tSEVERITY\tVULNERABILITY\tCOMPONENT\tVERSION\tFIXED IN")
	var texts, fixes []string
	for _, r := range s.Reasons {
		f := r.Finding
		switch {
		case r.Level == vuln.Note && !all:
			if f != nil {
				hidden++
			}
			continue
		case f == nil:
			texts = append(texts, fmt.Sprintf("%s: %s", r.Level, r.Text))
		default:
			severity := f.Severity.String()
			if f.Vector != "" {
				severity += fmt.Sprintf(" %.1f", f.Score)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Level, severity, f.ID, f.Component.Name, dash(f.Component.Version), dash(f.Fixed))
			rows++
			acceptable = acceptable || r.Level == vuln.Refuse
		}
		if r.Level == vuln.Refuse && r.Fix != vuln.AcceptIt && !slices.Contains(fixes, r.Fix) {
			fixes = append(fixes, r.Fix)
		}
	}
	if rows > 0 {
		_ = t.Flush()
	}
	fmt.Fprintln(w)
	for _, text := range texts {
		fmt.Fprintln(w, text)
	}
	if hidden > 0 {
		fmt.Fprintf(w, "Below the estate's thresholds: %d more; --all shows them.\n", hidden)
	}
	if !s.Refused {
		fmt.Fprintln(w, good.Render("Nothing known keeps this release out."))
		return
	}
	fmt.Fprintln(w, bad.Render("The estate refuses this release.")+" What to do:")
	for i, fix := range fixes {
		if i == maxRemedies {
			fmt.Fprintf(w, "  and %d more; -o json has them all\n", len(fixes)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", fix)
	}
	if acceptable {
		fmt.Fprintf(w, "  where that cannot be done now, %s\n", vuln.AcceptIt)
	}
}

func (a *app) scanRunning(ctx context.Context, all bool) error {
	var v api.Vulnerabilities
	if err := a.call(ctx, "POST", "/api/v1/vulnerabilities/scan", nil, &v); err != nil {
		return err
	}
	if !v.Declared {
		return usagef("the estate names no vulnerability databases (kind: Vulnerabilities), so nothing is compared")
	}
	if err := a.print(v, func(w io.Writer) { showRunning(w, v, all) }); err != nil {
		return err
	}
	if len(v.Problems) > 0 || slices.ContainsFunc(v.Environments, refusedNow) {
		return exit(exitFailed)
	}
	return nil
}

// refusedNow says whether an environment runs what the estate would not let in today.
func refusedNow(e api.VulnerableEnvironment) bool {
	return slices.ContainsFunc(e.Releases, func(r api.VulnerableRelease) bool {
		return slices.ContainsFunc(r.Vulnerabilities, func(one api.Vulnerability) bool { return one.Level == string(vuln.Refuse) })
	})
}

func showRunning(w io.Writer, v api.Vulnerabilities, all bool) {
	for _, name := range slices.Sorted(maps.Keys(v.Newest)) {
		fmt.Fprintf(w, "%s: the newest advisory is of %s\n", name, v.Newest[name].UTC().Format(time.DateOnly))
	}
	for _, problem := range v.Problems {
		fmt.Fprintln(w, bad.Render(problem))
	}
	if len(v.Environments) == 0 {
		fmt.Fprintf(w, "Releases that run: %d. None is known to be vulnerable.\n", v.Running)
		return
	}
	hidden := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENVIRONMENT\tRELEASE\tLEVEL\tSEVERITY\tVULNERABILITY\tCOMPONENT\tVERSION\tSINCE")
	for _, e := range v.Environments {
		for _, r := range e.Releases {
			for _, one := range r.Vulnerabilities {
				if one.Level != string(vuln.Refuse) && !all {
					hidden++
					continue
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, r.Name, one.Level, one.Severity, one.ID, one.Component, dash(one.Version), one.FirstSeen.UTC().Format(time.DateOnly))
			}
		}
	}
	_ = t.Flush()
	if hidden > 0 {
		fmt.Fprintf(w, "Warnings: %d; --all shows them.\n", hidden)
	}
}
