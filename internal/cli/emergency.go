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
	"github.com/waybill-dev/waybill/internal/store"
)

func (a *app) confirm() *cobra.Command {
	return &cobra.Command{
		Use: "confirm PROMOTION", Short: "Confirm an emergency promotion as its second person", Args: exactly("PROMOTION"),
		Long: `Confirm an emergency promotion that names you as its second person, and let it go on. Who asked, why, and
what is not asked of it is shown. After the time that the estate gives, the promotion ends by itself.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/promotions/" + url.PathEscape(args[0])
			var p api.Promotion
			if err := a.call(cmd.Context(), "GET", path, nil, &p); err != nil {
				return err
			}
			if a.format != "json" {
				fmt.Fprintf(a.out, "%s %s into %s\n", p.Kind, p.ReleaseName, p.Environment)
				showEmergency(a.out, p)
			}
			var x store.Emergency
			if err := a.call(cmd.Context(), "POST", path+"/confirm", nil, &x); err != nil {
				return err
			}
			return a.print(x, func(w io.Writer) {
				fmt.Fprintf(w, "confirmed. Follow it: waybill promotion watch %s\n", p.ID)
			})
		},
	}
}

// showEmergency tells of a promotion for which somebody broke the glass.
func showEmergency(w io.Writer, p api.Promotion) {
	x := p.Emergency
	if x == nil {
		return
	}
	skipped := "nothing less is asked than of any promotion"
	if len(x.Skipped) > 0 {
		skipped = "not asked: " + strings.Join(x.Skipped, ", ")
	}
	fmt.Fprintf(w, "emergency, asked by %s: %s\n  %s\n", x.AskedBy, x.Reason, skipped)
	switch {
	case x.ConfirmedAt != nil:
		fmt.Fprintf(w, "  confirmed by %s at %s\n", x.Second, x.ConfirmedAt.Local().Format(time.DateTime))
	case x.LapsedAt != nil:
		fmt.Fprintf(w, "  %s had not confirmed by %s\n", x.Second, x.ConfirmBy.Local().Format(time.DateTime))
	case p.Finished == nil:
		fmt.Fprintf(w, "  %s confirms until %s\n", x.Second, x.ConfirmBy.Local().Format(time.DateTime))
	}
	switch {
	case x.ReviewedAt != nil:
		fmt.Fprintf(w, "  reviewed by %s at %s: %s\n", x.ReviewedBy, x.ReviewedAt.Local().Format(time.DateTime), x.Note)
	case x.Unreviewed() && p.Finished != nil:
		fmt.Fprintf(w, "  its review is open: waybill review close %s --note …\n", p.ID)
	}
}

func (a *app) reviews() *cobra.Command {
	cmd := &cobra.Command{Use: "review", Aliases: []string{"reviews"}, Short: "Reviews of emergency promotions"}
	var environment, note string
	var all bool
	list := &cobra.Command{
		Use: "list", Short: "List the reviews that are open, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := whole[store.Emergency](cmd.Context(), a, fmt.Sprintf("/api/v1/reviews?environment=%s&closed=%t", url.QueryEscape(environment), all))
			if err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { reviewTable(w, found) })
		},
	}
	list.Flags().StringVar(&environment, "environment", "", "only of this one")
	list.Flags().BoolVar(&all, "all", false, "also those that are closed")
	shut := &cobra.Command{
		Use: "close PROMOTION", Short: "Close the review of an emergency promotion that has ended", Args: exactly("PROMOTION"),
		Long: `Close the review of an emergency promotion that has ended: say what was found, and what follows from it. Ordinary
promotions may then enter the environment again. Whoever broke the glass cannot close it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(note) == "" {
				return usagef("--note is missing: say what was found, and what follows from it")
			}
			var x store.Emergency
			if err := a.call(cmd.Context(), "POST", "/api/v1/reviews/"+url.PathEscape(args[0])+"/close", map[string]string{"note": note}, &x); err != nil {
				return err
			}
			return a.print(x, func(w io.Writer) {
				fmt.Fprintf(w, "closed: ordinary promotions may enter %s again, once no other review is open there\n", x.Environment)
			})
		},
	}
	shut.Flags().StringVar(&note, "note", "", "what was found, and what follows from it (needed)")
	cmd.AddCommand(list, shut)
	return cmd
}

func reviewTable(w io.Writer, found []store.Emergency) {
	if len(found) == 0 {
		fmt.Fprintln(w, "No review is open.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROMOTION\tENVIRONMENT\tASKED BY\tCONFIRMED BY\tAT\tWHY\tREVIEW")
	for _, x := range found {
		review := "open"
		if x.ReviewedAt != nil {
			review = "closed by " + x.ReviewedBy + ": " + cutTo(x.Note, 80)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Promotion, x.Environment, x.AskedBy, x.Second, x.ConfirmedAt.Local().Format(time.DateTime), cutTo(x.Reason, 80), review)
	}
	_ = t.Flush()
}
