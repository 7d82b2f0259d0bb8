package api

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/report"
	"github.com/waybill-dev/waybill/internal/store"
)

// Gate is what the gate of one tenant's part of a promotion said when it was last asked.
type Gate struct {
	Tenant   string      `json:"tenant"`
	Standing bool        `json:"standing" doc:"It stands there now, and waits"`
	People   bool        `json:"people" doc:"It waits for people, beside what else there may be"`
	Answer   gate.Result `json:"answer"`
}

// ofPeople are the groups of facts that people change by deciding.
var ofPeople = []string{"approval", "approvals", "emergency"}

// schemaName tells types of one name apart in the API's description.
func schemaName(t reflect.Type, hint string) string {
	if t == reflect.TypeFor[gate.Need]() || t == reflect.TypeFor[*gate.Need]() { // approval.Need is another one
		return "GateNeed"
	}
	named := t
	if t.Kind() == reflect.Pointer {
		named = t.Elem()
	}
	switch named.PkgPath() {
	case reflect.TypeFor[impact.Assessment]().PkgPath(): // it has words of its own for tenants, modules, windows
		return "Impact" + named.Name()
	case reflect.TypeFor[calendar.Answer]().PkgPath():
		return "Calendar" + named.Name()
	case reflect.TypeFor[report.Report]().PkgPath():
		return "Report" + named.Name() // ReportReport is the whole
	}
	if named == reflect.TypeFor[ledger.Report]() || named == reflect.TypeFor[ledger.Problem]() {
		return "Ledger" + named.Name()
	}
	return huma.DefaultSchemaNamer(t, hint)
}

func (b Backend) gateRoutes(api huma.API) {
	huma.Get(api, "/api/v1/promotions/{id}/gates", func(ctx context.Context, in *IDInput) (*body[[]Gate], error) {
		return ofPromotion(ctx, b, "gates", in.ID, b.gatesOf)
	}, does(identity.PromotionRead))
}

func (b Backend) gatesOf(ctx context.Context, p store.Promotion) ([]Gate, error) {
	rollouts, err := b.Store.Rollouts(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	found := []Gate{}
	for _, r := range rollouts {
		kept, err := b.Store.GateOf(ctx, r.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && len(kept.Result) == 0 { // being asked for the first time
			continue
		} else if err != nil {
			return nil, err
		}
		answer, err := promotion.Answer(kept)
		if err != nil {
			return nil, err
		}
		g := Gate{Tenant: r.Tenant, Answer: answer}
		g.Standing = answer.Verdict == gate.Waits && r.State == store.Running && r.Step == b.Engine.Gates(p.Kind) && r.WaitsFor != "" && r.Abort == ""
		g.People = g.Standing && slices.ContainsFunc(answer.Waiting, func(group string) bool { return slices.Contains(ofPeople, group) })
		found = append(found, g)
	}
	return found, nil
}
