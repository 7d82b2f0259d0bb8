package cli

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/store"
)

func (a *app) approve() *cobra.Command {
	var reason, binding string
	cmd := &cobra.Command{
		Use: "approve PROMOTION", Short: "Agree to a promotion that waits for approvals", Args: exactly("PROMOTION"),
		Long: `Agree to a promotion that waits for approvals, and let it go on once enough have agreed. What you agree
to is shown: the release, the environment, and the plan and rehearsal of each tenant. When one of them changes
meanwhile, or time runs out, the approval lapses. Nobody approves what they have made or asked for.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.decide(cmd, args[0], "approve", reason, binding)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().StringVar(&binding, "binding", "", "agree only to this plan, as promotion show -o json names it; default: the one of now")
	return cmd
}

func (a *app) reject() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "reject PROMOTION", Short: "End a promotion that waits, before anything is touched", Args: exactly("PROMOTION"),
		Long: `End a promotion that waits at its gates, before anything is touched. It ends as rolled back, with your
reason; the release is not put into quarantine and may be asked for again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("--reason is missing: say why, for whoever asked and for the record")
			}
			return a.decide(cmd, args[0], "reject", reason, "")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (needed)")
	return cmd
}

// decide looks at what there is to decide, shows it, and decides about that and nothing else.
func (a *app) decide(cmd *cobra.Command, promotion, verb, reason, binding string) error {
	path := "/api/v1/promotions/" + url.PathEscape(promotion)
	var p api.Promotion
	if err := a.call(cmd.Context(), "GET", path, nil, &p); err != nil {
		return err
	}
	var s approval.State
	if err := a.call(cmd.Context(), "GET", path+"/approvals", nil, &s); err != nil {
		return err
	}
	if binding == "" {
		binding = s.Binding
	}
	if a.format != "json" {
		fmt.Fprintf(a.out, "%s %s into %s, asked by %s\n", p.Kind, p.ReleaseName, p.Environment, p.RequestedBy)
		showPlans(a.out, s)
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	in := map[string]string{"id": hex.EncodeToString(id[:]), "binding": binding, "reason": reason}
	if err := a.call(cmd.Context(), "POST", path+"/"+verb, in, &s); err != nil {
		return err
	}
	return a.print(s, func(w io.Writer) {
		switch {
		case s.Rejected != nil:
			fmt.Fprintf(w, "rejected: promotion %s ends\n", promotion)
		case s.Met():
			fmt.Fprintf(w, "approved: nobody else is needed. Follow it: waybill promotion watch %s\n", promotion)
		default:
			fmt.Fprintf(w, "approved: it %s\n", s.Why)
		}
	})
}

func showPlans(w io.Writer, s approval.State) {
	for _, p := range s.Plans {
		what := "nothing in the database changes"
		if n := len(p.Update) + len(p.Install); n > 0 {
			what = "updates " + strings.Join(append(append([]string{}, p.Update...), p.Install...), ", ")
		}
		evidence := "not rehearsed"
		if p.Rehearsal != "" {
			evidence = "rehearsal " + p.Rehearsal
		}
		fmt.Fprintf(w, "  %s: class %s; %s; %s\n", p.Tenant, p.Class, cutTo(what, 120), evidence)
	}
}

// showApprovals tells what is asked for of people, and what they have said.
func showApprovals(w io.Writer, s approval.State) {
	if s.Needed == 0 && len(s.Given) == 0 {
		return
	}
	fmt.Fprintf(w, "approvals: %d of %d", s.Have, s.Needed)
	if s.Why != "" {
		fmt.Fprintf(w, "; %s", s.Why)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, g := range s.Given {
		word, note := "approved", "until "+g.Expires.Local().Format(time.DateTime)
		if g.Decision == store.Reject {
			word, note = "rejected", ""
		}
		if g.Lapsed != "" {
			note = "lapsed: " + g.Lapsed
		}
		fmt.Fprintf(t, "  %s\tby %s\tat %s\t%s\t%s\n", word, g.By, g.At.Local().Format(time.DateTime), note, g.Reason)
	}
	_ = t.Flush()
}
