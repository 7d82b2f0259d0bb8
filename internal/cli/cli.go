// Package cli is the command line: one file a verb. It talks to the API only, as any client would;
// build, router and recover work without a server.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/estate"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitWaiting = 3 // a person is needed
)

// version and commit are set by the linker.
var (
	version = "development"
	commit  = ""
)

// exit is an error that only carries an exit code; what there was to say has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usage is an error in what was typed.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// app is what every verb has at hand.
type app struct {
	out, err io.Writer
	data     string
	server   string
	format   string
	verbose  bool

	tokenFile string
	caFile    string
	reach     http.RoundTripper // of way, once asked
}

// Main runs the command line and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout, err: os.Stderr}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	var code exit
	var typed usage
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &typed), len(estate.Problems(err)) > 0:
		fmt.Fprintln(a.err, "waybill:", err)
		return exitUsage
	}
	fmt.Fprintln(a.err, "waybill:", err)
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Release reliability for Odoo: from source to production, and back when it must",
		Long: `Waybill takes one immutable release of Odoo from source to production, updates each
database in one transaction, shifts real traffic by evidence, and takes a release
back by itself when the business suffers.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case a.format == "sarif" && cmd.Name() == "check", a.format == formatHTML && cmd.Name() == "waybill", a.format == formatCSV && cmd.Name() == "report":
			case a.format != "text" && a.format != "json":
				return usagef("-o %s: expected text or json, for waybill check also sarif, for waybill promotion waybill also html, for waybill report also csv", a.format)
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: a.level()})))
			return nil
		},
	}
	root.PersistentFlags().StringVar(&a.data, "data", defaultData(), "data folder of the server (WAYBILL_DATA)")
	root.PersistentFlags().StringVar(&a.server, "server", "", "URL of the server; default: the one that runs on the data folder")
	root.PersistentFlags().StringVar(&a.tokenFile, "token-file", "", "file with your token (or WAYBILL_TOKEN); default: that of the data folder")
	root.PersistentFlags().StringVar(&a.caFile, "ca", "", "PEM file of authorities whose certificate of the server counts, beside the system's (or WAYBILL_CA)")
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "text", "text or json; check knows sarif too, promotion waybill html, report csv")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	root.AddCommand(
		a.up(), a.serve(), a.down(), a.initEstate(), a.estate(), a.calendar(), a.gatePolicies(), a.notify(), a.base(), a.check(), a.build(), a.releases(), a.tenant(),
		a.impact(), a.rehearse(), a.rehearsals(), a.promote(), a.configure(), a.promotions(), a.approve(), a.reject(), a.confirm(), a.reviews(), a.rollback(), a.quarantine(), a.status(), a.report(),
		a.ledger(), a.verifyWaybill(), a.checkpoint(), a.restore(), a.recover(), a.runbook(), a.doctor(), a.key(), a.user(), a.tokens(), a.secrets(), a.isolation(), a.drift(), a.whoami(), a.version(), a.router(), a.witness(), a.files(), a.shutIn(), a.results(),
	)
	verbsOnly(root)
	return root
}

func (a *app) level() slog.Level {
	if a.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// verbsOnly makes a word that is no verb a mistake, wherever verbs are expected.
func verbsOnly(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		verbsOnly(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see: " + cmd.CommandPath() + " --help"
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("%s has no verb %q; %s", cmd.CommandPath(), args[0], hint)
	}
}

// defaultData is the data folder where none is named.
func defaultData() string {
	if dir := os.Getenv("WAYBILL_DATA"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/waybill"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".waybill"
	}
	return filepath.Join(home, ".local", "share", "waybill")
}

// print shows a value: as JSON where that was asked for, else by text.
func (a *app) print(v any, text func(io.Writer)) error {
	if a.format == "json" {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	text(a.out)
	return nil
}

func expectation(names []string) string {
	if len(names) == 0 {
		return "no arguments"
	}
	return strings.Join(names, " ")
}

// exactly checks the number of arguments and says what they are.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s: expected %s, got %d arguments; see: %s --help", cmd.CommandPath(), expectation(names), len(args), cmd.CommandPath())
		}
		return nil
	}
}
