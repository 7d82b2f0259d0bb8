package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// evidence is what speaks for a release, or against it. What could not be had says why; showing a
// release never fails because of it.
type evidence struct {
	Signature       signatureSeen       `json:"signature"`
	Checks          checksSeen          `json:"checks"`
	Vulnerabilities vulnerabilitiesSeen `json:"vulnerabilities"`
}

// signatureSeen is what is attached to the image, held against the trust of the estate's last environment.
type signatureSeen struct {
	*attest.Report
	Unknown string `json:"unknown,omitempty"` // why nothing is known
}

// checksSeen are the results of the checks at the time of the build, as far as a trusted key signed them.
type checksSeen struct {
	*check.Report
	Unknown string `json:"unknown,omitempty"`
}

// vulnerabilitiesSeen is the comparison with the estate's databases, as they are now.
type vulnerabilitiesSeen struct {
	*scanned
	Unknown string `json:"unknown,omitempty"`
}

// evidence gathers it. image is the release as the registry calls it; dir is the estate's folder,
// empty where no server is asked.
func (a *app) evidence(ctx context.Context, image, dir, registry string) evidence {
	var e evidence
	seen, err := a.verify(ctx, image, verification{estate: dir, registry: registry, shallow: true})
	if err != nil {
		e.Signature.Unknown = err.Error()
		e.Checks.Unknown = "what is attached to the image cannot be judged"
	} else {
		e.Signature.Report = &seen.Report
		e.Checks = checksOf(seen.Report)
	}
	e.Vulnerabilities = a.vulnerabilitiesOf(ctx, image, dir, registry)
	return e
}

func checksOf(seen attest.Report) checksSeen {
	for _, kind := range []string{attest.Checks, skippedChecks} {
		said, ok := seen.Find(kind)
		if !ok {
			continue
		}
		var report check.Report
		if err := json.Unmarshal(said.Predicate(), &report); err != nil {
			return checksSeen{Unknown: "the signed results cannot be read: " + err.Error()}
		}
		return checksSeen{Report: &report}
	}
	for _, said := range seen.Attestations {
		if said.Type == attest.Checks && said.Refused != nil {
			return checksSeen{Unknown: said.Refused.Reason}
		}
	}
	return checksSeen{Unknown: "no signed results are attached to the image"}
}

func (a *app) vulnerabilitiesOf(ctx context.Context, image, dir, registry string) vulnerabilitiesSeen {
	if dir == "" {
		return vulnerabilitiesSeen{Unknown: "without a server no databases are known; waybill release scan --databases compares"}
	}
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return vulnerabilitiesSeen{Unknown: err.Error()}
	}
	if declared.Vulnerabilities == nil || len(declared.Vulnerabilities.DatabasePaths(declared.Root)) == 0 {
		return vulnerabilitiesSeen{Unknown: "the estate names no databases (kind: Vulnerabilities)"}
	}
	answer, err := a.scan(ctx, image, scanning{estate: dir, registry: registry})
	if err != nil {
		return vulnerabilitiesSeen{Unknown: err.Error()}
	}
	return vulnerabilitiesSeen{scanned: &answer}
}

func (e evidence) text(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", heading.Render("Checks"))
	showChecksSeen(w, e.Checks)
	fmt.Fprintf(w, "\n%s\n", heading.Render("Vulnerabilities"))
	showVulnerabilitiesSeen(w, e.Vulnerabilities)
	fmt.Fprintf(w, "\n%s\n", heading.Render("Signature"))
	showSignatureSeen(w, e.Signature)
}

// maxShownFindings is how many findings are printed; the verb of its own shows all.
const maxShownFindings = 10

func showChecksSeen(w io.Writer, c checksSeen) {
	switch {
	case c.Report == nil:
		fmt.Fprintf(w, "  not known: %s\n", c.Unknown)
		return
	case c.Skipped != "":
		fmt.Fprintf(w, "  %s: %s\n", bad.Render("skipped"), c.Skipped)
		return
	}
	verdict := good.Render("passed")
	if c.Failed() {
		verdict = bad.Render("failed")
	}
	fmt.Fprintf(w, "  %s: %d checks on %d modules; %d errors, %d warnings, %d notes, %d accepted\n", verdict, len(c.Report.Checks), c.Modules,
		c.Counts.Errors, c.Counts.Warnings, c.Counts.Notes, c.Counts.Accepted)
	shown := 0
	for _, f := range c.Findings {
		if f.Severity == check.Note || f.Accepted != "" {
			continue
		}
		if shown++; shown > maxShownFindings {
			continue
		}
		place := f.File
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		fmt.Fprintf(w, "  %s  %s  %s: %s\n", f.Severity, f.Check, place, f.Message)
	}
	if shown > maxShownFindings {
		fmt.Fprintf(w, "  and %d more; -o json lists them\n", shown-maxShownFindings)
	}
}

func showVulnerabilitiesSeen(w io.Writer, v vulnerabilitiesSeen) {
	if v.scanned == nil {
		fmt.Fprintf(w, "  not known: %s\n", v.Unknown)
		return
	}
	counts := map[vuln.Level]int{}
	for _, r := range v.Reasons {
		counts[r.Level]++
	}
	verdict := good.Render("nothing known keeps it out")
	if v.Refused {
		verdict = bad.Render("the estate refuses it")
	}
	fmt.Fprintf(w, "  %s: %d refused, %d to know of, %d accepted, %d below the thresholds\n", verdict,
		counts[vuln.Refuse], counts[vuln.Warn], counts[vuln.Accepted], counts[vuln.Note])
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	shown := 0
	for _, r := range v.Reasons {
		if r.Level != vuln.Refuse && r.Level != vuln.Warn {
			continue
		}
		if shown++; shown > maxShownFindings {
			continue
		}
		if r.Finding == nil {
			fmt.Fprintf(t, "  %s\t%s\n", r.Level, r.Text)
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\t%s %s\t%s\n", r.Level, r.Finding.ID, r.Finding.Component.Name, r.Finding.Component.Version, r.Finding.Severity)
	}
	_ = t.Flush()
	if shown > maxShownFindings {
		fmt.Fprintf(w, "  and %d more; see: waybill release scan\n", shown-maxShownFindings)
	}
}

func showSignatureSeen(w io.Writer, s signatureSeen) {
	if s.Report == nil {
		fmt.Fprintf(w, "  not known: %s\n", s.Unknown)
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, said := range s.Attestations {
		switch {
		case said.OK:
			line := "signed by " + keyLabel(said)
			if said.Builder != "" {
				line += ", built by " + said.Builder + " from " + said.Source
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\n", good.Render("✓"), attest.ShortName(said.Type), line)
		default:
			fmt.Fprintf(t, "  %s\t%s\t%s\n", bad.Render("✗"), attest.ShortName(said.Type), said.Refused.Reason)
		}
	}
	_ = t.Flush()
	if s.OK {
		fmt.Fprintf(w, "  %s; waybill release verify also reads every layer\n", good.Render("trusted"))
		return
	}
	for _, r := range s.Refusals {
		fmt.Fprintf(w, "  %s: %s\n    way out: %s\n", bad.Render("not trusted"), r.Reason, r.WayOut)
	}
}

func keyLabel(a attest.Attestation) string {
	if a.KeyName != "" {
		return a.KeyName
	}
	return fmt.Sprintf("%.23s", a.KeyID)
}
