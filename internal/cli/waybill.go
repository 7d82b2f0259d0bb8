package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/waybill"
)

// maxWaybill bounds what is read of a waybill, in bytes.
const maxWaybill = 96 << 20

// formatHTML is a form of output that only a waybill has.
const formatHTML = "html"

func (a *app) promotionWaybill() *cobra.Command {
	var out string
	var keyFiles []string
	cmd := &cobra.Command{
		Use: "waybill ID", Short: "Cut the signed document of a promotion", Args: exactly("ID"),
		Long: `Cut the waybill of a promotion: what changed, where it came from, what spoke for it, who approved
it, how it went, and how it can be reversed now. As JSON (-o json) it is a signed Sigstore bundle; as a
page (-o html) it is one file for people, with that bundle inside; as text it is for the terminal. It is
verified before it is shown. Later, and elsewhere: waybill verify FILE.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := a.trustedKeys(keyFiles)
			if err != nil {
				return err
			}
			stream, err := a.stream(cmd.Context(), "/api/v1/promotions/"+url.PathEscape(args[0])+"/waybill")
			if err != nil {
				return err
			}
			defer func() { _ = stream.Close() }()
			bundle, err := io.ReadAll(io.LimitReader(stream, maxWaybill))
			if err != nil {
				return fmt.Errorf("read the waybill: %w", err)
			}
			opened, err := waybill.Open(bundle, keys, time.Now())
			if err != nil {
				return err
			}
			var content bytes.Buffer
			switch a.format {
			case "json":
				content.Write(bundle)
				content.WriteByte('\n')
			case formatHTML:
				err = waybill.WritePage(&content, opened.Document, bundle)
			default:
				waybill.WriteText(&content, opened.Document)
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.out.Write(content.Bytes())
				return err
			}
			if err := os.WriteFile(out, content.Bytes(), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s written\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "file with the installation's public key (PEM); default: the data folder's keys")
	return cmd
}
