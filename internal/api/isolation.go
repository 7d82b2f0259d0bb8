package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/isolation"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store"
)

// IsolationRun is one try to reach, from an environment's pools, what belongs to others.
type IsolationRun struct {
	ID       int64                  `json:"id"`
	AskedBy  string                 `json:"asked_by,omitempty" doc:"Absent: it was due"`
	Started  time.Time              `json:"started"`
	Finished *time.Time             `json:"finished,omitempty"`
	Verdict  string                 `json:"verdict" doc:"PASS, FAIL, INCONCLUSIVE; empty: not known yet"`
	Says     string                 `json:"says"`
	Report   *isolation.Examination `json:"report,omitempty" doc:"Not in lists"`
}

// Isolation is what is known of an environment's isolation.
type Isolation struct {
	Environment string         `json:"environment"`
	Broken      bool           `json:"broken" doc:"Something was reached, and no later run has passed"`
	Passed      *time.Time     `json:"passed,omitempty" doc:"When a run last passed"`
	Newest      *IsolationRun  `json:"newest,omitempty" doc:"That has ended"`
	Runs        []IsolationRun `json:"runs" doc:"The newest first"`
}

// IsolationAsked names a run that has begun.
type IsolationAsked struct {
	Run int64 `json:"run"`
}

func (b Backend) isolationRoutes(api huma.API) {
	huma.Get(api, "/api/v1/isolation/{environment}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Limit       int    `query:"limit" default:"10" minimum:"1" maximum:"500"`
	}) (*body[Isolation], error) {
		if err := b.may(ctx, identity.IsolationRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		return reply(b.isolation(ctx, in.Environment, in.Limit))
	}, does(identity.IsolationRead), describe("Whether tenants are apart", "The newest run with all that it found, and those before it"))
	huma.Get(api, "/api/v1/isolation/{environment}/{run}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Run         int64  `path:"run" minimum:"1"`
	}) (*body[IsolationRun], error) {
		if err := b.may(ctx, identity.IsolationRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		run, err := b.Store.IsolationRun(ctx, in.Environment, in.Run)
		if err != nil {
			return nil, problem(err)
		}
		return reply(isolationRun(run))
	}, does(identity.IsolationRead), describe("One run", "While it runs its verdict is empty"))
	huma.Post(api, "/api/v1/isolation/{environment}/check", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[IsolationAsked], error) {
		if err := b.may(ctx, identity.IsolationCheck, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		if _, ok := declared.Environment(in.Environment); !ok {
			return nil, huma.Error422UnprocessableEntity("the estate has no environment " + in.Environment)
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.IsolationAsked, Environment: in.Environment}); err != nil {
			return nil, problem(err)
		}
		run, err := b.CheckIsolation(ctx, in.Environment, personOf(ctx).Name)
		if errors.Is(err, store.ErrIsolationRuns) {
			return nil, huma.Error409Conflict(err.Error())
		}
		return reply(IsolationAsked{Run: run}, err)
	}, does(identity.IsolationCheck), describe("Try now whether tenants are apart", "It answers at once; the run tells when it has ended"))
}

func (b Backend) isolation(ctx context.Context, environment string, limit int) (Isolation, error) {
	view := Isolation{Environment: environment, Runs: []IsolationRun{}}
	runs, err := b.Store.IsolationRuns(ctx, environment, limit)
	if err != nil {
		return view, err
	}
	for _, row := range runs {
		run, err := isolationRun(row)
		if err != nil {
			return view, err
		}
		view.Runs = append(view.Runs, run)
	}
	states, err := b.Store.IsolationStates(ctx)
	if err != nil {
		return view, err
	}
	if i := slices.IndexFunc(states, func(s store.IsolationState) bool { return s.Environment == environment }); i >= 0 {
		view.Broken, view.Passed = states[i].Broken != 0, states[i].PassedAt
	}
	newest, err := b.Store.IsolationRun(ctx, environment, 0)
	if errors.Is(err, store.ErrNotFound) {
		return view, nil
	}
	if err != nil {
		return view, err
	}
	run, err := isolationRun(newest)
	view.Newest = &run
	return view, err
}

func isolationRun(row store.IsolationRun) (IsolationRun, error) {
	run := IsolationRun{ID: row.ID, AskedBy: row.AskedBy, Started: row.StartedAt, Finished: row.FinishedAt, Verdict: row.Verdict, Says: row.Says}
	if len(row.Report) == 0 || string(row.Report) == "null" {
		return run, nil
	}
	run.Report = &isolation.Examination{}
	return run, json.Unmarshal(row.Report, run.Report)
}

// markIsolation names, in a status, the environments whose tenants are not apart.
func (b Backend) markIsolation(ctx context.Context, s *Status) error {
	states, err := b.Store.IsolationStates(ctx)
	for _, state := range states {
		i := slices.IndexFunc(s.Environments, func(e Environment) bool { return e.Name == state.Environment })
		if i >= 0 && state.Broken != 0 {
			s.Environments[i].Problems = append(s.Environments[i].Problems, fmt.Sprintf("tenants are not apart: %s; see: waybill isolation show %s", state.BrokenSays, state.Environment))
		}
	}
	return err
}
