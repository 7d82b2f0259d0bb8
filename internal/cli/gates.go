package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// standing are the gates that a promotion waits at, where nothing else of it goes on and whoever watches need not stay:
// because people are waited for, who take their time, or because they do not want to wait for anything. nil: watch on.
func (a *app) standing(ctx context.Context, p api.Promotion, noWait bool) ([]api.Gate, error) {
	open := 0
	for _, r := range p.Rollouts {
		switch {
		case r.State == store.Undoing, r.State == store.Running && r.WaitsFor == "":
			return nil, nil
		case r.State == store.Running:
			open++
		}
	}
	if p.Kind != promotion.KindPromote && p.Kind != promotion.KindConfiguration || open == 0 {
		return nil, nil
	}
	var gates []api.Gate
	err := a.call(ctx, "GET", "/api/v1/promotions/"+p.ID+"/gates", nil, &gates)
	var gone *unreachable
	if errors.As(err, &gone) {
		return nil, nil // the next look at the promotion says so
	}
	if err != nil {
		return nil, err
	}
	gates = slices.DeleteFunc(gates, func(g api.Gate) bool { return !g.Standing })
	if len(gates) < open || !noWait && !slices.ContainsFunc(gates, func(g api.Gate) bool { return g.People }) {
		return nil, nil
	}
	return gates, nil
}

// tellWaits says what a promotion waits for, and of whom, and ends with the exit code for that.
func (a *app) tellWaits(ctx context.Context, p api.Promotion, gates []api.Gate) error {
	var s approval.State
	if err := a.call(ctx, "GET", "/api/v1/promotions/"+p.ID+"/approvals", nil, &s); err != nil {
		return err
	}
	if a.format == "json" {
		if err := a.print(struct {
			api.Promotion
			Gates []api.Gate `json:"gates"`
		}{p, gates}, nil); err != nil {
			return err
		}
		return exit(exitWaiting)
	}
	showEmergency(a.out, p)
	if s.Why != "" {
		fmt.Fprintf(a.out, "%s waits: %s\n", p.Environment, strings.TrimPrefix(s.Why, "waits for "))
	}
	for _, text := range waits(p.Environment, len(p.Rollouts), gates) {
		fmt.Fprintln(a.out, text)
	}
	showPlans(a.out, s)
	if s.Why != "" {
		fmt.Fprintf(a.out, "agree: waybill approve %s; or end it: waybill reject %s --reason …; then: waybill promotion watch %s\n", p.ID, p.ID, p.ID)
	} else {
		fmt.Fprintf(a.out, "it goes on by itself once nothing is missing: waybill promotion watch %s; or end it: waybill reject %s --reason …\n", p.ID, p.ID)
	}
	fmt.Fprintf(a.out, "promotion %s\n", p.ID)
	return exit(exitWaiting)
}

// waits are what keeps tenants at their gates, a line each, the same for several told once. The environment's approvals are
// told by themselves.
func waits(environment string, tenants int, gates []api.Gate) []string {
	var texts []string
	who := map[string][]string{}
	say := func(tenant, text string) {
		if who[text] == nil {
			texts = append(texts, text)
		}
		who[text] = append(who[text], tenant)
	}
	for _, g := range gates {
		others := 0
		for _, k := range g.Answer.Keeps() {
			if k.Policy == "environment" && k.Rule == "approvals" {
				continue
			}
			say(g.Tenant, k.String())
			others++
		}
		if from := g.Answer.From; !from.IsZero() && others > 0 {
			say(g.Tenant, "if nothing else changes, until "+from.Local().Format(time.DateTime))
		}
	}
	for i, text := range texts {
		where := environment
		if len(who[text]) < tenants {
			where += "/" + strings.Join(who[text], ", ")
		}
		texts[i] = where + " waits: " + text
	}
	return texts
}

// showGates tells, with a promotion, what its gates said of each tenant.
func showGates(w io.Writer, environment string, gates []api.Gate) {
	for _, g := range gates {
		if g.Standing {
			fmt.Fprintf(w, "gates of %s/%s, asked at %s:\n", environment, g.Tenant, g.Answer.At.Local().Format(time.DateTime))
			for _, r := range g.Answer.Rules {
				if r.Verdict != gate.Allowed {
					fmt.Fprintf(w, "  %-7s %s\n", r.Verdict, r)
				}
			}
		}
	}
}
