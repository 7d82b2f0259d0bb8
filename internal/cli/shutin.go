package cli

import (
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/runtime/kube/shutin"
)

// shutIn runs in a rehearsal's pods in Kubernetes before Odoo does; Waybill starts it, people need not.
func (a *app) shutIn() *cobra.Command {
	var reach string
	var not []string
	cmd := &cobra.Command{
		Use: "shut-in", Short: "Prove that a pod reaches one address only (Waybill starts these itself)", Hidden: true, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if host := os.Getenv("KUBERNETES_SERVICE_HOST"); host != "" { // the cluster's API, which every pod is told of
				not = append(not, net.JoinHostPort(host, os.Getenv("KUBERNETES_SERVICE_PORT")))
			}
			return shutin.Check(cmd.Context(), reach, not)
		},
	}
	cmd.Flags().StringVar(&reach, "reach", "", "host:port")
	cmd.Flags().StringSliceVar(&not, "not", nil, "host:port, as often as needed")
	return cmd
}
