package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/store"
)

// Rehearsal is what the API tells of a rehearsal.
type Rehearsal struct {
	ID          string            `json:"id"`
	Environment string            `json:"environment"`
	Tenant      string            `json:"tenant"`
	Release     string            `json:"release"`
	ReleaseName string            `json:"release_name"`
	OldRelease  string            `json:"old_release"`
	State       string            `json:"state" enum:"queued,running,done"`
	Progress    string            `json:"progress" doc:"Where it is; once done, the result in one line"`
	Outcome     string            `json:"outcome" doc:"proven, fails, unfinished; empty while it runs"`
	Report      *rehearsal.Report `json:"report,omitempty" doc:"Only where one is asked for, and once it is done"`
	Created     time.Time         `json:"created"`
	Finished    *time.Time        `json:"finished,omitempty"`
	Revision    int64             `json:"revision"`
}

func rehearsalView(r store.Rehearsal) (Rehearsal, error) {
	v := Rehearsal{ID: r.ID, Environment: r.Environment, Tenant: r.Tenant, Release: r.Release, ReleaseName: r.ReleaseName, OldRelease: r.OldRelease,
		State: r.State, Progress: r.Progress, Outcome: r.Outcome, Created: r.CreatedAt, Finished: r.FinishedAt, Revision: r.Revision}
	if len(r.Report) == 0 || string(r.Report) == "null" {
		return v, nil
	}
	v.Report = new(rehearsal.Report)
	return v, json.Unmarshal(r.Report, v.Report)
}

func (b Backend) rehearsalRoutes(api huma.API) {
	huma.Post(api, "/api/v1/rehearsals", func(ctx context.Context, in *struct {
		Body struct {
			Release     string `json:"release" maxLength:"100"`
			Environment string `json:"environment" maxLength:"100"`
			Tenant      string `json:"tenant,omitempty" maxLength:"100" doc:"Needed where the environment has more than one"`
			Checkpoint  string `json:"checkpoint,omitempty" maxLength:"200" doc:"ID; default: the newest"`
			Untraced    bool   `json:"untraced,omitempty" doc:"Watch nothing: no timeline, no locks"`
		}
	}) (*body[Rehearsal], error) {
		if err := b.may(ctx, identity.RehearsalStart, identity.Subject{Environment: in.Body.Environment, Name: in.Body.Release}); err != nil {
			return nil, err
		}
		id, err := b.Rehearsals.Ask(ctx, rehearsal.Request{Environment: in.Body.Environment, Tenant: in.Body.Tenant, Release: in.Body.Release, Checkpoint: in.Body.Checkpoint, Untraced: in.Body.Untraced, By: personOf(ctx).Name})
		if errors.Is(err, rehearsal.ErrRequest) {
			return nil, huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), rehearsal.ErrRequest.Error()+": "))
		}
		if err != nil {
			return nil, problem(err)
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.RehearsalAsked, Environment: in.Body.Environment, Tenant: in.Body.Tenant, Payload: map[string]any{"rehearsal": id, "release_name": in.Body.Release}}); err != nil {
			return nil, problem(err)
		}
		return reply(b.rehearsal(ctx, id, -1, 0))
	}, does(identity.RehearsalStart))
	huma.Get(api, "/api/v1/rehearsals", func(ctx context.Context, in *struct {
		Environment string `query:"environment"`
		Tenant      string `query:"tenant"`
		PageInput
	}) (*page[Rehearsal], error) {
		sees := b.sees(ctx, identity.RehearsalRead)
		before, err := behindNumber("rehearsals", in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := b.Store.Rehearsals(ctx, in.Environment, in.Tenant, before, in.Limit)
		if err != nil {
			return nil, problem(err)
		}
		views := make([]Rehearsal, 0, len(rows))
		for _, r := range rows {
			if !sees(r.Environment) {
				continue
			}
			v, err := rehearsalView(r)
			if err != nil {
				return nil, problem(err)
			}
			views = append(views, v)
		}
		p := paged(ctx, "rehearsals", rows, in.Limit, func(r store.Rehearsal) []string { return []string{strconv.FormatInt(r.Seq, 10)} })
		return &page[Rehearsal]{Following: p.Following, Body: views}, nil // shorter than asked for where some of it is not to be seen
	}, does(identity.RehearsalRead))
	huma.Get(api, "/api/v1/rehearsals/{id}", func(ctx context.Context, in *struct {
		IDInput
		After int64 `query:"after" default:"-1" doc:"Answer only once the revision is above this, or after wait seconds"`
		Wait  int   `query:"wait" minimum:"0" maximum:"30"`
	}) (*body[Rehearsal], error) {
		if err := b.mayWithRehearsal(ctx, identity.RehearsalRead, in.ID); err != nil {
			return nil, err
		}
		return reply(b.rehearsal(ctx, in.ID, in.After, time.Duration(in.Wait)*time.Second))
	}, does(identity.RehearsalRead))
	huma.Get(api, "/api/v1/rehearsals/{id}/page", func(ctx context.Context, in *IDInput) (*huma.StreamResponse, error) {
		if err := b.mayWithRehearsal(ctx, identity.RehearsalRead, in.ID); err != nil {
			return nil, err
		}
		r, err := b.rehearsal(ctx, in.ID, -1, 0)
		if err != nil {
			return nil, problem(err)
		}
		if r.Report == nil {
			return nil, huma.Error409Conflict("rehearsal " + in.ID + " has no report (yet): " + r.Progress)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "text/html; charset=utf-8")
			c.SetHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			_ = rehearsal.WritePage(c.BodyWriter(), r.Report)
		}}, nil
	}, does(identity.RehearsalRead), answers(http.StatusConflict))
	huma.Delete(api, "/api/v1/rehearsals/{id}", func(ctx context.Context, in *IDInput) (*struct{}, error) {
		if err := b.mayWithRehearsal(ctx, identity.RehearsalCancel, in.ID); err != nil {
			return nil, err
		}
		if err := b.Rehearsals.Cancel(ctx, in.ID); err != nil {
			return nil, problem(err)
		}
		return nil, nil
	}, does(identity.RehearsalCancel), func(o *huma.Operation) { o.DefaultStatus = http.StatusNoContent })
}

// mayWithRehearsal decides whether who asks may do something with a rehearsal.
func (b Backend) mayWithRehearsal(ctx context.Context, op identity.Operation, id string) error {
	r, err := b.Store.Rehearsal(ctx, id)
	if err != nil {
		return problem(err)
	}
	return b.may(ctx, op, identity.Subject{Environment: r.Environment, Name: id, Own: r.RequestedBy == personOf(ctx).Name})
}

// rehearsal reads one, once it has changed or the time is up.
func (b Backend) rehearsal(ctx context.Context, id string, after int64, wait time.Duration) (Rehearsal, error) {
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := b.Store.Rehearsal(ctx, id)
		if err != nil {
			return Rehearsal{}, err
		}
		if r.Revision > after || r.State == store.Rehearsed || time.Now().After(deadline) {
			return rehearsalView(r)
		}
		select {
		case <-ctx.Done():
			return Rehearsal{}, ctx.Err()
		case <-tick.C:
		}
	}
}
