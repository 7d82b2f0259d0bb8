package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// releaseChanges is what release diff tells.
type releaseChanges struct {
	From releaseName `json:"from"`
	To   releaseName `json:"to"`
	odoo.Difference
}

type releaseName struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Commit string `json:"commit"`
}

func nameOf(r release.Release) releaseName { return releaseName{r.Name, r.Digest, r.Commit} }

func (a *app) releaseDiff() *cobra.Command {
	var registry string
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "Show what an update from one release to another touches, and why",
		Long: `Show what lies between two releases: the modules that changed, came or went, those that are
loaded anew since they depend on a changed one, and what is new in the base. It is told for a
database that has all modules; one with fewer is touched less.`,
		Args: exactly("FROM", "TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, _, _, err := a.findRelease(cmd.Context(), args[0], registry)
			if err != nil {
				return err
			}
			to, _, _, err := a.findRelease(cmd.Context(), args[1], registry)
			if err != nil {
				return err
			}
			between, err := odoo.Compare(from, to)
			if err != nil {
				return fmt.Errorf("comparing %s with %s: %w", from.Name, to.Name, err)
			}
			changes := releaseChanges{nameOf(from), nameOf(to), between}
			return a.print(changes, func(w io.Writer) {
				fmt.Fprintf(w, "%s (%.12s) → %s (%.12s)\n", from.Name, from.Commit, to.Name, to.Commit)
				showDifference(w, between)
			})
		},
	}
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own; releases are then NAME:TAG or NAME@DIGEST")
	return cmd
}

// maxShownModules is how many modules of the base are printed of each kind; the product's own all are.
const maxShownModules = 12

func showDifference(w io.Writer, d odoo.Difference) {
	if d.Empty() {
		fmt.Fprintln(w, "  nothing changed: the same modules on the same base")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.Base {
		fmt.Fprintf(t, "  base\t%s\t%s → %s\n", f.Name, dash(clip(f.From)), dash(clip(f.To)))
	}
	for _, group := range []struct {
		what    string
		modules []odoo.ModuleChange
	}{{"changed", d.Changed}, {"added", d.Added}, {"removed", d.Removed}, {"depends", d.Dependent}} {
		ofBase := 0
		for _, m := range group.modules {
			if m.Base {
				if ofBase++; ofBase > maxShownModules {
					continue
				}
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", group.what, m.Name, versions(m), m.Reason)
		}
		if ofBase > maxShownModules {
			fmt.Fprintf(t, "  %s\tand %d more of the base\t\t-o json lists them\n", group.what, ofBase-maxShownModules)
		}
	}
	_ = t.Flush()
	if len(d.Removed) > 0 {
		fmt.Fprintln(w, "  A database that has a removed module installed cannot take the release: uninstall it there first.")
	}
	for _, name := range d.Older {
		fmt.Fprintf(w, "  %s goes back to an older version, and there are no scripts that way.\n", name)
	}
}

func versions(m odoo.ModuleChange) string {
	switch {
	case m.From == "":
		return m.To
	case m.To == "" || m.From == m.To:
		return m.From
	}
	return m.From + " → " + m.To
}
