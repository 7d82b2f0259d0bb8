package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/report"
)

// LedgerInput chooses entries of the ledger; what is not given stands for any.
type LedgerInput struct {
	Promotion   string `query:"promotion" maxLength:"100"`
	Environment string `query:"environment" maxLength:"100"`
	Tenant      string `query:"tenant" maxLength:"100"`
	Actor       string `query:"actor" maxLength:"200" doc:"Who"`
	Kind        string `query:"kind" maxLength:"100" doc:"Or the beginning of one"`
	Text        string `query:"text" maxLength:"200" doc:"That the payload holds"`
	From        string `query:"from" maxLength:"40" doc:"Day (2026-11-01) or moment (RFC 3339); days in UTC"`
	To          string `query:"to" maxLength:"40" doc:"Likewise. A day is the last one; a moment is not in it"`
}

func (in LedgerInput) filter() (ledger.Filter, error) {
	f := ledger.Filter{Promotion: in.Promotion, Environment: in.Environment, Tenant: in.Tenant, Actor: in.Actor, Kind: in.Kind, Text: in.Text}
	if err := plain(in.Promotion, in.Environment, in.Tenant, in.Actor, in.Kind, in.Text); err != nil {
		return f, err
	}
	var err error
	var day bool
	if in.From != "" {
		if f.Since, _, err = moment(in.From, time.UTC); err != nil {
			return f, huma.Error422UnprocessableEntity("from: " + err.Error())
		}
	}
	if in.To != "" {
		if f.Until, day, err = moment(in.To, time.UTC); err != nil {
			return f, huma.Error422UnprocessableEntity("to: " + err.Error())
		}
		if day {
			f.Until = f.Until.AddDate(0, 0, 1)
		}
	}
	return f, nil
}

// plain refuses what no text in a database can hold.
func plain(texts ...string) error {
	for _, text := range texts {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return huma.Error422UnprocessableEntity(fmt.Sprintf("%q is no text: a zero byte, or no UTF-8, is in it", text))
		}
	}
	return nil
}

// auditPage is how many entries are in memory while they are written.
const auditPage = 1000

// auditRoutes are what an auditor asks of the ledger beside reading it.
func (b Backend) auditRoutes(api huma.API) {
	huma.Get(api, "/api/v1/ledger/verification", func(ctx context.Context, _ *struct{}) (*body[ledger.Report], error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		found, err := b.VerifyLedger(ctx)
		if err != nil {
			return nil, ledgerProblem(err)
		}
		return reply(found, nil)
	}, does(identity.LedgerRead), describe("Verify the whole ledger", "By the server, with the keys and the head that it keeps: it takes seconds where there are very many entries. Whoever does not trust the server verifies the export: waybill ledger verify --file"))
	huma.Get(api, "/api/v1/ledger/csv", func(ctx context.Context, in *LedgerInput) (*huma.StreamResponse, error) {
		if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
			return nil, err
		}
		filter, err := in.filter()
		if err != nil {
			return nil, err
		}
		filter.Limit = auditPage
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
			c.SetHeader("Content-Disposition", `attachment; filename="waybill-ledger.csv"`)
			if err := b.ledgerCSV(c.Context(), c.BodyWriter(), filter); err != nil {
				panic(http.ErrAbortHandler) // so that whoever reads it knows that it is not whole
			}
		}}, nil
	}, does(identity.LedgerRead), describe("Entries of the ledger as CSV", "RFC 4180, the newest first. To prove that nothing was touched, take the whole ledger: /ledger/export"))
}

func (b Backend) ledgerCSV(ctx context.Context, w io.Writer, filter ledger.Filter) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write([]string{"sequence", "time", "actor", "kind", "environment", "tenant", "promotion", "rollout", "release", "payload", "hash"}); err != nil {
		return err
	}
	for {
		page, err := b.Ledger.List(ctx, filter)
		if err != nil {
			return err
		}
		for _, e := range page {
			cell := report.Cell
			if err := out.Write([]string{strconv.FormatInt(e.Sequence, 10), e.Time.Format(time.RFC3339Nano), cell(e.Actor), cell(e.Kind), cell(e.Environment), cell(e.Tenant),
				cell(e.Promotion), cell(e.Rollout), cell(e.Release), cell(string(e.Payload)), e.Hash.String()}); err != nil {
				return err
			}
			filter.Before = e.Sequence
		}
		if out.Flush(); out.Error() != nil || len(page) < filter.Limit {
			return out.Error()
		}
	}
}
