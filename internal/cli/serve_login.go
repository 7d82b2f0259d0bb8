package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/openid"
	"github.com/waybill-dev/waybill/internal/server"
)

// openIDSecret holds the client's secret where no file is named; it is never an argument.
const openIDSecret = "WAYBILL_OIDC_SECRET"

// loginFlags are those of how people log in; read takes them, once they are parsed.
func loginFlags(cmd *cobra.Command, c *server.Config) (read func() error) {
	var secretFile string
	f := cmd.Flags()
	f.StringVar(&c.PublicURL, "public-url", "", "where people reach the server, for example https://waybill.example.com")
	f.StringVar(&c.OpenID.Issuer, "oidc-issuer", "", "URL of an OpenID Connect provider that people log in at")
	f.StringVar(&c.OpenID.ClientID, "oidc-client", "", "how this server is known there")
	f.StringVar(&secretFile, "oidc-secret-file", "", "file with the client's secret (or "+openIDSecret+")")
	f.StringVar(&c.OpenID.Name, "oidc-name", "", "what people call the provider; default: its host")
	f.StringVar(&c.OpenID.Claim, "oidc-claim", openid.DefaultClaim, "claim that names a user of the estate, or an address of one")
	return func() error {
		if c.OpenID.Issuer == "" {
			return nil
		}
		if c.OpenID.ClientID == "" || c.PublicURL == "" {
			return usagef("--oidc-issuer needs --oidc-client, and --public-url for the provider to send people back to")
		}
		c.OpenID.Secret = strings.TrimSpace(os.Getenv(openIDSecret))
		if secretFile == "" {
			return nil
		}
		content, err := os.ReadFile(secretFile)
		if err != nil {
			return usagef("--oidc-secret-file: %w", err)
		}
		if c.OpenID.Secret = strings.TrimSpace(string(content)); c.OpenID.Secret == "" {
			return usagef("--oidc-secret-file: %s is empty", secretFile)
		}
		return nil
	}
}
