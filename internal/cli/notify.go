package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/secret"
)

func (a *app) notify() *cobra.Command {
	cmd := &cobra.Command{Use: "notify", Short: "Who is told what"}
	var folder string
	list := &cobra.Command{Use: "list", Short: "List the targets of the estate", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			declared, err := a.estateOf(cmd.Context(), folder)
			if err != nil {
				return err
			}
			targets := []estate.NotificationTarget{}
			if declared.Notifications != nil {
				targets = declared.Notifications.Targets
			}
			return a.print(targets, func(w io.Writer) {
				if len(targets) == 0 {
					fmt.Fprintln(w, "The estate has no targets: nobody is told. Declare some with kind: Notifications.")
				}
				for _, t := range targets {
					fmt.Fprintf(w, "%s: %s, in %s\n", t.Name, orAll(t.Events, "all events"), orAll(t.Environments, "all environments"))
				}
			})
		}}
	test := &cobra.Command{Use: "test TARGET", Short: "Tell one target something harmless, now",
		Long: `Tell one target something harmless, now, from this machine and with this process's
environment: the server may see other variables and files. Exit code 0: it took the message.`,
		Args: exactly("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			declared, err := a.estateOf(cmd.Context(), folder)
			if err != nil {
				return err
			}
			return a.testTarget(cmd.Context(), declared, args[0])
		}}
	for _, sub := range []*cobra.Command{list, test} {
		sub.Flags().StringVar(&folder, "estate", "", "folder with the declared state; default: the server's, where one runs")
	}
	cmd.AddCommand(list, test)
	return cmd
}

func orAll(list []string, all string) string {
	if len(list) == 0 {
		return all
	}
	return strings.Join(list, ", ")
}

func (a *app) testTarget(ctx context.Context, declared *estate.Estate, name string) error {
	var names []string
	if declared.Notifications != nil {
		for _, t := range declared.Notifications.Targets {
			names = append(names, t.Name)
			if t.Name != name {
				continue
			}
			address, err := secret.Read(ctx, declared.Root, t.URL)
			if err != nil {
				return err
			}
			now := time.Now()
			m := notify.Message{Key: fmt.Sprintf("test/%d", now.UnixNano()), Event: "test", Title: "Waybill: a test", At: now,
				Text: fmt.Sprintf("This is a test of target %s, sent by %s. It works.", name, thisPerson()), Needed: "nothing"}
			began := time.Now()
			if err := notify.Send(ctx, t, address, m); err != nil {
				return err
			}
			took := time.Since(began)
			return a.print(map[string]any{"target": name, "seconds": took.Seconds()}, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s took the message in %.1f s\n", good.Render("✓"), name, took.Seconds())
			})
		}
	}
	if len(names) == 0 {
		return usagef("the estate has no targets; declare some with kind: Notifications")
	}
	return usagef("the estate has no target %q; it has %s", name, strings.Join(names, ", "))
}

// thisPerson names the person and the machine.
func thisPerson() string {
	who := "somebody"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who += " on " + host
	}
	return who
}
