package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/build"
)

func (a *app) releaseReproduce() *cobra.Command {
	var o build.ReproduceOptions
	var registry string
	cmd := &cobra.Command{
		Use:   "reproduce RELEASE",
		Short: "Build a release again from its commit, and compare it with what is in the registry",
		Long: `Build a release again: from the commit, the folders and the base that it names, in a temporary
folder, with nothing pushed. Then compare it with what is in the registry, layer by layer, and
name each file that differs. It ends with 0 when all is the same, with 1 when something differs
or when it could not be built again.`,
		Args: exactly("RELEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, image, images, err := a.findRelease(cmd.Context(), args[0], registry)
			if err != nil {
				return err
			}
			o.Ref, o.Registry, o.Waybill, o.Progress = image, images, version, a.progress()
			// A base that is a folder or file is relative to the estate, which the server knows.
			var s api.Status
			if o.Base == "" && registry == "" && a.call(cmd.Context(), "GET", "/api/v1/status", nil, &s) == nil {
				o.BaseDir = s.Estate
			}
			compared, err := build.Reproduce(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(compared, func(w io.Writer) { showComparison(w, compared) }); err != nil {
				return err
			}
			if !compared.Same {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Source, "source", ".", "Git repository that has the release's commit")
	cmd.Flags().StringVar(&o.Base, "base", "", "where the release's base is, if no longer where the release says: reference, oci:FOLDER or rootfs:FILE")
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own; RELEASE is then NAME:TAG or NAME@DIGEST")
	return cmd
}

// maxShownFiles is how many differences of a layer are printed; -o json has more.
const maxShownFiles = 40

func showComparison(w io.Writer, c build.Comparison) {
	fmt.Fprintf(w, "%s  %s\n  commit %s on base %s\n", c.Name, c.Release, c.Commit, c.Base)
	for _, note := range c.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	fmt.Fprintln(w)
	differing, packed := 0, false
	for _, layer := range c.Layers {
		switch {
		case layer.Same && layer.Packed:
			packed = true
			fmt.Fprintf(w, "%s %s: the same content, packed differently\n", good.Render("✓"), layer.What)
		case layer.Same:
			fmt.Fprintf(w, "%s %s\n", good.Render("✓"), layer.What)
		default:
			differing++
			showLayer(w, layer)
		}
	}
	if len(c.Differences) > 0 {
		fmt.Fprintf(w, "%s configuration and annotations\n", bad.Render("✗"))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, d := range c.Differences[:min(len(c.Differences), maxShownFiles)] {
			fmt.Fprintf(t, "    %s\t%s\t→ %s\n", d.Field, dash(clip(d.Release)), dash(clip(d.Rebuilt)))
		}
		_ = t.Flush()
		more(w, len(c.Differences)-maxShownFiles)
	}
	fmt.Fprintln(w)
	switch {
	case c.Same && c.Release == c.Rebuilt:
		fmt.Fprintln(w, "Reproduced: the same digest, so the same bytes.")
	case c.Same && packed:
		fmt.Fprintf(w, "Reproduced: every file is the same. Another compressor packed the layers, so the digest is another: %s\n", c.Rebuilt)
	case c.Same:
		fmt.Fprintf(w, "Reproduced: layers, configuration and annotations are the same. The manifest is written differently: %s\n", c.Rebuilt)
	default:
		fmt.Fprintf(w, "Not reproduced: %d of %d layers and %d values of configuration and annotations differ (release → rebuilt).\n", differing, len(c.Layers), len(c.Differences))
	}
}

func showLayer(w io.Writer, layer build.LayerComparison) {
	switch {
	case layer.Release == "":
		fmt.Fprintf(w, "%s %s: only in the rebuilt image\n", bad.Render("✗"), layer.What)
	case layer.Rebuilt == "":
		fmt.Fprintf(w, "%s %s: only in the release\n", bad.Render("✗"), layer.What)
	case layer.Order:
		fmt.Fprintf(w, "%s %s: the same files, written in another order or form\n", bad.Render("✗"), layer.What)
	default:
		fmt.Fprintf(w, "%s %s\n", bad.Render("✗"), layer.What)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range layer.Files[:min(len(layer.Files), maxShownFiles)] {
		switch f.Kind {
		case "missing":
			fmt.Fprintf(t, "    %s\tonly in the release\t%s\n", f.Path, clip(f.Release))
		case "extra":
			fmt.Fprintf(t, "    %s\tonly in the rebuilt layer\t%s\n", f.Path, clip(f.Rebuilt))
		default:
			fmt.Fprintf(t, "    %s\t%s\t%s → %s\n", f.Path, f.Kind, clip(f.Release), clip(f.Rebuilt))
		}
	}
	_ = t.Flush()
	more(w, max(len(layer.Files)-maxShownFiles, 0)+layer.More)
}

func more(w io.Writer, n int) {
	if n > 0 {
		fmt.Fprintf(w, "    and %d more; -o json has the rest\n", n)
	}
}

// clip shortens digests within a text, and texts that are too long for a line.
func clip(s string) string {
	if at := strings.Index(s, "sha256:"); at >= 0 && len(s) >= at+71 {
		s = s[:at+19] + "…" + s[at+71:]
	}
	if r := []rune(s); len(r) > 80 {
		s = string(r[:79]) + "…"
	}
	return s
}
