package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

// Drift is how what runs in a cluster differs from what Waybill has applied.
type Drift struct {
	Environment string          `json:"environment"`
	Objects     []DriftedObject `json:"objects" doc:"Those of the environment, then those of the whole cluster"`
}

// DriftedObject is an object that is not as Waybill applied it.
type DriftedObject struct {
	Kind        string         `json:"kind"`
	Namespace   string         `json:"namespace,omitempty"`
	Name        string         `json:"name"`
	Environment string         `json:"environment,omitempty" doc:"Absent: it is the whole cluster's"`
	Deleted     bool           `json:"deleted,omitempty" doc:"By whom, a cluster tells in its audit log alone"`
	Problem     string         `json:"problem,omitempty" doc:"Why it cannot be compared"`
	Fields      []DriftedField `json:"fields"`
	Says        []string       `json:"says" doc:"All of that, for people"`
	Found       time.Time      `json:"found"`
	Since       time.Time      `json:"since" doc:"When it became what it is"`
	Healed      int            `json:"healed" doc:"How often it was brought back within the hour before that"`
	Fought      bool           `json:"fought" doc:"It was changed again each time, and is left alone for now"`
}

// DriftedField is one field that is not as applied.
type DriftedField struct {
	Kind     string    `json:"kind" enum:"changed,removed,added"`
	Path     string    `json:"path"`
	Declared string    `json:"declared,omitempty" doc:"As JSON, shortened; never of a secret"`
	Live     string    `json:"live,omitempty" doc:"Likewise"`
	Owner    string    `json:"owner,omitempty" doc:"Field manager; absent: nobody owns it"`
	Way      string    `json:"way,omitempty" doc:"How it writes: Update, Apply, or Update of a subresource"`
	At       time.Time `json:"at,omitzero" doc:"When it wrote last"`
}

func (b Backend) driftRoutes(api huma.API) {
	huma.Get(api, "/api/v1/drift/{environment}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[Drift], error) {
		if err := b.may(ctx, identity.DriftRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		return reply(b.drift(ctx, in.Environment))
	}, does(identity.DriftRead), describe("What is not as Waybill applied it", "On Kubernetes. Each field with who owns it; values of secrets are never told"))
}

func (b Backend) drift(ctx context.Context, environment string) (Drift, error) {
	view := Drift{Environment: environment, Objects: []DriftedObject{}}
	rows, err := b.Store.Drifts(ctx, "")
	if err != nil {
		return view, err
	}
	for _, of := range []string{environment, ""} {
		for _, row := range rows {
			if row.Environment != of {
				continue
			}
			o, err := driftedObject(row)
			if err != nil {
				return view, err
			}
			view.Objects = append(view.Objects, o)
		}
	}
	return view, nil
}

func driftedObject(row store.Drift) (DriftedObject, error) {
	var f drift.Finding
	if err := json.Unmarshal(row.Finding, &f); err != nil {
		return DriftedObject{}, err
	}
	o := DriftedObject{Kind: row.Kind, Namespace: row.Namespace, Name: row.Name, Environment: row.Environment, Deleted: f.Deleted, Problem: f.Problem, Fields: []DriftedField{},
		Says: f.Says(), Found: row.FoundAt, Since: row.ToldAt, Healed: len(row.Heals), Fought: row.Fought}
	for _, c := range f.Changes {
		o.Fields = append(o.Fields, DriftedField{Kind: string(c.Kind), Path: c.Path, Declared: c.Declared, Live: c.Live, Owner: c.Owner, Way: c.Way, At: c.At})
	}
	return o, nil
}

// markDrift names, in a status, the environments in whose objects somebody else has a hand.
func (b Backend) markDrift(ctx context.Context, s *Status) error {
	rows, err := b.Store.Drifts(ctx, "")
	if err != nil {
		return err
	}
	for i := range s.Environments {
		env := &s.Environments[i]
		own := slices.DeleteFunc(slices.Clone(rows), func(d store.Drift) bool { return d.Environment != env.Name })
		if len(own) == 0 {
			continue
		}
		var first drift.Finding
		if err := json.Unmarshal(own[0].Finding, &first); err != nil {
			return err
		}
		says := first.String()
		if r := []rune(says); len(r) > 200 {
			says = string(r[:200]) + "…"
		}
		if len(own) > 1 {
			says += fmt.Sprintf("; and %d more", len(own)-1)
		}
		env.Problems = append(env.Problems, "it is not as Waybill applied it: "+says+"; see: waybill drift "+env.Name)
	}
	return nil
}
