package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

// Limits of what is told of calendars at once.
const (
	calendarPeriod = 7 * 24 * time.Hour  // where nobody says
	calendarLimit  = 62 * 24 * time.Hour // two months
)

// CalendarPeriod is when promotions may run in a period, and what is planned.
type CalendarPeriod struct {
	From        time.Time             `json:"from"`
	To          time.Time             `json:"to"`
	Now         time.Time             `json:"now"`
	Zone        string                `json:"zone" doc:"That the period was read in"`
	Declared    bool                  `json:"declared" doc:"false: the estate has no calendar, and promotions may run at any time"`
	Alike       []Alike               `json:"alike" doc:"Tenants with the same times, once"`
	Occurrences []calendar.Occurrence `json:"occurrences" doc:"Windows and freezes, by start, each in its own zone"`
	Planned     []Planned             `json:"planned" doc:"Promotions under way that wait for a time within the period, and those that wait for something else"`
}

// Alike are tenants whose calendar is the same.
type Alike struct {
	Subjects  []string           `json:"subjects" doc:"environment/tenant; an environment without tenants stands for itself"`
	Zone      string             `json:"zone" doc:"That their calendar is kept in"`
	Stretches []calendar.Stretch `json:"stretches"`
	Answer    calendar.Answer    `json:"answer" doc:"Whether it is open now, and if not, when next"`
}

// Planned is a promotion that waits.
type Planned struct {
	Promotion   string     `json:"promotion"`
	Kind        string     `json:"kind"`
	ReleaseName string     `json:"release_name"`
	Environment string     `json:"environment"`
	Tenants     []string   `json:"tenants" doc:"That wait for the same"`
	WaitsFor    string     `json:"waits_for"`
	At          *time.Time `json:"at,omitempty" doc:"When it looks again by itself; absent: when what it waits for happens"`
	RequestedBy string     `json:"requested_by"`
}

func (b Backend) calendarRoutes(api huma.API) {
	huma.Get(api, "/api/v1/calendar", func(ctx context.Context, in *struct {
		PeriodInput
		Environment string `query:"environment" maxLength:"100" doc:"Default: all that one may see"`
		Tenant      string `query:"tenant" maxLength:"100" doc:"Only what concerns this one"`
	}) (*body[CalendarPeriod], error) {
		now := time.Now()
		sees := b.sees(ctx, identity.CalendarRead)
		if in.Environment != "" {
			if err := b.may(ctx, identity.CalendarRead, identity.Subject{Environment: in.Environment}); err != nil {
				return nil, err
			}
		}
		if in.From == "" && in.To == "" {
			in.From = now.UTC().Format(time.RFC3339)
			in.To = now.UTC().Add(calendarPeriod).Format(time.RFC3339)
		}
		from, to, zone, err := in.read(calendarPeriod, now)
		if err != nil {
			return nil, err
		}
		if to.Sub(from) > calendarLimit {
			return nil, huma.Error422UnprocessableEntity("at most two months are told at once: ask for a shorter period")
		}
		return reply(b.calendar(ctx, from, to, zone, now, func(environment, tenant string) bool {
			return (in.Environment == "" || environment == in.Environment) && (in.Tenant == "" || tenant == in.Tenant) && sees(environment)
		}))
	}, does(identity.CalendarRead), describe("When promotions may run, and what is planned", "Windows and freezes of the estate's calendars, times that are open, closed or frozen for each tenant, and promotions that wait"))
}

func (b Backend) calendar(ctx context.Context, from, to time.Time, zone *time.Location, now time.Time, concerns func(environment, tenant string) bool) (CalendarPeriod, error) {
	c := CalendarPeriod{From: from, To: to, Now: now, Zone: zone.String(), Alike: []Alike{}, Occurrences: []calendar.Occurrence{}, Planned: []Planned{}}
	declared, err := b.Estate(ctx)
	if err != nil {
		return c, err
	}
	set, err := declared.Calendar()
	if err != nil {
		return c, err
	}
	c.Declared = !set.Empty()
	subjects := slices.DeleteFunc(declared.Subjects(), func(x calendar.Subject) bool { return !concerns(x.Environment, x.Tenant) })
	c.Alike = alike(set, subjects, from, to, now)
	all, err := set.Agenda(from, to, nil)
	if err != nil {
		return c, huma.Error422UnprocessableEntity(err.Error())
	}
	for _, o := range all {
		if slices.ContainsFunc(subjects, o.Scope.Concerns) {
			o.Scope.Environments = slices.DeleteFunc(slices.Clone(o.Scope.Environments), func(name string) bool {
				return !slices.ContainsFunc(subjects, func(x calendar.Subject) bool { return x.Environment == name })
			})
			c.Occurrences = append(c.Occurrences, o)
		}
	}
	waiting, err := b.Store.WaitingRollouts(ctx)
	if err != nil {
		return c, err
	}
	c.Planned = planned(waiting, now, concerns)
	return c, nil
}

// alike tells what is the same for many once: of tenants with the same zone, labels and ring nearly always.
func alike(set *calendar.Set, subjects []calendar.Subject, from, to, now time.Time) []Alike {
	found := []Alike{}
	for _, x := range subjects {
		a := Alike{Subjects: []string{x.String()}, Zone: set.ZoneOf(x).String(), Stretches: set.Stretches(x, from, to)}
		i := slices.IndexFunc(found, func(other Alike) bool {
			return other.Zone == a.Zone && slices.EqualFunc(other.Stretches, a.Stretches, func(p, q calendar.Stretch) bool {
				return p.State == q.State && p.Start.Equal(q.Start) && p.End.Equal(q.End)
			})
		})
		if i >= 0 {
			found[i].Subjects = append(found[i].Subjects, x.String())
			continue
		}
		a.Answer = set.Open(x, now, 0)
		found = append(found, a)
	}
	return found
}

// soon is how far ahead a time is one: what wakes in years waits for an event.
const soon = calendar.Horizon

// planned joins tenants of a promotion that wait for the same.
func planned(waiting []store.WaitingRollout, now time.Time, concerns func(environment, tenant string) bool) []Planned {
	list := []Planned{}
	for _, w := range waiting {
		if !concerns(w.Environment, w.Tenant) {
			continue
		}
		p := Planned{Promotion: w.Promotion, Kind: w.Kind, ReleaseName: w.ReleaseName, Environment: w.Environment, Tenants: []string{w.Tenant}, WaitsFor: strings.TrimSpace(w.WaitsFor), RequestedBy: w.RequestedBy}
		if w.WakeAt != nil && w.WakeAt.Before(now.Add(soon)) {
			p.At = w.WakeAt
		}
		i := slices.IndexFunc(list, func(q Planned) bool {
			return q.Promotion == p.Promotion && q.WaitsFor == p.WaitsFor && (q.At == nil) == (p.At == nil) && (q.At == nil || q.At.Equal(*p.At))
		})
		if i >= 0 {
			list[i].Tenants = append(list[i].Tenants, w.Tenant)
			continue
		}
		list = append(list, p)
	}
	return list
}

// nextWindow is when a tenant's calendar lets a promotion in.
func nextWindow(set *calendar.Set, t estate.Tenant, now time.Time) *calendar.Answer {
	if set == nil || !set.Concerns(t.Subject()) {
		return nil
	}
	a := set.Open(t.Subject(), now, 0)
	return &a
}
