package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
)

func (a *app) estate() *cobra.Command {
	cmd := &cobra.Command{Use: "estate", Short: "The declared state, where it is kept in Git"}
	ask := func(method, path string, in any) func(*cobra.Command) error {
		return func(cmd *cobra.Command) error {
			var e api.Estate
			if err := a.call(cmd.Context(), method, path, in, &e); err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { showEstate(w, e) })
		}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "status", Short: "Show which commit is in force, and what waits to be written to Git", Args: exactly(),
			RunE: func(cmd *cobra.Command, _ []string) error { return ask("GET", "/api/v1/estate", nil)(cmd) }},
		&cobra.Command{Use: "refresh", Short: "Have the server look at the repository now", Args: exactly(),
			RunE: func(cmd *cobra.Command, _ []string) error { return ask("POST", "/api/v1/estate/refresh", nil)(cmd) }},
		&cobra.Command{Use: "accept COMMIT", Short: "Take a commit although history was rewritten before it",
			Long: `Take the branch's newest commit although it does not follow from the one in force: somebody has
rewritten history. Look at what is gone first; the server's own commits may be among it.`,
			Args: exactly("COMMIT"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask("POST", "/api/v1/estate/accept", map[string]string{"commit": args[0]})(cmd)
			}},
	)
	return cmd
}

func showEstate(w io.Writer, e api.Estate) {
	fmt.Fprintf(w, "commit %s is in force\n", orWord(e.Commit, "none"))
	if e.Problem != "" {
		fmt.Fprintf(w, "not in force: %s\n", e.Problem)
	}
	if len(e.Targets) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ENVIRONMENT\tRELEASE\tCOMMIT\tPROMOTION\tWAITS FOR")
		for _, target := range e.Targets {
			fmt.Fprintf(t, "%s\t%.19s\t%.10s\t%s\t%s\n", target.Environment, target.Release, target.Commit, target.Promotion, target.Problem)
		}
		_ = t.Flush()
	}
	for _, c := range e.Configurations {
		switch {
		case c.Problem != "":
			fmt.Fprintf(w, "configuration of %s: %s\n", c.Environment, c.Problem)
		case len(c.Differs) > 0:
			fmt.Fprintf(w, "configuration of %s: the serving pools were not started with %s of commit %.10s (promotion %s); try again: waybill configure %s\n",
				c.Environment, strings.Join(c.Differs, ", "), c.Commit, orWord(c.Promotion, "none"), c.Environment)
		}
	}
	fmt.Fprintf(w, "the server signs what it commits with: %s\n", e.Key)
	for _, r := range e.Reversals {
		fmt.Fprintf(w, "to be written to Git: %s goes back to %s (promotion %s); %d tries, the last: %s\n", r.Environment, orWord(r.BackTo, "nothing"), r.Promotion, r.Tries, r.Problem)
	}
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
