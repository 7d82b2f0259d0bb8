package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/release"
)

func (a *app) releaseList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List releases, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []release.Release
			if err := a.call(cmd.Context(), "GET", "/api/v1/releases", nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) {
				if len(found) == 0 {
					fmt.Fprintln(w, "No release yet. Build one: waybill build --source REPOSITORY")
					return
				}
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "NAME\tDIGEST\tCOMMIT\tCOMMITTED\tMODULES")
				for _, r := range found {
					fmt.Fprintf(t, "%s\t%.19s\t%.10s\t%s\t%d\n", r.Name, r.Digest, r.Commit, r.Created.Local().Format(time.DateTime), len(r.Modules))
				}
				_ = t.Flush()
			})
		}}
}
