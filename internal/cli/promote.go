package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/approval"
)

// askAndWatch starts a procedure and follows it, unless asked not to.
func (a *app) askAndWatch(cmd *cobra.Command, method, path string, in any, detach, noWait bool) error {
	var asked api.Asked
	if err := a.call(cmd.Context(), method, path, in, &asked); err != nil {
		return err
	}
	if asked.Branch != "" {
		if err := a.print(asked, func(w io.Writer) {
			fmt.Fprintf(w, "commit %s on branch %s\n", asked.Commit, asked.Branch)
			if asked.Link != "" {
				fmt.Fprintf(w, "pull request %s\n", asked.Link)
			}
			fmt.Fprintln(w, "It begins when the branch is merged.")
		}); err != nil {
			return err
		}
		return exit(exitWaiting)
	}
	if detach {
		return a.print(asked, func(w io.Writer) {
			fmt.Fprintf(w, "promotion %s\nfollow it: waybill promotion watch %s\n", asked.Promotion, asked.Promotion)
		})
	}
	return a.watch(cmd.Context(), asked.Promotion, noWait)
}

func (a *app) promote() *cobra.Command {
	var tenants []string
	var detach, noWait, force, pullRequest bool
	var reason, second string
	cmd := &cobra.Command{
		Use:   "promote RELEASE ENVIRONMENT",
		Short: "Bring a release into an environment",
		Long: `Bring a release (its name, digest, or the beginning of one) into an environment, and
follow it to its end. Exit code 0: promoted; 1: rolled back; 3: it waits for people; with --no-wait,
for anything that its gates ask, such as a window.

--emergency breaks the glass, where the environment declares that path: what it names is not asked, but
nothing begins before the second person has confirmed, and a review must be closed afterwards.`,
		Args: exactly("RELEASE", "ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"release": args[0], "environment": args[1], "force": force}
			switch emergency := cmd.Flags().Changed("emergency"); {
			case emergency && strings.TrimSpace(reason) == "":
				return usagef("--emergency takes a reason: why this cannot wait")
			case emergency && second == "":
				return usagef("--second is missing: name the user who confirms the emergency")
			case second != "" && !emergency:
				return usagef("--second goes with --emergency REASON")
			case emergency:
				in["emergency"] = map[string]string{"reason": reason, "second": second}
			}
			if pullRequest {
				in["pull_request"] = true
			}
			if len(tenants) > 0 {
				in["tenants"] = tenants
			}
			return a.askAndWatch(cmd, "POST", "/api/v1/promotions", in, detach, noWait)
		},
	}
	cmd.Flags().StringVar(&reason, "emergency", "", "break the glass, for this reason")
	cmd.Flags().StringVar(&second, "second", "", "the user who confirms the emergency")
	noWaiting(cmd, &noWait)
	cmd.Flags().StringSliceVar(&tenants, "tenant", nil, "only these tenants")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	cmd.Flags().BoolVar(&pullRequest, "pull-request", false, "push a branch to the estate's repository, and begin when people have merged it")
	cmd.Flags().BoolVar(&force, "force", false, "although the environment before has not had it")
	return cmd
}

func (a *app) configure() *cobra.Command {
	var detach, noWait bool
	cmd := &cobra.Command{
		Use:   "configure ENVIRONMENT",
		Short: "Start an environment's pools anew with what the estate says of them",
		Long: `Start pools of the release that serves with the environment's workers and settings as the estate declares
them, and move the traffic there; follow it to its end. No data is touched, and the old pool is the way back.
Exit code 0: done; 1: rolled back; 3: it waits for a person.`,
		Args: exactly("ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.askAndWatch(cmd, "POST", "/api/v1/configurations", map[string]any{"environment": args[0]}, detach, noWait)
		},
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	noWaiting(cmd, &noWait)
	return cmd
}

func (a *app) promotions() *cobra.Command {
	cmd := &cobra.Command{Use: "promotion", Aliases: []string{"promotions"}, Short: "List, show and follow promotions"}
	var environment string
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List promotions, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []api.Promotion
			path := fmt.Sprintf("/api/v1/promotions?environment=%s&limit=%d", url.QueryEscape(environment), limit)
			if a.format == "json" { // the table shows none
				path += "&steps=all"
			}
			if err := a.call(cmd.Context(), "GET", path, nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { promotionTable(w, found) })
		},
	}
	list.Flags().StringVar(&environment, "environment", "", "only of this one")
	list.Flags().IntVar(&limit, "limit", 50, "at most so many")
	var noWait bool
	watch := &cobra.Command{Use: "watch ID", Short: "Follow a promotion to its end", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.watch(cmd.Context(), args[0], noWait) }}
	noWaiting(watch, &noWait)
	cmd.AddCommand(list, a.promotionWaybill(), a.abandon(),
		&cobra.Command{Use: "show ID", Short: "Show one promotion with every step", Args: exactly("ID"),
			RunE: func(cmd *cobra.Command, args []string) error {
				var p api.Promotion
				path := "/api/v1/promotions/" + url.PathEscape(args[0])
				if err := a.call(cmd.Context(), "GET", path, nil, &p); err != nil {
					return err
				}
				shown := struct {
					api.Promotion
					Approvals approval.State `json:"approvals"`
					Gates     []api.Gate     `json:"gates"`
				}{Promotion: p}
				if err := a.call(cmd.Context(), "GET", path+"/approvals", nil, &shown.Approvals); err != nil {
					return err
				}
				if err := a.call(cmd.Context(), "GET", path+"/gates", nil, &shown.Gates); err != nil {
					return err
				}
				return a.print(shown, func(w io.Writer) {
					showPromotion(w, p)
					showGates(w, p.Environment, shown.Gates)
					showApprovals(w, shown.Approvals)
				})
			}},
		watch,
		&cobra.Command{Use: "resume ID", Short: "Go on with a promotion that waits for a person", Args: exactly("ID"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.askAndWatch(cmd, "POST", "/api/v1/promotions/"+url.PathEscape(args[0])+"/resume", nil, false, false)
			}},
	)
	return cmd
}

func noWaiting(cmd *cobra.Command, noWait *bool) {
	cmd.Flags().BoolVar(noWait, "no-wait", false, "leave it, with exit code 3, at a gate that waits for anything")
}

func promotionTable(w io.Writer, found []api.Promotion) {
	if len(found) == 0 {
		fmt.Fprintln(w, "No promotion yet. Start one: waybill promote RELEASE ENVIRONMENT")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tRELEASE\tENVIRONMENT\tCLASS\tOUTCOME\tHELD\tSTARTED\tWHY")
	for _, p := range found {
		outcome, held, why := p.Outcome, 0.0, ""
		if outcome == "" {
			outcome = "running"
		}
		for _, r := range p.Rollouts {
			held += r.HeldSeconds
			if r.Reason != "" {
				why = r.Reason
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f s\t%s\t%s\n", p.ID, p.Kind, p.ReleaseName, p.Environment, p.Class, outcome, held,
			p.Created.Local().Format(time.DateTime), cutTo(why, 80))
	}
	_ = t.Flush()
}

func showPromotion(w io.Writer, p api.Promotion) {
	fmt.Fprintf(w, "%s %s into %s, asked by %s at %s\n", p.Kind, p.ReleaseName, p.Environment, p.RequestedBy, p.Created.Local().Format(time.DateTime))
	fmt.Fprintf(w, "release %s\n", p.Release)
	if p.EstateCommit != "" {
		fmt.Fprintf(w, "estate at commit %s\n", p.EstateCommit)
	}
	showEmergency(w, p)
	told := teller{out: w, seen: map[string]bool{}}
	told.tell(p)
	showRings(w, p.Rings)
	summary(w, p)
}

func (a *app) abandon() *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "abandon ID --reason TEXT", Short: "Leave a promotion at the tenants that it has reached",
		Long: `Leave a promotion whose ring has stopped at what it has reached: tenants that have not had their turn
keep their release, and those that have the new one keep that. What is under way comes to its end.`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("--reason is missing: say why, for the record")
			}
			return a.askAndWatch(cmd, "POST", "/api/v1/promotions/"+url.PathEscape(args[0])+"/abandon", map[string]string{"reason": reason}, false, false)
		}}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (a *app) rollback() *cobra.Command {
	var reason string
	var loss, detach bool
	cmd := &cobra.Command{
		Use:   "rollback PROMOTION",
		Short: "Take a promotion back",
		Long: `Take a promotion back: one under way is undone; one that has ended is reversed by the
route where the old release works on the schema. Where it does not, a restore is the only
way, and it loses what was written since: that needs --accept-loss.`,
		Args: exactly("PROMOTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.askAndWatch(cmd, "POST", "/api/v1/promotions/"+url.PathEscape(args[0])+"/rollback", map[string]any{"reason": reason, "accept_loss": loss}, detach, false)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&loss, "accept-loss", false, "lose what was written since the checkpoint")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	return cmd
}

func (a *app) quarantine() *cobra.Command {
	cmd := &cobra.Command{Use: "quarantine", Short: "Releases that an environment took back"}
	cmd.AddCommand(&cobra.Command{Use: "lift ENVIRONMENT RELEASE", Short: "Let a release in again", Args: exactly("ENVIRONMENT", "RELEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.call(cmd.Context(), "DELETE", "/api/v1/quarantine/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			return a.print(map[string]string{"lifted": args[1]}, func(w io.Writer) { fmt.Fprintf(w, "%s may enter %s again\n", args[1], args[0]) })
		}})
	return cmd
}

// tenantRef splits "environment/tenant".
func tenantRef(s string) (environment, tenant string, err error) {
	environment, tenant, ok := strings.Cut(s, "/")
	if !ok || environment == "" || tenant == "" || strings.Contains(tenant, "/") {
		return "", "", usagef("%q: expected ENVIRONMENT/TENANT, for example production/acme", s)
	}
	return environment, tenant, nil
}
