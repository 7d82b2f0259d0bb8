package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// longestLine bounds what is read of standard input as a password.
const longestLine = 4096

func (a *app) userPassword() *cobra.Command {
	var remove, own bool
	cmd := &cobra.Command{
		Use: "password NAME", Short: "Give a user a password for the console, or take it away", Args: exactly("NAME"),
		Long: `Give a user of the estate a password to log in to the console with, or take it away. It is asked for
twice at a terminal, or read as the first line of standard input; it is never an argument, where others
could read it. An admin gives it to anybody. Users change their own with --own, which asks for the one before
first (the first line of standard input). All sessions of the user end.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/users/" + url.PathEscape(args[0]) + "/password"
			if remove {
				var done struct {
					Removed bool `json:"removed"`
				}
				if err := a.call(cmd.Context(), "DELETE", path, nil, &done); err != nil {
					return err
				}
				return a.print(done, func(w io.Writer) {
					if !done.Removed {
						fmt.Fprintf(w, "%s had no password\n", args[0])
						return
					}
					fmt.Fprintf(w, "%s has no password any more\n", args[0])
				})
			}
			ask := a.passwords(cmd.InOrStdin())
			in := map[string]string{}
			var err error
			if own {
				if in["current"], err = ask("Password until now: ", false); err != nil {
					return err
				}
			}
			if in["password"], err = ask("New password of "+args[0]+": ", true); err != nil {
				return err
			}
			if err := a.call(cmd.Context(), "PUT", path, in, nil); err != nil {
				return err
			}
			return a.print(map[string]string{"password": "set", "user": args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s has a new password; sessions from before are over\n", args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the password away")
	cmd.Flags().BoolVar(&own, "own", false, "change your own: asks for the one before first")
	cmd.MarkFlagsMutuallyExclusive("remove", "own")
	return cmd
}

// passwords asks at a terminal without showing what is typed, or reads a line each.
func (a *app) passwords(in io.Reader) func(prompt string, twice bool) (string, error) {
	f, _ := in.(*os.File)
	if f != nil && term.IsTerminal(int(f.Fd())) {
		read := func(prompt string) (string, error) {
			fmt.Fprint(a.err, prompt)
			text, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(a.err)
			return string(text), err
		}
		return func(prompt string, twice bool) (string, error) {
			first, err := read(prompt)
			if err != nil || !twice {
				return first, err
			}
			again, err := read("Once more: ")
			if err == nil && again != first {
				return "", usagef("the two are not the same; nothing was changed")
			}
			return first, err
		}
	}
	lines := bufio.NewReader(io.LimitReader(in, longestLine))
	return func(string, bool) (string, error) {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if line == "" {
			return "", usagef("standard input holds no password: one line expected")
		}
		return line, nil
	}
}
