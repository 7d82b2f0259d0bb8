package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/server"
	"github.com/waybill-dev/waybill/internal/telemetry"
)

// defaultListen is where a server listens when nobody says otherwise.
const defaultListen = "127.0.0.1:7480"

// watchFlags are those for whoever watches the server.
func watchFlags(cmd *cobra.Command, c *server.Config) (log *string) {
	cmd.Flags().StringVar(&c.Metrics, "metrics", "", "host:port where anybody who reaches it may read metrics, for example 127.0.0.1:7481; without, only with a token, at /metrics of the API")
	return cmd.Flags().String("log", "text", "how log lines are written: text or json")
}

func (a *app) up() *cobra.Command {
	c := server.Config{}
	var login, tls func() error
	var log *string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the server with everything it needs embedded, in one data folder",
		Long: `Run the server in the foreground: PostgreSQL for its own state and a second one for
tenants, an OCI registry, an object store and keys, all in the data folder and on
one port. Ctrl-C stops it gracefully; pools, routers and the tenants' database go on.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, taken := range []func() error{login, tls} {
				if err := taken(); err != nil {
					return err
				}
			}
			return a.serveWith(cmd.Context(), *log, c)
		},
	}
	cmd.Flags().StringVar(&c.Estate, "estate", ".", "folder with the declared state")
	cmd.Flags().StringVar(&c.Listen, "listen", defaultListen, "host:port of API and registry")
	login, log = loginFlags(cmd, &c), watchFlags(cmd, &c)
	tls = tlsFlags(cmd, &c)
	return cmd
}

func (a *app) serve() *cobra.Command {
	c := server.Config{}
	var login, tls, kube func() error
	var log *string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server on a PostgreSQL, a registry and a bucket given by URL",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.DatabaseURL == "" {
				c.DatabaseURL = os.Getenv("WAYBILL_DATABASE_URL") // not in argv: it holds a password
			}
			for name, value := range map[string]string{"--database (or WAYBILL_DATABASE_URL)": c.DatabaseURL, "--registry": c.Registry, "--bucket": c.Bucket} {
				if value == "" {
					return usagef("serve needs %s; waybill up brings its own", name)
				}
			}
			for _, taken := range []func() error{kube, login, tls} {
				if err := taken(); err != nil {
					return err
				}
			}
			return a.serveWith(cmd.Context(), *log, c)
		},
	}
	login, log, kube = loginFlags(cmd, &c), watchFlags(cmd, &c), kubeFlags(cmd, &c)
	tls = tlsFlags(cmd, &c)
	cmd.Flags().StringVar(&c.Estate, "estate", ".", "folder with the declared state")
	cmd.Flags().StringVar(&c.Listen, "listen", defaultListen, "host:port of the API")
	cmd.Flags().StringVar(&c.DatabaseURL, "database", "", "URL of PostgreSQL for Waybill's own state; with a password, rather WAYBILL_DATABASE_URL")
	cmd.Flags().StringVar(&c.Registry, "registry", "", "host[:port][/prefix] of the OCI registry")
	cmd.Flags().StringVar(&c.Bucket, "bucket", "", "bucket for checkpoints: s3://…, file:///…")
	return cmd
}

func (a *app) down() *cobra.Command {
	c := server.Config{}
	var kube func() error
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop what goes on serving when the server has stopped",
		Long: `Stop pools, routers and the tenants' database of a data folder, after the server has been
stopped; with --runtime kube and what waybill serve was told of the cluster, the namespaces of the
environments are removed. Nothing is lost: databases and filestores stay, and the next waybill up, or
serve, brings everything back.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := kube(); err != nil {
				return err
			}
			if err := server.Down(cmd.Context(), a.data, c.Kube, slog.Default()); err != nil {
				return err
			}
			return a.print(map[string]string{"down": a.data}, func(w io.Writer) { fmt.Fprintln(w, "everything of", a.data, "has stopped") })
		},
	}
	kube = kubeFlags(cmd, &c)
	return cmd
}

func (a *app) serveWith(ctx context.Context, log string, c server.Config) error {
	switch log {
	case "text":
	case "json":
		slog.SetDefault(slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: a.level()})))
	default:
		return usagef("--log %s: expected text or json", log)
	}
	c.Data, c.Version, c.Log = a.data, version, slog.New(telemetry.LogHandler(slog.Default().Handler()))
	c.Ready = func(url string) { fmt.Fprintln(a.out, "waybill: ready on", url) }
	c.Fault = faultFromEnvironment()
	return server.Run(ctx, c)
}

// faultFromEnvironment lets tests kill the server at a point of a procedure: WAYBILL_KILL_AT names
// it, for example "after:update" or "inside:checkpoint". It does what kill -9 does, and nothing else.
func faultFromEnvironment() func(string) {
	at := os.Getenv("WAYBILL_KILL_AT")
	if at == "" {
		return nil
	}
	return func(point string) {
		if strings.EqualFold(point, at) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
}
