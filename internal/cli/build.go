package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/estate"
)

// registry is where images go: the one given, or the server's own, which takes the token.
func (a *app) registry(given string) (build.Registry, error) {
	if given != "" {
		return build.Registry{Host: given}, nil
	}
	address, token, err := a.address()
	if err != nil {
		return build.Registry{}, err
	}
	way, err := a.way()
	if err != nil {
		return build.Registry{}, err
	}
	host := strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://")
	return build.Registry{Host: host, Plain: strings.HasPrefix(address, "http://"), User: "waybill", Password: token, Transport: way}, nil
}

func (a *app) progress() func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }
}

func (a *app) build() *cobra.Command {
	var o build.Options
	var estateDir, registry string
	var sign signing
	var checks buildChecks
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a release: addons at a Git commit on a base image, pushed to the registry",
		Long: `Build a release: the product's addons at a Git commit, one layer a module, on the base
image that the estate names. The same commit gives the same digest on any machine. What is
not committed is refused, unless --dirty allows it; the release is then marked. The checks
(waybill check --list) come first, and an error among them refuses the build. What is known of the
build is signed and attached to the image.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			declared, root, err := a.declared(cmd.Context(), estateDir)
			if err != nil {
				return err
			}
			product := declared.Product
			o.Addons, o.Repository, o.Series, o.Experimental = product.Addons, product.Name, product.Series, product.Experimental
			o.Base, o.BaseDir, o.Waybill, o.Progress = product.Base, root, version, a.progress()
			if o.Registry, err = a.registry(registry); err != nil {
				return err
			}
			if err := sign.open(cmd.Context(), a); err != nil {
				return err
			}
			if err := checks.into(cmd.Context(), a, &o, declared.Checks); err != nil {
				return err
			}
			started := time.Now()
			built, err := sign.build(cmd.Context(), o)
			if err != nil {
				return err
			}
			checked, err := checks.claim()
			if err != nil {
				return err
			}
			sign.claims = append(sign.claims, checked)
			if _, err := attestBuild(cmd.Context(), o, built, &sign, started); err != nil {
				return err
			}
			if err := a.call(cmd.Context(), "POST", "/api/v1/releases", map[string]any{"ref": built.Repository + "@" + built.Digest, "authors": sign.authors}, nil); err != nil {
				return fmt.Errorf("the image is in the registry as %s@%s, but the server did not take it up: %w", built.Repository, built.Digest, err)
			}
			built.Base.Modules = nil
			return a.print(built, func(w io.Writer) {
				fmt.Fprintf(w, "%s  %s\n%d modules at commit %.10s on %s, in %.1f s\n", built.Name, built.Digest, len(built.Modules), built.Commit, built.Base.Reference, time.Since(started).Seconds())
				if built.Dirty {
					fmt.Fprintln(w, "built from uncommitted changes, and marked so")
				}
			})
		},
	}
	cmd.Flags().StringVar(&o.Source, "source", ".", "Git repository with the addons")
	cmd.Flags().StringVar(&o.Commit, "commit", "", "commit, branch or tag; default HEAD, with a clean tree")
	cmd.Flags().StringVar(&o.Name, "name", "", "what people call the release; default: the start of the commit")
	cmd.Flags().BoolVar(&o.AllowDirty, "dirty", false, "allow uncommitted changes")
	cmd.Flags().StringVar(&o.SourceURL, "source-url", "", "recorded as the source; default: the remote \"origin\"")
	cmd.Flags().StringVar(&estateDir, "estate", "", "folder with the declared state; default: the server's")
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own")
	cmd.Flags().StringVar(&checks.skip, "skip-checks", "", "do not run the checks, for this reason; it is recorded")
	cmd.Flags().StringVar(&sign.key, "key", "", "private key to sign with: a file, env:NAME, or another URI; default: the data folder's own")
	cmd.Flags().StringVar(&sign.builder, "builder", attest.DefaultBuilder, "URI of what builds, for the provenance; for example that of the CI job")
	return cmd
}

// declared reads the estate: the folder given, or the one the server runs on; and says where it is.
func (a *app) declared(ctx context.Context, dir string) (*estate.Estate, string, error) {
	if dir == "" {
		var s api.Status
		if err := a.call(ctx, "GET", "/api/v1/status", nil, &s); err != nil {
			return nil, "", err
		}
		dir = s.Estate
		if err := isHere(dir); err != nil {
			return nil, "", err
		}
	}
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return nil, "", usage{fmt.Errorf("read the estate in %s: %w", dir, err)}
	}
	root, err := filepath.Abs(dir)
	return declared, root, err
}

func (a *app) base() *cobra.Command {
	cmd := &cobra.Command{Use: "base", Short: "Base images: a real Odoo to build on"}
	var name, registry string
	bring := &cobra.Command{
		Use:   "import SOURCE",
		Short: "Put a base image into the registry",
		Long: `Put a base image into the registry. SOURCE is oci:FOLDER (an OCI layout), rootfs:FILE (a
tar of a root file system) or the reference of an image in another registry.`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := a.registry(registry)
			if err != nil {
				return err
			}
			started := time.Now()
			digest, err := build.ImportBase(cmd.Context(), args[0], target, name)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"name": name, "digest": digest}, func(w io.Writer) {
				fmt.Fprintf(w, "%s  %s  in %.1f s\n", name, digest, time.Since(started).Seconds())
			})
		},
	}
	bring.Flags().StringVar(&name, "name", "odoo:19.0", "name in the registry, as the estate's product names its base")
	bring.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own")
	cmd.AddCommand(bring)
	return cmd
}
