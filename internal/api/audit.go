package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
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
		return b.found(ctx, in, "text/csv; charset=utf-8; header=present", "waybill-ledger.csv", b.ledgerCSV)
	}, does(identity.LedgerRead), describe("Entries of the ledger as CSV", "RFC 4180, the newest first. To prove that nothing was touched, take the whole ledger: /ledger/export"))
	huma.Get(api, "/api/v1/ledger/jsonl", func(ctx context.Context, in *LedgerInput) (*huma.StreamResponse, error) {
		return b.found(ctx, in, "application/jsonl; charset=utf-8", "waybill-ledger.jsonl", b.ledgerJSON)
	}, does(identity.LedgerRead), describe("Entries of the ledger as JSON", "One object a line, as in /ledger, the newest first. To prove that nothing was touched, take the whole ledger: /ledger/export"))
}

// found streams the entries that are asked for as a file.
func (b Backend) found(ctx context.Context, in *LedgerInput, media, name string, write func(io.Writer, iter.Seq2[ledger.Entry, error]) error) (*huma.StreamResponse, error) {
	if err := b.may(ctx, identity.LedgerRead, identity.Subject{}); err != nil {
		return nil, err
	}
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", media)
		c.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
		if err := write(c.BodyWriter(), b.entries(c.Context(), filter)); err != nil {
			panic(http.ErrAbortHandler) // so that whoever reads it knows that it is not whole
		}
	}}, nil
}

// entries are all that a filter chooses, the newest first, read a page at a time.
func (b Backend) entries(ctx context.Context, filter ledger.Filter) iter.Seq2[ledger.Entry, error] {
	filter.Limit = auditPage
	return func(yield func(ledger.Entry, error) bool) {
		for {
			page, err := b.Ledger.List(ctx, filter)
			if err != nil {
				yield(ledger.Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				filter.Before = e.Sequence
			}
			if len(page) < filter.Limit {
				return
			}
		}
	}
}

func (b Backend) ledgerJSON(w io.Writer, found iter.Seq2[ledger.Entry, error]) error {
	out := json.NewEncoder(w)
	for e, err := range found {
		if err != nil {
			return err
		}
		if err := out.Encode(ledgerEntry(e)); err != nil {
			return err
		}
	}
	return nil
}

func (b Backend) ledgerCSV(w io.Writer, found iter.Seq2[ledger.Entry, error]) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write([]string{"sequence", "time", "actor", "kind", "environment", "tenant", "promotion", "rollout", "release", "payload", "hash"}); err != nil {
		return err
	}
	for e, err := range found {
		if err != nil {
			return err
		}
		cell := report.Cell
		if err := out.Write([]string{strconv.FormatInt(e.Sequence, 10), e.Time.Format(time.RFC3339Nano), cell(e.Actor), cell(e.Kind), cell(e.Environment), cell(e.Tenant),
			cell(e.Promotion), cell(e.Rollout), cell(e.Release), cell(string(e.Payload)), e.Hash.String()}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
