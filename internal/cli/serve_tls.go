package cli

import (
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/server"
)

// tlsFlags are those of how people's requests arrive; check refuses what does not go together, once they are parsed.
func tlsFlags(cmd *cobra.Command, c *server.Config) (check func() error) {
	f := cmd.Flags()
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM file with the certificate's chain: the server speaks TLS; read again when it has changed")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM file with its private key")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxies", nil, "networks of the proxies before the server, which may say who the client is and whether it has come by TLS, for example 10.0.0.0/16")
	return func() error {
		if (c.TLSCert == "") != (c.TLSKey == "") {
			return usagef("--tls-cert and --tls-key go together: the certificate's chain and its private key")
		}
		return nil
	}
}
