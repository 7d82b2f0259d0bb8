package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/router"
)

// router is the process in front of an environment's pools; Waybill starts it, people need not.
func (a *app) router() *cobra.Command {
	c := router.Config{}
	cmd := &cobra.Command{
		Use: "router", Short: "Run a router (Waybill starts these itself)", Hidden: true, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Log = slog.Default()
			return router.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&c.HTTP, "http", "", "host:port")
	cmd.Flags().StringVar(&c.HTTPS, "https", "", "host:port, with TLS")
	cmd.Flags().StringVar(&c.Cert, "certificate", "", "PEM file")
	cmd.Flags().StringVar(&c.Key, "key", "", "PEM file")
	cmd.Flags().StringVar(&c.Admin, "admin", "", "socket through which the server gives orders")
	cmd.Flags().StringVar(&c.AdminTLS, "admin-tls", "", "host:port through which a server on another machine gives orders")
	cmd.Flags().StringVar(&c.AdminPair, "admin-pair", "", "folder with the certificate and key that both of them hold")
	cmd.Flags().StringVar(&c.Table, "table", "", "file with a routing table, followed as it changes")
	cmd.Flags().StringSliceVar(&c.Proxies, "proxies", nil, "networks of the proxies in front, which may say who the client is")
	cmd.Flags().StringVar(&c.State, "state", "", "folder that keeps the routes in force")
	return cmd
}
