package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/sbom"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// rescanEvery is how often somebody looks whether a vulnerability database was renewed. A look reads
// names and times of files, no more.
const rescanEvery = time.Minute

// vulnerable decides whether a release may enter, see promotion.Rooms.
func (s *server) vulnerable(ctx context.Context, r release.Release, snapshot promotion.Snapshot) error {
	if snapshot.Vulnerabilities == nil {
		return nil
	}
	rules := *snapshot.Vulnerabilities
	db, err := vuln.Open(ctx, rules.DatabasePaths(snapshot.Root), s.cache())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	report, err := s.scan(ctx, r, db)
	if err != nil {
		return err
	}
	return vuln.Evaluate(report, rules, time.Now()).Err()
}

// cache is the folder for what can be made again.
func (s *server) cache() string { return filepath.Join(s.config.Data, "cache") }

func (s *server) scan(ctx context.Context, r release.Release, db *vuln.Database) (vuln.Report, error) {
	inv, err := sbom.Read(ctx, r.Repository+"@"+r.Digest, s.images(), s.cache())
	if err != nil {
		return vuln.Report{}, err
	}
	return db.Scan(inv)
}

// watchVulnerabilities compares the running releases again whenever something changed that the result
// depends on, until ctx is done.
func (s *server) watchVulnerabilities(ctx context.Context) error {
	every := s.config.RescanEvery
	if every == 0 {
		every = rescanEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// Databases that are being renewed are looked at when that is done.
		if err := s.rescan(ctx, false); err != nil && !errors.Is(err, vuln.ErrChanged) && ctx.Err() == nil {
			another, err2 := s.store.FailVulnerabilityScan(ctx, err.Error())
			if another || err2 != nil {
				s.log.Error("compare the running releases with known vulnerabilities", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// rescan compares the running releases with the databases as they are now. Unless it is asked for, it
// does nothing when nothing changed: databases, rules, what runs, and the day, on which acceptances end.
func (s *server) rescan(ctx context.Context, asked bool) error {
	s.rescanning.Lock()
	defer s.rescanning.Unlock()
	declared, err := s.declared(ctx)
	if err != nil {
		return err
	}
	last, err := s.store.LastVulnerabilityScan(ctx)
	if err != nil {
		return err
	}
	if declared.Vulnerabilities == nil {
		if last.ScannedAt == nil && last.Error == "" {
			return nil
		}
		return s.store.ForgetVulnerabilities(ctx)
	}
	rules := *declared.Vulnerabilities
	databases := rules.DatabasePaths(declared.Root)
	fingerprint, err := vuln.Fingerprint(ctx, databases)
	if err != nil {
		return err
	}
	running, err := s.store.RunningReleases(ctx)
	if err != nil {
		return err
	}
	state, err := stateOf(fingerprint, rules, running, time.Now().UTC().Format(time.DateOnly))
	if err != nil || state == last.State && !asked {
		return err
	}
	scan, found, err := s.compare(ctx, running, rules, databases)
	if err != nil {
		return err
	}
	scan.State = state
	fresh, err := s.store.SaveVulnerabilities(ctx, scan, found)
	if err != nil {
		return err
	}
	s.tellVulnerabilities(ctx, fresh)
	s.happened(ctx, promotion.VulnerabilityTopic)
	return nil
}

// stateOf is a name for everything that a comparison depends on.
func stateOf(parts ...any) (string, error) {
	content, err := json.Marshal(parts)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16]), err
}

// compare compares each running release once, however many environments it runs in.
func (s *server) compare(ctx context.Context, running []store.RunningRelease, rules estate.Vulnerabilities, databases []string) (store.VulnerabilityScan, []store.Vulnerability, error) {
	scan := store.VulnerabilityScan{Newest: map[string]time.Time{}}
	db, err := vuln.Open(ctx, databases, s.cache()) // also where nothing runs yet: a damaged database is told at once
	if err != nil {
		return scan, nil, err
	}
	defer func() { _ = db.Close() }()
	for name, e := range db.State.Ecosystems {
		scan.Newest[name] = e.Newest
	}
	verdicts := map[string]vuln.Verdict{}
	var found []store.Vulnerability
	for _, at := range running {
		verdict, done := verdicts[at.Release]
		if !done {
			r, err := s.store.Release(ctx, at.Release)
			if err != nil {
				return scan, nil, fmt.Errorf("release %s, which runs in %s: %w", at.Release, at.Environment, err)
			}
			report, err := s.scan(ctx, r, db)
			if err != nil {
				return scan, nil, err
			}
			verdict = vuln.Evaluate(report, rules, time.Now())
			verdicts[at.Release] = verdict
		}
		for _, reason := range verdict.Reasons {
			switch {
			case reason.Level != vuln.Refuse && reason.Level != vuln.Warn:
			case reason.Finding == nil:
				if text := reason.Text + ". " + reason.Fix; !slices.Contains(scan.Problems, text) {
					scan.Problems = append(scan.Problems, text)
				}
			default:
				f := reason.Finding
				found = append(found, store.Vulnerability{Environment: at.Environment, Release: at.Release, ID: f.ID, Ecosystem: f.Component.Ecosystem, Component: f.Component.Name,
					Version: f.Component.Version, Level: string(reason.Level), Severity: f.Severity.String(), Detail: reason.Text, Fix: reason.Fix})
			}
		}
	}
	return scan, found, nil
}

// tellVulnerabilities logs what is new, once: each that would keep the release out, and how many others.
func (s *server) tellVulnerabilities(ctx context.Context, fresh []store.Vulnerability) {
	others := map[string]int{}
	for _, v := range fresh {
		if v.Level != string(vuln.Refuse) {
			others[v.Environment]++
			continue
		}
		name := v.Release
		if r, err := s.store.Release(ctx, v.Release); err == nil {
			name = r.Name
		}
		s.log.Warn("an environment runs something that is known to be vulnerable", "environment", v.Environment, "release", name, "vulnerability", v.Detail, "fix", v.Fix)
	}
	for environment, n := range others {
		s.log.Info("new warnings about vulnerabilities; see them: waybill release scan --running", "environment", environment, "warnings", n)
	}
}
