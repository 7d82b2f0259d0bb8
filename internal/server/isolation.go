package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/isolation"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// isolationLook is how often it is looked whether a probe is due. How often one is, the estate says, and may say otherwise any
	// time; that is why it is no periodic job of a fixed interval. Which server makes it is decided in the store.
	isolationLook = 30 * time.Second
	// isolationLimit is how long a run may take.
	isolationLimit = 20 * time.Minute
	// isolationSilence is how many intervals may pass without one that passes before the doctor says so.
	isolationSilence = 3
)

// watchIsolation probes each environment as often as the estate says, until ctx is done.
func (s *server) watchIsolation(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(s.config.IsolationLook, isolationLook))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		declared, err := s.declared(ctx)
		if err != nil {
			continue // told elsewhere
		}
		for _, env := range declared.Environments {
			if env.IsolationEvery() == 0 {
				continue
			}
			if err := s.dueIsolation(ctx, env); err != nil && ctx.Err() == nil {
				s.log.Warn("try whether tenants are apart", "environment", env.Name, "error", err)
			}
		}
	}
}

// dueIsolation probes an environment where it is due, and something serves. While tenants move it waits, but not for ever; with the
// first probe of all it waits until they have moved.
func (s *server) dueIsolation(ctx context.Context, env estate.Environment) error {
	serves, err := s.serves(ctx, env.Name)
	if err != nil || !serves {
		return err
	}
	every := env.IsolationEvery()
	if moving, err := s.engine.Moving(ctx, env.Name); err != nil {
		return err
	} else if moving {
		if before, err := s.store.IsolationRuns(ctx, env.Name, 1); err != nil || len(before) == 0 {
			return err
		}
		every *= 2
	}
	run, begun, err := s.store.BeginIsolation(ctx, env.Name, "", every)
	if err != nil || !begun {
		return err
	}
	return s.probeIsolation(ctx, run)
}

func (s *server) serves(ctx context.Context, environment string) (bool, error) {
	tenants, err := s.store.Tenants(ctx, environment)
	for _, t := range tenants {
		if t.Live.Stable != "" {
			return true, err
		}
	}
	return false, err
}

// checkIsolation begins a probe because somebody asks, and says which.
func (s *server) checkIsolation(ctx context.Context, environment, by string) (int64, error) {
	run, _, err := s.store.BeginIsolation(ctx, environment, by, 0)
	if err != nil {
		return 0, err
	}
	s.begin(func(ctx context.Context) { // whoever asked looks at the run
		if err := s.probeIsolation(ctx, run); err != nil && ctx.Err() == nil {
			s.log.Warn("try whether tenants are apart", "environment", environment, "error", err)
		}
	})
	return run.ID, nil
}

// probeIsolation makes a run and writes down what it found. One that cannot be made proves nothing, and says why.
func (s *server) probeIsolation(ctx context.Context, run store.IsolationRun) error {
	bounded, cancel := context.WithTimeout(ctx, isolationLimit)
	defer cancel()
	report, err := isolation.Run(bounded, func(ctx context.Context) (isolation.World, error) {
		declared, err := s.declared(ctx)
		if err != nil {
			return isolation.World{}, err
		}
		return s.engine.IsolationWorld(ctx, declared, run.Environment, s.machine())
	}, run.Turn)
	if ctx.Err() != nil {
		return ctx.Err() // the server stops; the run counts as one that was killed
	}
	if err != nil {
		report = isolation.Judge([]string{}, nil, 0)
		report.Says = "it could not be tried: " + err.Error()
	}
	run.Verdict, run.Says = string(report.Verdict), report.Says
	if run.Report, err = json.Marshal(report); err != nil {
		return err
	}
	return s.store.In(ctx, func(tx pgx.Tx) error { return s.endIsolation(ctx, tx, run, report) })
}

// endIsolation writes down a run, and tells people and the ledger where it changes what is known: once when something is reached,
// and once when nothing is any more.
func (s *server) endIsolation(ctx context.Context, tx pgx.Tx, run store.IsolationRun, report isolation.Examination) error {
	before, err := s.store.IsolationStateIn(ctx, tx, run.Environment)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := s.store.EndIsolation(ctx, tx, run); err != nil {
		return err
	}
	var kind, title, needed string
	incident := run.ID
	switch {
	case report.Verdict == isolation.Fail && before.Broken == 0:
		kind, title = ledger.IsolationBroken, "tenants are not apart"
		needed = "somebody finds out why, now: waybill isolation show " + run.Environment
	case report.Verdict == isolation.Pass && before.Broken != 0:
		kind, title, incident = ledger.IsolationMended, "tenants are apart again", before.Broken
	default:
		return nil
	}
	var what []string
	for _, a := range report.Findings {
		if a.Breach() && len(what) < 10 {
			what = append(what, fmt.Sprintf("%s → %s: %s", a.Pool, a.Target, a.Detail))
		}
	}
	if err := ledger.Record(ctx, tx, ledger.Event{Kind: kind, Environment: run.Environment, Payload: map[string]any{"run": run.ID, "says": run.Says, "reached": what}}); err != nil {
		return err
	}
	notice, err := notify.Message{Key: fmt.Sprintf("%s/%s/%d", kind, run.Environment, incident), Event: estate.EventIsolation, Environment: run.Environment,
		Title: run.Environment + ": " + title, Text: strings.Join(append([]string{run.Says}, what...), "\n"), Needed: needed, At: time.Now()}.Notice()
	if err != nil {
		return err
	}
	return s.store.Announce(ctx, tx, notice)
}

// machine is what there is here that no pool may reach.
func (s *server) machine() promotion.Machine {
	m := promotion.Machine{TLS: s.shown != nil, Folders: []string{KeyFolder(s.config.Data)}, Pages: []string{"/api/v1/status", "/v2/_catalog"}}
	if s.state != nil {
		m.Folders = append(m.Folders, s.state.SocketDir())
	}
	if s.config.Bucket == "" {
		m.Folders = append(m.Folders, filepath.Join(s.config.Data, "objects"))
	}
	if s.config.DatabaseURL != "" {
		m.Databases = []string{s.store.Pool.Config().ConnConfig.Database}
	}
	if _, port, err := net.SplitHostPort(s.address); err == nil {
		m.Port, _ = strconv.Atoi(port)
	}
	return m
}

// tenantsApart says whether each environment was last found to keep its tenants apart, and not too long ago.
func (s *server) tenantsApart(ctx context.Context) (string, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return "", err
	}
	states, err := s.store.IsolationStates(ctx)
	if err != nil {
		return "", err
	}
	var well, ill []string
	for _, state := range states {
		env, ok := declared.Environment(state.Environment)
		if !ok {
			continue
		}
		every := env.IsolationEvery()
		quiet := every > 0 && state.PassedAt != nil && time.Since(*state.PassedAt) > isolationSilence*every
		switch {
		case state.Broken != 0:
			ill = append(ill, state.Environment+": "+state.BrokenSays)
		case state.PassedAt == nil || quiet:
			ill = append(ill, state.Environment+": "+state.Says)
		default:
			well = append(well, state.Environment)
		}
	}
	if len(ill) > 0 {
		return "", errors.New(strings.Join(ill, "; "))
	}
	if len(well) == 0 {
		return "not tried yet", nil
	}
	return "apart in " + strings.Join(well, ", "), nil
}
