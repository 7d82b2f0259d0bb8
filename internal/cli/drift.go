package cli

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/drift"
)

func (a *app) drift() *cobra.Command {
	return &cobra.Command{
		Use:   "drift ENVIRONMENT",
		Short: "Show what in the cluster is not as Waybill applied it, and who owns the field",
		Long: `Show which objects of an environment on Kubernetes somebody else has changed or deleted: each field,
from what to what, who owns it by the cluster's own record, and since when. Values of secrets are never shown.
Whether it is brought back, the estate says (drift: heal).
Exit code 0: all is as applied; 1: something is not.`,
		Args: exactly("ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var found api.Drift
			if err := a.call(cmd.Context(), "GET", "/api/v1/drift/"+url.PathEscape(args[0]), nil, &found); err != nil {
				return err
			}
			if err := a.print(found, func(w io.Writer) { showDrift(w, found) }); err != nil || len(found.Objects) == 0 {
				return err
			}
			return exit(exitFailed)
		},
	}
}

func showDrift(w io.Writer, found api.Drift) {
	if len(found.Objects) == 0 {
		fmt.Fprintf(w, "Everything of %s that was applied to a cluster is as it was applied.\n", found.Environment)
		return
	}
	for _, o := range found.Objects {
		fmt.Fprintf(w, "%s  since %s", bad.Render(drift.Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}.String()), o.Since.Local().Format(time.DateTime))
		switch {
		case o.Fought:
			fmt.Fprintf(w, "  brought back %d times within the hour and changed again: left alone", o.Healed)
		case o.Healed > 0:
			fmt.Fprintf(w, "  brought back %d times within the hour", o.Healed)
		}
		fmt.Fprintln(w)
		for _, line := range o.Says {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}
