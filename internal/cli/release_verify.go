package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
)

// verification is what one asks of waybill release verify.
type verification struct {
	key, estate, environment, registry string
	shallow                            bool
}

// verified is its answer.
type verified struct {
	attest.Report
	Content string `json:"content"` // "intact", "altered" or "not read"
}

func (a *app) releaseVerify() *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use:   "verify REF",
		Short: "Check who signed a release and what was said of it, from the registry alone",
		Long: `Check a release: that what the registry holds is what its digest says, and that what was said of
it is signed by a key that is trusted. No server is needed. REF is NAME@sha256:… or NAME:TAG in
the server's registry, HOST/NAME@sha256:…, or oci:FOLDER[@sha256:…] for an OCI layout.

Trusted is the key given with --key; or what the estate given with --estate says (kind: Trust);
otherwise the key of the data folder. It ends with 0 when the release is trusted, else with 1.`,
		Args: exactly("REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.verify(cmd.Context(), args[0], v)
			if err != nil {
				return err
			}
			if err := a.print(answer, func(w io.Writer) { showVerified(w, answer) }); err != nil {
				return err
			}
			if !answer.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&v.key, "key", "", "file with the public key (PEM)")
	cmd.Flags().StringVar(&v.estate, "estate", "", "folder with the declared state, whose Trust shall hold")
	cmd.Flags().StringVar(&v.environment, "environment", "", "with --estate: the environment that the release shall enter; default: the last one")
	cmd.Flags().StringVar(&v.registry, "registry", "", "host[:port] of another registry than the server's own")
	cmd.Flags().BoolVar(&v.shallow, "no-content", false, "don't read the layers: check what was said, not what the registry holds")
	return cmd
}

func (a *app) verify(ctx context.Context, ref string, v verification) (verified, error) {
	answer := verified{Content: "not read"}
	policy, err := a.policy(ctx, v)
	if err != nil {
		return answer, err
	}
	image, err := a.image(ctx, ref, v.registry)
	var refused *attest.Refused
	if errors.As(err, &refused) {
		answer.Image, answer.Content, answer.Refusals = ref, "altered", []*attest.Refused{refused}
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	if answer.Report, err = attest.Verify(ctx, image, policy); err != nil || v.shallow {
		return answer, err
	}
	answer.Content = "intact"
	if err := image.Whole(ctx, nil); errors.As(err, &refused) {
		answer.Content, answer.OK = "altered", false
		answer.Refusals = append(answer.Refusals, refused)
	} else if err != nil {
		return answer, err
	}
	return answer, nil
}

// policy is what shall be trusted.
func (a *app) policy(ctx context.Context, v verification) (attest.Policy, error) {
	now := time.Now()
	switch {
	case v.key != "" && v.estate != "":
		return attest.Policy{}, usagef("--key and --estate: one of the two expected")
	case v.key != "":
		content, err := os.ReadFile(v.key)
		if err != nil {
			return attest.Policy{}, usage{fmt.Errorf("read the public key: %w", err)}
		}
		public, err := attest.ParsePublicKey(content)
		if err != nil {
			return attest.Policy{}, usage{fmt.Errorf("%s: %w", v.key, err)}
		}
		return attest.Policy{Keys: attest.PublicKeys(public), Require: []string{attest.Provenance}, Now: now}, nil
	case v.estate != "":
		return a.declaredPolicy(ctx, v, now)
	}
	own, err := a.ownKeys()
	return attest.Policy{Keys: attest.OwnKeys(own), Require: []string{attest.Provenance}, Now: now}, err
}

func (a *app) declaredPolicy(ctx context.Context, v verification, now time.Time) (attest.Policy, error) {
	declared, err := estate.Load(ctx, v.estate)
	if err != nil {
		return attest.Policy{}, usage{fmt.Errorf("read the estate in %s: %w", v.estate, err)}
	}
	if v.environment == "" {
		v.environment = declared.Environments[len(declared.Environments)-1].Name
	}
	if _, ok := declared.Environment(v.environment); !ok {
		return attest.Policy{}, usagef("the estate in %s has no environment %q", v.estate, v.environment)
	}
	trust := declared.TrustFor(v.environment)
	var own []keys.VerifyingKey
	if trust.OwnKey {
		if own, err = a.ownKeys(); err != nil && len(trust.Keys) == 0 {
			return attest.Policy{}, err
		}
	}
	policy, err := attest.PolicyOf(trust, own, now)
	if _, before := declared.Before(v.environment); !before {
		policy.AllowDirty = true // as the server does for the first environment
	}
	return policy, err
}

// image finds what shall be verified. A server is only asked for where it is needed: when REF names no host.
func (a *app) image(ctx context.Context, ref, registry string) (attest.Image, error) {
	if rest, ok := strings.CutPrefix(ref, "oci:"); ok {
		folder, digest, _ := strings.Cut(rest, "@")
		return attest.OpenLayout(folder, digest)
	}
	place := build.Registry{Host: registry}
	parsed, auth, err := place.Locate(ref)
	if err != nil && registry == "" {
		if place, err = a.registry(""); err != nil {
			return nil, err
		}
		parsed, auth, err = place.Locate(ref)
	}
	if err != nil {
		return nil, usage{err}
	}
	return attest.Open(ctx, parsed, auth, place.Transport)
}

func showVerified(w io.Writer, v verified) {
	fmt.Fprintf(w, "%s  %s\n", v.Image, v.Digest)
	for _, a := range v.Attestations {
		state := "ok"
		if !a.OK {
			state = "refused"
		}
		fmt.Fprintf(w, "\n%-15s %s\n", attest.ShortName(a.Type), state)
		key := a.KeyID
		if a.KeyName != "" {
			key += "  " + a.KeyName
		}
		for _, line := range [][2]string{{"key", key}, {"subject", a.Subject}, {"builder", a.Builder}, {"source", a.Source}, {"commit", a.Commit}} {
			if line[1] != "" {
				fmt.Fprintf(w, "  %-8s %s\n", line[0], line[1])
			}
		}
		if a.Refused != nil {
			fmt.Fprintf(w, "  reason   %s\n  way out  %s\n", a.Refused.Reason, a.Refused.WayOut)
		}
	}
	fmt.Fprintf(w, "\ncontent         %s\n", v.Content)
	if v.OK {
		fmt.Fprintln(w, "trusted")
		return
	}
	for _, r := range v.Refusals {
		fmt.Fprintf(w, "not trusted: %s\n  way out  %s\n", r.Reason, r.WayOut)
	}
}
