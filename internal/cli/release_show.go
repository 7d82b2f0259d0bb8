package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/release"
)

func (a *app) releaseShow() *cobra.Command {
	return &cobra.Command{Use: "show RELEASE", Short: "Show what a release contains", Args: exactly("RELEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r release.Release
			if err := a.call(cmd.Context(), "GET", "/api/v1/releases/"+url.PathEscape(args[0]), nil, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s  %s\nOdoo %s on %s (%s)\ncommit %s of %s, %s\n", r.Name, r.Digest, r.Base.Version, r.Base.Reference, r.Base.Digest, r.Commit, r.Source, r.Created.Local().Format(time.DateTime))
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, m := range r.Modules {
					fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Name, m.Version, strings.Join(m.Depends, ", "))
				}
				_ = t.Flush()
			})
		}}
}
