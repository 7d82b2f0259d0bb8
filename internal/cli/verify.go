package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/waybill"
)

// verifiedWaybill is what waybill verify tells.
type verifiedWaybill struct {
	File      string            `json:"file"`
	OK        bool              `json:"ok"`
	Why       string            `json:"why,omitempty"` // it does not hold
	Key       string            `json:"key,omitempty"`
	Form      string            `json:"form,omitempty"` // bundle or page
	Waybill   *waybill.Document `json:"waybill,omitempty"`
	Signature string            `json:"key_id,omitempty"`
}

func (a *app) verifyWaybill() *cobra.Command {
	var keyFiles []string
	var page string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check a waybill, as bundle or as page, without a server", Args: exactly("FILE"),
		Long: `Check a waybill that was kept as a file: that it is signed, that its entries stand in the ledger
under a signed head, and, for a page, that it shows what was signed and nothing else. Only the public
key is needed (--key, from waybill key show); without it, the keys of the data folder are taken. Exit code 0:
it is genuine and unaltered; 1: it is not, and why.`,
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := a.trustedKeys(keyFiles)
			if err != nil {
				return err
			}
			content, err := readFile(args[0])
			if err != nil {
				return usage{err}
			}
			answer := verifiedWaybill{File: args[0]}
			// A bundle is often kept with a line's end behind it; a page is compared as it is.
			opened, err := waybill.Open(content, keys, time.Now())
			if page != "" && len(opened.Bundle) > 0 && opened.Page {
				if opened, err = waybill.Open(opened.Bundle, keys, time.Now()); err != nil {
					return err
				}
			}
			switch {
			case errors.Is(err, waybill.ErrUntrue):
				answer.Why = err.Error()
			case err != nil:
				return err
			default:
				answer.OK, answer.Key, answer.Signature, answer.Waybill, answer.Form = true, opened.Key.Name, opened.Key.ID(), &opened.Document, "bundle"
				if opened.Page {
					answer.Form = "page"
				}
			}
			if answer.OK && page != "" {
				var out bytes.Buffer
				if err := waybill.WritePage(&out, opened.Document, opened.Bundle); err != nil {
					return err
				}
				if err := os.WriteFile(page, out.Bytes(), 0o644); err != nil {
					return err
				}
			}
			if err := a.print(answer, func(w io.Writer) { showVerifiedWaybill(w, answer) }); err != nil {
				return err
			}
			if !answer.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "file with the public key (PEM); may be given more than once")
	cmd.Flags().StringVar(&page, "html", "", "write the page of a bundle that holds to this file")
	return cmd
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxWaybill+1))
	if err == nil && len(content) > maxWaybill {
		err = fmt.Errorf("%s has more than %d bytes; a waybill has less", path, maxWaybill)
	}
	return content, err
}

func showVerifiedWaybill(w io.Writer, v verifiedWaybill) {
	if !v.OK {
		fmt.Fprintf(w, "%s %s\n", bad.Render("not verified:"), v.Why)
		return
	}
	head := v.Waybill.Ledger.Head
	fmt.Fprintf(w, "%s: the %s is genuine and unaltered\n", good.Render("verified"), v.Form)
	fmt.Fprintf(w, "  signed with   %s %s\n", v.Signature, v.Key)
	fmt.Fprintf(w, "  in the ledger %s, under the head at entry %d, signed %s\n  head          %s\n\n", v.Waybill.Ledger.Ledger, head.Sequence, head.Time.Format(time.RFC3339), head.Hash)
	waybill.WriteText(w, *v.Waybill)
}
