package cli

import (
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/runtime/kube/results"
)

// results runs beside a job in Kubernetes that shares no folder with Waybill; Waybill starts it, people need not.
func (a *app) results() *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use: "results", Short: "Print what a job has written, once it has ended (Waybill starts these itself)", Hidden: true, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return results.Run(cmd.Context(), folder, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&folder, "folder", "", "folder with the files")
	return cmd
}
