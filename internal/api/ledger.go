package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/waybill"
)

// LedgerEntry is an entry of the ledger as the API tells it.
type LedgerEntry struct {
	Sequence    int64     `json:"sequence" doc:"From 1 on, without gaps"`
	Time        time.Time `json:"time"`
	Actor       string    `json:"actor"`
	Kind        string    `json:"kind"`
	Environment string    `json:"environment,omitempty"`
	Tenant      string    `json:"tenant,omitempty"`
	Promotion   string    `json:"promotion,omitempty"`
	Rollout     string    `json:"rollout,omitempty"`
	Release     string    `json:"release,omitempty"`
	Payload     any       `json:"payload"`
	Previous    string    `json:"previous" doc:"Hash of the entry before"`
	Hash        string    `json:"hash"`
}

func ledgerEntry(e ledger.Entry) LedgerEntry {
	v := LedgerEntry{Sequence: e.Sequence, Time: e.Time, Actor: e.Actor, Kind: e.Kind, Environment: e.Environment, Tenant: e.Tenant, Promotion: e.Promotion,
		Rollout: e.Rollout, Release: e.Release, Previous: e.Previous.String(), Hash: e.Hash.String()}
	if err := e.Payload.Into(&v.Payload); err != nil {
		v.Payload = string(e.Payload)
	}
	return v
}

// BundleType is the media type of a signed waybill.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

func (b Backend) ledgerRoutes(api huma.API) {
	huma.Get(api, "/api/v1/ledger", func(ctx context.Context, in *struct {
		LedgerInput
		Before int64  `query:"before" doc:"Sequence of the last one seen; a cursor does the same"`
		Cursor string `query:"cursor" maxLength:"500" doc:"Next-Cursor of the answer before; empty: from the start"`
		Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"1000"`
	}) (*page[LedgerEntry], error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		filter, err := in.filter()
		if err != nil {
			return nil, err
		}
		if filter.Before, err = behindNumber("ledger", in.Cursor); err != nil {
			return nil, err
		}
		if filter.Before == 0 {
			filter.Before = in.Before
		}
		filter.Limit = in.Limit
		found, err := b.Ledger.List(ctx, filter)
		if err != nil {
			return nil, problem(err)
		}
		views := make([]LedgerEntry, 0, len(found))
		for _, e := range found {
			views = append(views, ledgerEntry(e))
		}
		return paged(ctx, "ledger", views, in.Limit, func(e LedgerEntry) []string { return []string{strconv.FormatInt(e.Sequence, 10)} }), nil
	}, does(identity.LedgerRead), describe("Entries of the ledger", "The newest first"))
	huma.Get(api, "/api/v1/ledger/entries/{sequence}", func(ctx context.Context, in *struct {
		Sequence int64 `path:"sequence"`
	}) (*body[LedgerEntry], error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		e, err := b.Ledger.Entry(ctx, in.Sequence)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil, huma.Error404NotFound(err.Error())
		}
		return reply(ledgerEntry(e), err)
	}, does(identity.LedgerRead))
	huma.Get(api, "/api/v1/ledger/heads", func(ctx context.Context, in *struct {
		Limit int `query:"limit" default:"1" minimum:"1" maximum:"1000"`
	}) (*body[[]ledger.Head], error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		if _, err := b.Ledger.Cover(ctx); err != nil {
			return nil, ledgerProblem(err)
		}
		return reply(b.Ledger.Heads(ctx, in.Limit))
	}, does(identity.LedgerRead), describe("The newest signed heads", "A head over what there is now is signed first. Whoever keeps it elsewhere holds everything before it in place."), answers(http.StatusConflict))
	huma.Get(api, "/api/v1/ledger/export", func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/jsonl; charset=utf-8")
			if err := ledger.Write(c.BodyWriter(), b.Ledger.Lines(c.Context())); err != nil {
				panic(http.ErrAbortHandler) // so that whoever reads it knows that it is not whole
			}
		}}, nil
	}, does(identity.LedgerRead), describe("The whole ledger", "One JSON object a line: its name, every entry, and every head after the entry that it was signed at"))
	b.auditRoutes(api)
	huma.Get(api, "/api/v1/promotions/{id}/waybill", func(ctx context.Context, in *IDInput) (*struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}, error) {
		if _, err := b.mayWith(ctx, identity.PromotionRead, in.ID); err != nil {
			return nil, err
		}
		bundle, err := b.Waybill(ctx, in.ID)
		switch {
		case errors.Is(err, waybill.ErrNone):
			return nil, huma.Error409Conflict(err.Error())
		case err != nil:
			return nil, ledgerProblem(err)
		}
		return &struct {
			ContentType string `header:"Content-Type"`
			Body        []byte
		}{BundleType, bundle}, nil
	}, does(identity.PromotionRead), describe("The waybill of a promotion", "A signed in-toto statement as a Sigstore bundle, cut now"), answers(http.StatusConflict))
}

func describe(summary, text string) func(*huma.Operation) {
	return func(o *huma.Operation) { o.Summary, o.Description = summary, text }
}

func ledgerProblem(err error) error {
	if errors.Is(err, ledger.ErrTampered) {
		return huma.Error409Conflict(err.Error())
	}
	return problem(err)
}

// write puts what a person did through the API into the ledger, before it is done: an act that then
// fails was asked for all the same.
func (b Backend) write(ctx context.Context, e ledger.Event) error {
	e.Actor = personOf(ctx).Name
	if err := ledger.Record(ctx, b.Store.Pool, e); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	return nil
}
