package cli

import (
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

// witness runs beside the processes of a pool in Kubernetes; Waybill starts it, people need not.
func (a *app) witness() *cobra.Command {
	var listen, folder string
	cmd := &cobra.Command{
		Use: "witness", Short: "Tell which files a pod sees (Waybill starts these itself)", Hidden: true, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return witness.Run(cmd.Context(), listen, folder) },
	}
	cmd.Flags().StringVar(&listen, "listen", "", "host:port")
	cmd.Flags().StringVar(&folder, "folder", "", "folder with the files")
	return cmd
}
