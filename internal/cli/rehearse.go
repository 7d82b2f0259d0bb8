package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/store"
)

func (a *app) rehearse() *cobra.Command {
	var environment, tenant, checkpoint, page string
	var detach, untraced bool
	cmd := &cobra.Command{
		Use:   "rehearse RELEASE --env ENVIRONMENT",
		Short: "Try a release's update on a copy of the data, and prove the way back",
		Long: `Restore the tenant's newest checkpoint aside, run the release's update there, watch its
locks, and try the release that serves now on the result. Says the class of the release,
how long people will wait, and what to mend. Production is only asked for its settings.

Exit code 0: the class is proven; 1: the update fails, or the rehearsal could not be done.`,
		Args: exactly("RELEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if environment == "" {
				return usagef("which environment? Name it with --env")
			}
			in := map[string]any{"release": args[0], "environment": environment, "tenant": tenant, "checkpoint": checkpoint, "untraced": untraced}
			var asked api.Rehearsal
			if err := a.call(cmd.Context(), "POST", "/api/v1/rehearsals", in, &asked); err != nil {
				return err
			}
			if detach {
				return a.print(asked, func(w io.Writer) {
					fmt.Fprintf(w, "rehearsal %s\nfollow it: waybill rehearsal show --wait %s\n", asked.ID, asked.ID)
				})
			}
			return a.followRehearsal(cmd.Context(), asked.ID, page)
		},
	}
	cmd.Flags().StringVar(&environment, "env", "", "environment")
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant; needed where the environment has more than one")
	cmd.Flags().StringVar(&checkpoint, "checkpoint", "", "checkpoint to rehearse on; default: the newest")
	cmd.Flags().StringVar(&page, "html", "", "write the report as one self-contained page to this file")
	cmd.Flags().BoolVar(&untraced, "untraced", false, "watch nothing: no timeline, no locks; to see what the trace costs")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	return cmd
}

func (a *app) rehearsals() *cobra.Command {
	cmd := &cobra.Command{Use: "rehearsal", Aliases: []string{"rehearsals"}, Short: "List, show and cancel rehearsals"}
	var environment, tenant, page string
	var limit int
	var wait bool
	list := &cobra.Command{Use: "list", Short: "List rehearsals, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []api.Rehearsal
			query := url.Values{"environment": {environment}, "tenant": {tenant}, "limit": {fmt.Sprint(limit)}}
			if err := a.call(cmd.Context(), "GET", "/api/v1/rehearsals?"+query.Encode(), nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { rehearsalTable(w, found) })
		}}
	list.Flags().StringVar(&environment, "env", "", "only this environment")
	list.Flags().StringVar(&tenant, "tenant", "", "only this tenant")
	list.Flags().IntVar(&limit, "limit", 20, "at most so many")
	show := &cobra.Command{Use: "show REHEARSAL", Short: "Show what a rehearsal found", Args: exactly("REHEARSAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait {
				return a.followRehearsal(cmd.Context(), args[0], page)
			}
			var r api.Rehearsal
			if err := a.call(cmd.Context(), "GET", "/api/v1/rehearsals/"+url.PathEscape(args[0]), nil, &r); err != nil {
				return err
			}
			return a.showRehearsal(r, page)
		}}
	show.Flags().StringVar(&page, "html", "", "write the report as one self-contained page to this file")
	show.Flags().BoolVar(&wait, "wait", false, "wait for its end")
	cancel := &cobra.Command{Use: "cancel REHEARSAL", Short: "Stop a rehearsal and remove what it made", Args: exactly("REHEARSAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.call(cmd.Context(), "DELETE", "/api/v1/rehearsals/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return a.print(map[string]string{"cancelled": args[0]}, func(w io.Writer) { fmt.Fprintln(w, "cancelled") })
		}}
	cmd.AddCommand(list, show, cancel)
	return cmd
}

func rehearsalTable(w io.Writer, found []api.Rehearsal) {
	if len(found) == 0 {
		fmt.Fprintln(w, "No rehearsal yet. Start one: waybill rehearse RELEASE --env ENVIRONMENT")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tRELEASE\tTENANT\tOUTCOME\tASKED\tRESULT")
	for _, r := range found {
		outcome := r.Outcome
		if outcome == "" {
			outcome = r.State
		}
		fmt.Fprintf(t, "%s\t%s\t%s/%s\t%s\t%s\t%s\n", r.ID, r.ReleaseName, r.Environment, r.Tenant, outcome, r.Created.Local().Format(time.DateTime), cutTo(r.Progress, 90))
	}
	_ = t.Flush()
}

// followRehearsal tells the progress until the end.
func (a *app) followRehearsal(ctx context.Context, id, page string) error {
	var r api.Rehearsal
	var away time.Time
	r.Revision = -1
	told := ""
	for {
		var next api.Rehearsal
		err := a.call(ctx, "GET", fmt.Sprintf("/api/v1/rehearsals/%s?after=%d&wait=20", url.PathEscape(id), r.Revision), nil, &next)
		var gone *unreachable
		if errors.As(err, &gone) && ctx.Err() == nil {
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) > patience {
				return err
			}
			if err := pause(ctx, 300*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		away, r = time.Time{}, next
		if r.State == store.Rehearsed {
			return a.showRehearsal(r, page)
		}
		if now := r.State + " " + r.Progress; now != told && a.format == "text" {
			told = now
			fmt.Fprintf(a.err, "%s  %s\n", time.Now().Format(time.TimeOnly), strings.TrimSpace(now))
		}
	}
}

func (a *app) showRehearsal(r api.Rehearsal, page string) error {
	if page != "" && r.Report != nil {
		var content bytes.Buffer
		if err := rehearsal.WritePage(&content, r.Report); err != nil {
			return err
		}
		if err := os.WriteFile(page, content.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := a.print(r, func(w io.Writer) { rehearsalText(w, r) }); err != nil {
		return err
	}
	if r.State == store.Rehearsed && r.Outcome != rehearsal.Proven {
		return exit(exitFailed)
	}
	return nil
}

// rehearsalText is the report for a terminal.
func rehearsalText(w io.Writer, r api.Rehearsal) {
	p := r.Report
	if p == nil {
		fmt.Fprintf(w, "rehearsal %s of %s on %s/%s: %s %s\n", r.ID, r.ReleaseName, r.Environment, r.Tenant, r.State+" "+r.Outcome, r.Progress)
		return
	}
	fmt.Fprintf(w, "%s → %s on %s/%s, checkpoint %s of %s\n\n", p.OldReleaseName, p.ReleaseName, p.Environment, p.Tenant, p.Checkpoint, p.RecoveryPoint.Local().Format(time.DateTime))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	if p.Outcome == rehearsal.Proven {
		line("class", "%s", p.Class)
		line("why", "%s", p.Cause)
		if p.Pause == rehearsal.PauseNone {
			line("people wait", "no")
		} else {
			calibrated := ""
			if c := p.Calibration; c.Promotions > 0 {
				calibrated = fmt.Sprintf(" (%.1f s computed, × %.2f by the last %d promotions)", p.ComputedSeconds, c.Ratio, c.Promotions)
			}
			line("people wait", "%s, about %.1f s%s", p.Pause, p.PredictedSeconds, calibrated)
		}
		if !p.Transactional {
			line("one transaction", "no: %s", p.OwnCommit)
		}
	} else {
		line("outcome", "%s", p.Outcome)
		line("why", "%s", p.Failure)
	}
	if p.Restore.Seconds > 0 {
		line("recovery", "%.1f s, measured: %d tables with %d rows compared, %d files (%d missing)", p.RecoverySeconds, p.Restore.Tables, p.Restore.Rows, p.Restore.Files, len(p.Restore.MissingFiles))
	}
	if u := p.Update; u != nil {
		waited := ""
		if u.CPUWaitSeconds >= 0.1 {
			waited = fmt.Sprintf(" (%.1f s of them waiting for a CPU, which is not counted)", u.CPUWaitSeconds)
		}
		line("update", "%.1f s%s, %.1f MiB of write-ahead log; %s", u.JobSeconds, waited, float64(u.WALBytes)/(1<<20), strings.Join(append(p.Plan.Update, p.Plan.Install...), ", "))
		for _, e := range u.Errors {
			line("logged", "%s", cutTo(e, 200))
		}
	}
	if e := p.Effect; e != nil {
		for _, changes := range [][]rehearsal.Change{e.Schema, e.Modules, e.Views, e.Crons, e.Parameters} {
			for i, c := range changes {
				if i == 12 {
					line("", "… and %d more", len(changes)-i)
					break
				}
				line(changeWord(c), "%s %s%s", c.Kind, c.Name, changeDetail(c))
			}
		}
	}
	if l := p.Timeline; l != nil {
		for i, k := range l.Locks {
			if i == 12 {
				line("", "… and %d more locks", len(l.Locks)-i)
				break
			}
			waits := ""
			if k.Blocked >= 1 {
				waits = fmt.Sprintf("; without a hold about %.0f %s would wait %.0f s together", k.Blocked, l.Traffic.Unit(), k.BlockedSeconds)
			}
			line("locked", "%s for %.1f s (%s, blocks %s)%s%s", strings.TrimPrefix(k.Table, "public."), k.HeldSeconds, k.Mode, k.Blocks, in(k.Module, k.Script), waits)
		}
		if l.Traffic != nil && len(l.Locks) > 0 {
			line("", "how much would wait: by production's %s, over %.0f s", l.Traffic.Source, l.Traffic.Seconds)
		}
	}
	if b := p.WayBack; b != nil {
		state := "works"
		if !b.Works {
			state = "fails"
		}
		line("way back", "%s %s: registry in %.1f s, %d models, %d views", p.OldReleaseName, state, b.RegistrySeconds, b.Models, b.Views)
		for _, f := range b.Flows {
			if f.Outcome == bridge.FlowFailed {
				line("", "flow %s: %s", f.Name, cutTo(f.Error, 200))
			}
		}
		for i, problem := range b.Problems {
			if i == 8 {
				line("", "… and %d more", len(b.Problems)-i)
				break
			}
			line("", "%s %s: %s", problem.Kind, problem.Model, cutTo(problem.Error, 200))
		}
	}
	_ = t.Flush()
	for _, advice := range p.Advice {
		fmt.Fprintf(w, "\nadvice: %s: %s\n        %s\n", advice.Subject, advice.Problem, advice.Mend)
	}
	fmt.Fprintf(w, "\nthe whole report: waybill rehearsal show %s -o json; as a page: waybill rehearsal show %s --html FILE\n", r.ID, r.ID)
}

func in(module, script string) string {
	if script != "" {
		return ", by " + script
	}
	if module != "" {
		return ", by " + module
	}
	return ""
}

func changeWord(c rehearsal.Change) string {
	switch {
	case c.Before == "":
		return "new"
	case c.After == "":
		return "gone"
	}
	return "changed"
}

func changeDetail(c rehearsal.Change) string {
	if c.Kind != "column" && c.Kind != "module" {
		return ""
	}
	if c.Before == "" || c.After == "" {
		return ": " + c.Before + c.After
	}
	return ": " + c.Before + " → " + c.After
}
