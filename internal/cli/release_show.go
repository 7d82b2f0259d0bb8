package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// shownRelease is what release show tells: the release's own fields, and what is known about it.
type shownRelease struct {
	release.Release
	Running  []runningRelease `json:"running"` // what runs in each environment, and what the release would change there
	Evidence evidence         `json:"evidence"`
}

// runningRelease is a release that serves tenants of an environment.
type runningRelease struct {
	Environment string           `json:"environment"`
	Tenants     []string         `json:"tenants"`
	Name        string           `json:"name"`
	Digest      string           `json:"digest"`
	This        bool             `json:"this,omitempty"` // it is the one that is shown
	Difference  *odoo.Difference `json:"difference,omitempty"`
	Error       string           `json:"error,omitempty"` // why there is no difference
}

func (a *app) releaseShow() *cobra.Command {
	var registry string
	cmd := &cobra.Command{Use: "show RELEASE", Short: "Show what a release contains, and what it changes against what runs", Args: exactly("RELEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, image, _, err := a.findRelease(cmd.Context(), args[0], registry)
			if err != nil {
				return err
			}
			shown := shownRelease{Release: r, Running: []runningRelease{}}
			var s api.Status
			if registry == "" {
				if err := a.call(cmd.Context(), "GET", "/api/v1/status", nil, &s); err != nil {
					return err
				}
				shown.Running = a.running(cmd.Context(), s, r)
			}
			shown.Evidence = a.evidence(cmd.Context(), image, s.Estate, registry)
			return a.print(shown, func(w io.Writer) { shown.text(w) })
		}}
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own; RELEASE is then NAME:TAG or NAME@DIGEST")
	return cmd
}

// running finds what serves in each environment and compares it with r.
func (a *app) running(ctx context.Context, s api.Status, r release.Release) []runningRelease {
	list := []runningRelease{}
	for _, env := range s.Environments {
		for _, tenant := range env.Tenants {
			if tenant.ServingDigest == "" {
				continue
			}
			known := slices.IndexFunc(list, func(x runningRelease) bool {
				return x.Environment == env.Name && x.Digest == tenant.ServingDigest
			})
			if known < 0 {
				known = len(list)
				list = append(list, runningRelease{Environment: env.Name, Name: tenant.Serving, Digest: tenant.ServingDigest, This: tenant.ServingDigest == r.Digest})
			}
			list[known].Tenants = append(list[known].Tenants, tenant.Name)
		}
	}
	compared := map[string]*runningRelease{}
	for i := range list {
		x := &list[i]
		if before, ok := compared[x.Digest]; ok {
			x.Difference, x.Error = before.Difference, before.Error
			continue
		}
		compared[x.Digest] = x
		if x.This {
			continue
		}
		from, _, _, err := a.findRelease(ctx, x.Digest, "")
		if err == nil {
			var d odoo.Difference
			if d, err = odoo.Compare(from, r); err == nil {
				x.Difference = &d
			}
		}
		if err != nil {
			x.Error = err.Error()
		}
	}
	return list
}

func (s shownRelease) text(w io.Writer) {
	r := s.Release
	fmt.Fprintf(w, "%s  %s@%s\n", heading.Render(r.Name), r.Repository, r.Digest)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	where := r.Source
	if len(r.Addons) > 0 {
		where += ", " + strings.Join(r.Addons, ", ")
	}
	fmt.Fprintf(t, "  commit\t%s, %s\n", r.Commit, r.Created.Local().Format(time.DateTime))
	if r.Dirty {
		fmt.Fprintf(t, "  \t%s\n", bad.Render("with uncommitted changes: nobody can build it again"))
	}
	fmt.Fprintf(t, "  source\t%s\n", where)
	fmt.Fprintf(t, "  base\t%s, Odoo %s on %s, %d modules\n  \t%s\n", r.Base.Reference, r.Base.Version, r.Base.Python, len(r.Base.Modules), r.Base.Digest)
	fmt.Fprintf(t, "  built by\tWaybill %s, bridge protocol %d\n", dash(r.Waybill), r.BridgeProtocol)
	_ = t.Flush()

	fmt.Fprintf(w, "\n%s\n", heading.Render("Modules"))
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range r.Modules {
		needs := "needs " + strings.Join(m.Depends, ", ")
		if m.AutoInstall {
			needs += "; installs itself"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Name, m.Version, needs)
	}
	_ = t.Flush()

	if len(s.Running) > 0 {
		fmt.Fprintf(w, "\n%s\n", heading.Render("Against what runs"))
	}
	for _, x := range s.Running {
		fmt.Fprintf(w, "%s serves ", x.Environment)
		switch {
		case x.This:
			fmt.Fprintf(w, "this release: %s\n", strings.Join(x.Tenants, ", "))
			continue
		case x.Error != "":
			fmt.Fprintf(w, "%s: %s\n  not compared: %s\n", x.Name, strings.Join(x.Tenants, ", "), x.Error)
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", x.Name, strings.Join(x.Tenants, ", "))
		showDifference(w, *x.Difference)
	}
	s.Evidence.text(w)
}
