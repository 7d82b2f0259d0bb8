package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/filestore/gateway"
)

// files stands between the pools of an environment in Kubernetes and the bucket of their files; Waybill starts it, people need not.
func (a *app) files() *cobra.Command {
	var listen, bucket, key string
	cmd := &cobra.Command{
		Use: "files", Short: "Let pools at their own files in a bucket (Waybill starts these itself)", Hidden: true, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return gateway.Run(cmd.Context(), listen, bucket, key, slog.Default())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "host:port")
	cmd.Flags().StringVar(&bucket, "bucket", "", "URL of the bucket, as for waybill serve; its credentials are in the environment")
	cmd.Flags().StringVar(&key, "key", "", "file with the key that the pools' tokens are signed with")
	for _, name := range []string{"listen", "bucket", "key"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}
