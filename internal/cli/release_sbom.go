package cli

import (
	"bytes"
	"os"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/sbom"
)

func (a *app) releaseSBOM() *cobra.Command {
	var registry, file string
	cmd := &cobra.Command{
		Use:   "sbom REF",
		Short: "Write what a release is made of, as CycloneDX",
		Long: `Write what a release is made of as CycloneDX 1.6 in JSON: Debian packages, Python distributions
and Odoo modules with their dependencies, read from the image. The same release gives the same
bytes. The base image is read once, and remembered.`,
		Args: exactly("REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, ref, images, err := a.findRelease(cmd.Context(), args[0], registry)
			if err != nil {
				return err
			}
			inv, err := sbom.Read(cmd.Context(), ref, images, "")
			if err != nil {
				return err
			}
			var content bytes.Buffer
			if err := inv.Write(&content); err != nil {
				return err
			}
			if file == "" || file == "-" {
				_, err = a.out.Write(content.Bytes())
				return err
			}
			return os.WriteFile(file, content.Bytes(), 0o644)
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write; default: standard output") // in the place of text or json: this is neither
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port] of another registry than the server's own; the release is then NAME:TAG or NAME@DIGEST")
	return cmd
}
