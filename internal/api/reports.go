package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/report"
)

// reportPeriod is what a report is about where nobody says: a quarter of a year, or nearly.
const reportPeriod = 90 * 24 * time.Hour

// PeriodInput is a period as people say it.
type PeriodInput struct {
	From string `query:"from" maxLength:"40" doc:"Day (2026-11-01) in the zone, or moment (RFC 3339)"`
	To   string `query:"to" maxLength:"40" doc:"Likewise. A day is the last one; a moment is not in it. Default: now"`
	Zone string `query:"zone" maxLength:"60" doc:"IANA name: Europe/Berlin. Default: UTC"`
}

// read gives the period; without a beginning it is so long.
func (in PeriodInput) read(long time.Duration, now time.Time) (from, to time.Time, zone *time.Location, err error) {
	if in.Zone == "" {
		in.Zone = "UTC"
	}
	if zone, err = calendar.Zone(in.Zone); err != nil {
		return from, to, zone, huma.Error422UnprocessableEntity("zone: " + err.Error())
	}
	to = now
	if in.To != "" {
		var day bool
		if to, day, err = moment(in.To, zone); err != nil {
			return from, to, zone, huma.Error422UnprocessableEntity("to: " + err.Error())
		}
		if day {
			to = to.AddDate(0, 0, 1)
		}
	}
	from = to.Add(-long)
	if in.From != "" {
		if from, _, err = moment(in.From, zone); err != nil {
			return from, to, zone, huma.Error422UnprocessableEntity("from: " + err.Error())
		}
	}
	if !from.Before(to) {
		return from, to, zone, huma.Error422UnprocessableEntity(fmt.Sprintf("from %s to %s is no time: the end must be later", from.Format(time.RFC3339), to.Format(time.RFC3339)))
	}
	return from.In(zone), to.In(zone), zone, nil
}

// moment reads a day or a moment, of years that a database knows.
func moment(text string, zone *time.Location) (t time.Time, day bool, err error) {
	if t, err = time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		day = true
	} else if t, err = time.Parse(time.RFC3339, text); err != nil {
		return t, false, fmt.Errorf("%q is neither a day like 2026-11-01 nor a moment like 2026-11-01T08:00:00+01:00", text)
	}
	if y := t.Year(); y < 1970 || y > 9000 {
		return t, false, fmt.Errorf("the year %d is out of range", y)
	}
	return t, day, nil
}

// ReportInput says what is to be counted.
type ReportInput struct {
	PeriodInput
	Environment string `query:"environment" maxLength:"100" doc:"Default: all that one may see"`
	Tenant      string `query:"tenant" maxLength:"100" doc:"Only its part of what was done; default: all"`
	By          string `query:"by" enum:"environment,tenant,ring" default:"environment"`
	Bucket      string `query:"bucket" enum:"week,month" default:"week" doc:"Of the trend"`
}

func (b Backend) reportRoutes(api huma.API) {
	huma.Get(api, "/api/v1/reports/releases", func(ctx context.Context, in *ReportInput) (*body[*report.Report], error) {
		return reply(b.report(ctx, in))
	}, does(identity.ReportRead), describe("The figures of releasing", "Of promotions and rehearsals that ended in a period, and of what was changed in a cluster meanwhile. Each figure comes with its definition and what it rests on; docs/reports.md"))
	huma.Get(api, "/api/v1/reports/releases/csv", func(ctx context.Context, in *ReportInput) (*huma.StreamResponse, error) {
		r, err := b.report(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
			c.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="waybill-report-%s.csv"`, r.To.Format(time.DateOnly)))
			_ = r.CSV(c.BodyWriter())
		}}, nil
	}, does(identity.ReportRead), describe("The same as CSV", "RFC 4180, one figure a line"))
}

func (b Backend) report(ctx context.Context, in *ReportInput) (*report.Report, error) {
	if err := plain(in.Environment, in.Tenant); err != nil {
		return nil, err
	}
	var sees func(string) bool
	if in.Environment != "" {
		if err := b.may(ctx, identity.ReportRead, identity.Subject{Environment: in.Environment}); err != nil {
			return nil, err
		}
		sees = func(string) bool { return true }
	} else {
		sees = b.sees(ctx, identity.ReportRead)
	}
	from, to, zone, err := in.read(reportPeriod, time.Now())
	if err != nil {
		return nil, err
	}
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, err
	}
	data, err := b.Store.Report(ctx, from, to, in.Environment)
	if err != nil {
		return nil, err
	}
	counts := func(environment, tenant string) bool {
		return sees(environment) && (in.Tenant == "" || tenant == in.Tenant)
	}
	data.Rollouts = slices.DeleteFunc(data.Rollouts, func(r report.Rollout) bool { return !counts(r.Environment, r.Tenant) })
	data.Rehearsals = slices.DeleteFunc(data.Rehearsals, func(r report.Rehearsal) bool { return !counts(r.Environment, r.Tenant) })
	data.Drifts = slices.DeleteFunc(data.Drifts, func(x report.Drift) bool { return in.Tenant != "" || !sees(x.Environment) })
	q := report.Question{From: from, To: to, By: report.By(in.By), Bucket: report.Bucket(in.Bucket), Zone: zone, Last: in.Environment}
	if q.Last == "" {
		q.Last = lastOf(declared, sees)
	}
	r, err := report.Make(q, data)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return r, nil
}

// lastOf is the end of the pipeline, as far as it is seen.
func lastOf(e *estate.Estate, sees func(string) bool) string {
	for _, env := range slices.Backward(e.Environments) {
		if sees(env.Name) {
			return env.Name
		}
	}
	return ""
}
