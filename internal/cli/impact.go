package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/impact"
)

func (a *app) impact() *cobra.Command {
	var tenants, keyFiles []string
	var sign string
	cmd := &cobra.Command{
		Use:   "impact RELEASE ENVIRONMENT",
		Short: "Say what a release would do to each tenant, before the first one",
		Long: `Say what a release would do to each tenant of an environment: which modules change, its class and
where that comes from, how long people wait and how long a restore takes, when it may go and who must agree,
and what stands against it now: open tills, running imports, databases that are not as their release left
them, modules and views that nobody else has. Nothing is changed, and nothing is rehearsed.

With --sign, the same is kept in a file, signed with the installation's key; later, and elsewhere:
waybill impact verify FILE.

Exit code 0: every tenant could be looked at; 1: one could not.`,
		Args: exactly("RELEASE", "ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"release": {args[0]}, "environment": {args[1]}}
			if len(tenants) > 0 {
				query.Set("tenant", strings.Join(tenants, ","))
			}
			var found impact.Assessment
			if sign == "" {
				if err := a.call(cmd.Context(), "GET", "/api/v1/impact?"+query.Encode(), nil, &found); err != nil {
					return err
				}
			} else {
				keys, err := a.trustedKeys(keyFiles)
				if err != nil {
					return err
				}
				stream, err := a.stream(cmd.Context(), "/api/v1/impact/statement?"+query.Encode())
				if err != nil {
					return err
				}
				defer func() { _ = stream.Close() }()
				bundle, err := io.ReadAll(io.LimitReader(stream, maxWaybill))
				if err != nil {
					return fmt.Errorf("read the assessment: %w", err)
				}
				opened, err := impact.Open(bundle, keys, time.Now())
				if err != nil {
					return err
				}
				if err := os.WriteFile(sign, append(bundle, '\n'), 0o644); err != nil {
					return err
				}
				found = opened.Assessment
				fmt.Fprintf(a.err, "%s written\n", sign)
			}
			if err := a.print(found, func(w io.Writer) { impact.WriteText(w, &found) }); err != nil {
				return err
			}
			if !found.Whole() {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&tenants, "tenant", nil, "only these tenants")
	cmd.Flags().StringVar(&sign, "sign", "", "file to write the signed assessment to")
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "with --sign: file with the installation's public key (PEM); default: the data folder's keys")
	cmd.AddCommand(a.verifyImpact())
	return cmd
}

// verifiedImpact is what waybill impact verify tells.
type verifiedImpact struct {
	File       string             `json:"file"`
	OK         bool               `json:"ok"`
	Why        string             `json:"why,omitempty"` // it does not hold
	Key        string             `json:"key,omitempty"`
	KeyID      string             `json:"key_id,omitempty"`
	Assessment *impact.Assessment `json:"assessment,omitempty"`
}

func (a *app) verifyImpact() *cobra.Command {
	var keyFiles []string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check a signed assessment, without a server, and show it", Args: exactly("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := a.trustedKeys(keyFiles)
			if err != nil {
				return err
			}
			content, err := readFile(args[0])
			if err != nil {
				return usage{err}
			}
			answer := verifiedImpact{File: args[0]}
			opened, err := impact.Open(content, keys, time.Now())
			switch {
			case errors.Is(err, impact.ErrUntrue):
				answer.Why = err.Error()
			case err != nil:
				return err
			default:
				answer.OK, answer.Key, answer.KeyID, answer.Assessment = true, opened.Key.Name, opened.Key.ID(), &opened.Assessment
			}
			if err := a.print(answer, func(w io.Writer) {
				if !answer.OK {
					fmt.Fprintf(w, "%s %s\n", bad.Render("not verified:"), answer.Why)
					return
				}
				fmt.Fprintf(w, "%s: genuine and unaltered, signed with %s %s\n\n", good.Render("verified"), answer.KeyID, answer.Key)
				impact.WriteText(w, answer.Assessment)
			}); err != nil {
				return err
			}
			if !answer.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "file with the public key (PEM); may be given more than once; default: the data folder's keys")
	return cmd
}
