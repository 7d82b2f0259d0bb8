package api

import (
	"context"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// Beside is a checkpoint that was restored beside the tenant that it is of.
type Beside struct {
	store.Beside
	ReleaseName string `json:"release_name"`
	State       string `json:"state" enum:"being made,stands,overdue" doc:"overdue: it should have gone, and could not be taken away"`
}

// overdueAfter is how long after its time something may still stand before a person looks why.
const overdueAfter = time.Hour

func (b Backend) restoreRoutes(api huma.API) {
	huma.Post(api, "/api/v1/restores", func(ctx context.Context, in *struct {
		Body struct {
			TenantBody
			Checkpoint string     `json:"checkpoint,omitempty" maxLength:"200" doc:"This one, or"`
			ToTime     *time.Time `json:"to_time,omitempty" doc:"the newest one at or before this time"`
			Beside     bool       `json:"beside,omitempty" doc:"Into a database of its own, neutralised; the living tenant is not touched"`
			Name       string     `json:"name,omitempty" maxLength:"100" doc:"Beside alone: what to call it; default: after its recovery point"`
			Host       string     `json:"host,omitempty" maxLength:"300" doc:"Beside alone: host name to look at it under; none: nothing serves it"`
			KeepHours  int        `json:"keep_hours,omitempty" minimum:"0" maximum:"8760" doc:"Beside alone: until it goes away by itself; default 168"`
		}
	}) (*body[Asked], error) {
		q := in.Body
		if err := b.may(ctx, identity.RestoreStart, identity.Subject{Environment: q.Environment, Name: q.Tenant}); err != nil {
			return nil, err
		}
		id, asked, err := b.choose(ctx, q.Environment, q.Tenant, q.Checkpoint, q.ToTime)
		if err != nil {
			return nil, err
		}
		if !q.Beside {
			if q.Name != "" || q.Host != "" || q.KeepHours != 0 {
				return nil, huma.Error422UnprocessableEntity("name, host and keep_hours are of what is restored beside a tenant; this restore is over it")
			}
			return b.start(ctx, promotion.Request{Kind: promotion.KindRestore, Environment: q.Environment, Tenants: []string{q.Tenant}, Options: promotion.Options{Checkpoint: id, Asked: asked}})
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		p, err := b.Engine.RestoreBeside(ctx, declared, promotion.BesideRequest{Environment: q.Environment, Tenant: q.Tenant, Checkpoint: id, Asked: asked,
			Name: q.Name, Host: q.Host, Keep: time.Duration(q.KeepHours) * time.Hour, By: personOf(ctx).Name})
		return reply(Asked{Promotion: p}, err)
	}, does(identity.RestoreStart))
	huma.Get(api, "/api/v1/restores/{environment}/{tenant}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Tenant      string `path:"tenant" maxLength:"100"`
		LongPageInput
	}) (*page[Beside], error) {
		if err := b.may(ctx, identity.CheckpointRead, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		list, err := b.besides(ctx, in.Environment, in.Tenant)
		if err != nil {
			return nil, problem(err)
		}
		return cut(ctx, "restores", list, in.Cursor, in.Limit, func(x Beside) string { return x.Name })
	}, does(identity.CheckpointRead), describe("What stands beside a tenant", "Checkpoints that were restored into databases of their own"))
	huma.Delete(api, "/api/v1/restores/{environment}/{tenant}/{name}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Tenant      string `path:"tenant" maxLength:"100"`
		Name        string `path:"name" maxLength:"100"`
	}) (*body[Asked], error) {
		if err := b.may(ctx, identity.RestoreDrop, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		id, err := b.Engine.DropBeside(ctx, in.Environment, in.Tenant, in.Name, personOf(ctx).Name)
		return reply(Asked{Promotion: id}, err)
	}, does(identity.RestoreDrop), describe("Take away what stands beside a tenant", "Its database, its filestore, its route. The living tenant cannot be named"))
}

// choose is the checkpoint that is asked for, of this tenant, by name or by a time; asked is that time.
func (b Backend) choose(ctx context.Context, environment, tenant, id string, at *time.Time) (string, time.Time, error) {
	var none time.Time
	if parts := strings.Split(id, "/"); len(parts) == 3 { // as tenant create --from has it
		if parts[0] != environment || parts[1] != tenant {
			return "", none, huma.Error422UnprocessableEntity("checkpoint " + id + " is not one of " + environment + "/" + tenant + ": a tenant is restored from its own. To copy another one's data: waybill tenant create --from " + id)
		}
		id = parts[2]
	}
	switch {
	case (id == "") == (at == nil):
		return "", none, huma.Error422UnprocessableEntity("name either a checkpoint or a time (to_time), to take the newest one at or before it")
	case at == nil:
		return id, none, nil
	}
	list, err := b.Checkpoints.List(ctx, environment, tenant)
	if err != nil {
		return "", none, problem(err)
	}
	chosen, err := checkpoint.At(list, *at, time.Now())
	if err != nil {
		return "", none, huma.Error422UnprocessableEntity(environment + "/" + tenant + ": " + err.Error() + ". See: waybill checkpoint list " + environment + "/" + tenant)
	}
	return chosen.ID, *at, nil
}

// besides lists what stands beside tenants; an empty tenant stands for any.
func (b Backend) besides(ctx context.Context, environment, tenant string) ([]Beside, error) {
	rows, err := b.Store.Besides(ctx, environment, tenant)
	if err != nil {
		return nil, err
	}
	list := []Beside{}
	for _, row := range rows {
		x := Beside{Beside: row, ReleaseName: row.Release, State: "stands"}
		if r, err := b.Store.Release(ctx, row.Release); err == nil {
			x.ReleaseName = r.Name
		}
		switch {
		case row.ReadyAt == nil:
			x.State = "being made"
		case time.Since(row.ExpiresAt) > overdueAfter:
			x.State = "overdue"
		}
		list = append(list, x)
	}
	return list, nil
}
