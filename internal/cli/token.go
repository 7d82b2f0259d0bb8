package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
)

func (a *app) tokens() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Aliases: []string{"tokens"}, Short: "Tokens that users show to the server"}
	cmd.AddCommand(a.tokenCreate(), a.tokenList(), a.tokenRevoke())
	return cmd
}

func (a *app) tokenCreate() *cobra.Command {
	var label, life, out string
	var roles, environments []string
	cmd := &cobra.Command{
		Use: "create USER", Short: "Make a token for a user of the estate", Args: exactly("USER"),
		Long: `Make a token for a user of the estate. It is shown once and kept nowhere; the server keeps its hash.
It can do what the user may on the day it is used, and with --role and --environment no more than that
part of it. Whoever makes one for themselves makes one that reaches no further and holds no longer than
the one that they show. To use it: --token-file FILE or WAYBILL_TOKEN; never as an argument.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			holds, err := days(life)
			if err != nil {
				return err
			}
			file, err := newFile(out)
			if err != nil {
				return err
			}
			in := map[string]any{"user": args[0], "label": label, "seconds": int64(holds.Seconds())}
			if len(roles) > 0 {
				in["roles"] = roles
			}
			if len(environments) > 0 {
				in["environments"] = environments
			}
			var made api.Token
			if err := a.call(cmd.Context(), "POST", "/api/v1/tokens", in, &made); err != nil {
				if file != nil {
					_ = file.Close()
					_ = os.Remove(out)
				}
				return err
			}
			if file != nil {
				_, err := fmt.Fprintln(file, made.Text)
				if err := errors.Join(err, file.Close()); err != nil {
					return fmt.Errorf("write token %s: %w. Revoke it: waybill token revoke %s", made.ID, err, made.ID)
				}
				made.Text = ""
			}
			return a.print(made, func(w io.Writer) {
				if file == nil {
					fmt.Fprintln(w, made.Text)
				}
				fmt.Fprintf(a.err, "token %s of %s, until %s\n", made.ID, made.User, made.Expires.Local().Format(time.DateTime))
			})
		},
	}
	cmd.Flags().StringVar(&label, "label", "", "what to call it, for example where it is used")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "no more than this role of the user (may be given again)")
	cmd.Flags().StringSliceVar(&environments, "environment", nil, "only in this environment (may be given again)")
	cmd.Flags().StringVar(&life, "expires", "90d", "how long it holds, for example 8h or 30d; at most 366d")
	cmd.Flags().StringVar(&out, "out", "", "write it to this new file, which nobody else can read, instead of showing it")
	return cmd
}

// newFile makes a file that only its owner can read; nil where none is named. It is made before the token, so
// that no token is lost for want of a place.
func newFile(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, usagef("--out: %w", err)
	}
	return f, nil
}

// days reads a duration, which may be in days.
func days(s string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n <= 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, usagef("--expires %s: expected a duration like 8h or 30d", s)
	}
	return d, nil
}

func (a *app) tokenList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "list", Short: "List tokens, newest first: never their text", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := whole[api.Token](cmd.Context(), a, "/api/v1/tokens?user="+url.QueryEscape(user))
			if err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { tokenTable(w, found) })
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only of this one")
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a token, and those that were made with it, now", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ended []string
			if err := a.call(cmd.Context(), "DELETE", "/api/v1/tokens/"+url.PathEscape(args[0]), nil, &ended); err != nil {
				return err
			}
			return a.print(map[string][]string{"revoked": ended}, func(w io.Writer) {
				if len(ended) == 0 {
					fmt.Fprintf(w, "%s was revoked already\n", args[0])
					return
				}
				fmt.Fprintf(w, "revoked: %s\n", strings.Join(ended, ", "))
			})
		},
	}
}

func tokenTable(w io.Writer, found []api.Token) {
	if len(found) == 0 {
		fmt.Fprintln(w, "No token yet. Make one: waybill token create USER")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSER\tLABEL\tSTATE\tEXPIRES\tUSED\tONLY")
	for _, k := range found {
		var only []string
		if len(k.Roles) > 0 {
			only = append(only, strings.Join(k.Roles, ", "))
		}
		if len(k.Environments) > 0 {
			only = append(only, "in "+strings.Join(k.Environments, ", "))
		}
		used := k.Used
		if used == "" {
			used = "never"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.User, k.Label, k.State, k.Expires.Local().Format(time.DateOnly), used, strings.Join(only, " "))
	}
	_ = t.Flush()
}
