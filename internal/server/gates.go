package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// gates are what the gates of promotions ask this server.
func (s *server) gates() promotion.Gates {
	return promotion.Gates{Evidence: s.evidence, Approvals: s.gateApprovals, Authors: s.releaseAuthors, Calendar: s.calendar}
}

// evidence is what is attached to a release's image, as far as the estate trusts it, and what is known to be
// vulnerable in it.
func (s *server) evidence(ctx context.Context, r release.Release, snapshot promotion.Snapshot) (promotion.Evidence, error) {
	found := promotion.Evidence{Signatures: &promotion.Signatures{}, Why: map[string]string{}}
	_, report, err := s.attested(ctx, r, snapshot)
	if err != nil {
		return found, err
	}
	for _, a := range report.Attestations {
		if a.OK && a.KeyName != "" && !slices.Contains(found.Signatures.By, a.KeyName) {
			found.Signatures.By = append(found.Signatures.By, a.KeyName)
		}
	}
	if a, ok := report.Find(attest.Checks); !ok {
		found.Why["checks"] = "nothing that the estate trusts says what its checks found; build it again"
	} else if found.Checks, err = checksOf(a.Predicate()); err != nil {
		return found, fmt.Errorf("read what the checks of release %s found: %w", r.Name, err)
	}
	if snapshot.Vulnerabilities == nil {
		found.Why["vulnerabilities"] = "the estate names no databases (kind: Vulnerabilities)"
		return found, nil
	}
	rules := *snapshot.Vulnerabilities
	db, err := vuln.Open(ctx, rules.DatabasePaths(snapshot.Root), s.cache())
	if errors.Is(err, vuln.ErrDatabase) {
		found.Why["vulnerabilities"] = err.Error()
		return found, nil
	} else if err != nil {
		return found, err
	}
	defer func() { _ = db.Close() }()
	scanned, err := s.scan(ctx, r, db)
	if errors.Is(err, vuln.ErrDatabase) {
		found.Why["vulnerabilities"] = err.Error()
		return found, nil
	} else if err != nil {
		return found, err
	}
	found.Vulnerabilities = vulnerabilitiesOf(scanned, rules, time.Now())
	return found, nil
}

// checksOf counts what an attestation of checks says.
func checksOf(predicate []byte) (*gate.Checks, error) {
	var r check.Report
	if err := json.Unmarshal(predicate, &r); err != nil {
		return nil, err
	}
	c := &gate.Checks{Errors: r.Counts.Errors, Warnings: r.Counts.Warnings, ExpiredExceptions: r.More[check.ExceptionExpired]}
	for _, f := range r.Findings {
		if f.Check == check.ExceptionExpired {
			c.ExpiredExceptions++
		}
	}
	if r.Skipped != "" {
		return nil, errors.New("the checks were not run: " + r.Skipped)
	}
	return c, nil
}

// vulnerabilitiesOf counts findings by severity; those that the estate accepts are left out.
func vulnerabilitiesOf(r vuln.Report, rules estate.Vulnerabilities, now time.Time) *gate.Vulnerabilities {
	v := &gate.Vulnerabilities{Worst: "none"}
	counts := []struct {
		severity string
		count    *int
	}{{"critical", &v.Critical}, {"high", &v.High}, {"medium", &v.Medium}, {"low", &v.Low}}
	for _, reason := range vuln.Evaluate(r, rules, now).Reasons {
		if reason.Finding == nil || reason.Level == vuln.Accepted {
			continue
		}
		for _, c := range counts {
			if reason.Finding.Severity.String() == c.severity {
				*c.count++
			}
		}
	}
	for _, c := range counts {
		if *c.count > 0 {
			v.Worst = c.severity
			break
		}
	}
	for _, compared := range r.Compared {
		if age := now.Sub(compared.Newest); !compared.Newest.IsZero() {
			v.DatabaseAge = max(v.DatabaseAge, age)
		}
	}
	return v
}

// calendar says whether promotions may run for a tenant, by the calendars that the estate has now: a freeze that
// is announced while a promotion waits counts for it.
func (s *server) calendar(ctx context.Context, environment string, t estate.Tenant, at time.Time, predicted time.Duration) (*gate.Calendar, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return nil, err
	}
	set, err := declared.Calendar()
	if err != nil || set.Empty() {
		return nil, err
	}
	facts := set.Open(t.Subject(), at, predicted).Facts()
	return &gate.Calendar{Open: facts.Open, Until: facts.Until, Next: facts.Next, Reason: facts.Reason}, nil
}

// happened tells the gates what they may wait for. What fails here is made good when the server next starts.
func (s *server) happened(ctx context.Context, topics ...string) {
	if s.engine == nil {
		return
	}
	if err := s.engine.Happened(ctx, topics...); err != nil && ctx.Err() == nil {
		s.log.Warn("tell the gates", "topics", topics, "error", err)
	}
}
