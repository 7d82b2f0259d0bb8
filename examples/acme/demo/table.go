package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/client"
)

// row is one promotion, and what the people in production met while it went on.
type row struct {
	release, environment string
	begun, ended         time.Time
	promotion            promotion
	requests             *client.Count // nil where nobody worked
	audit                *client.Audit
	recovery             float64 // seconds that a restore takes, by the rehearsal; 0: not rehearsed
}

// predicted is how long people were to wait. Who is taken back by a restore waits for that too.
func (r row) predicted() string {
	rollout := r.promotion.one()
	if rollout.Predicted == 0 {
		return "–"
	}
	text := fmt.Sprintf("%.1f s", rollout.Predicted)
	if back, ok := rollout.step("update", true); ok && back.Outcome == "done" && r.recovery > 0 && strings.Contains(back.Detail, "restored") {
		text += fmt.Sprintf(" + %.1f s back", r.recovery)
	}
	return text
}

// table prints what happened, and where to look next.
func (s *story) table(out io.Writer) {
	if len(s.rows) == 0 {
		return
	}
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	foretold := "" // only where rehearsals foretell anything
	if s.full {
		foretold = "PREDICTED\t"
	}
	fmt.Fprintln(t, "PROMOTION\tOUTCOME\tTIME\t"+foretold+"HELD\tREQUESTS\tFAILED\tORDERS LOST\tWHY")
	for _, r := range s.rows {
		rollout := r.promotion.one()
		requests, failed, lost := "–", "–", "–"
		if r.requests != nil {
			requests, failed = fmt.Sprint(r.requests.Requests), fmt.Sprint(r.requests.Failed)
		}
		if r.audit != nil {
			lost = fmt.Sprintf("%d of %d", r.audit.Missing(), r.audit.Checked)
		}
		why := rollout.Reason
		if why == "" {
			why = r.promotion.Class
		}
		if s.full {
			foretold = r.predicted() + "\t"
		}
		fmt.Fprintf(t, "%s → %s\t%s\t%.0f s\t%s%.1f s\t%s\t%s\t%s\t%s\n", r.release, r.environment, strings.ReplaceAll(rollout.Outcome, "_", " "),
			r.ended.Sub(r.begun).Seconds(), foretold, rollout.HeldSeconds, requests, failed, lost, shorten(why, 100))
	}
	_ = t.Flush()
	fmt.Fprintf(out, "\nThe story took %s. Look next at:\n", time.Since(s.begun).Round(time.Second))
	looks := [][2]string{
		{s.work + "/source", "the addons; git log, git show r3"},
		{s.work + "/estate", "what the operators declare"},
		{s.work + "/orders.jsonl", "every order that was acknowledged"},
		{s.work + "/pictures", "what the browser showed"},
		{s.work + "/waybill.log", "the server's log"},
	}
	if s.cluster == nil { // nothing is left there
		looks = append(looks, [2]string{s.cli.Binary + " up --data " + s.data + " --estate " + s.work + "/estate", "start it again"},
			[2]string{s.cli.Binary + " promotion list --data " + s.data, "then: every promotion; promotion show ID tells each step"})
	}
	for _, look := range looks {
		fmt.Fprintf(out, "  %s\n      %s\n", look[0], look[1])
	}
}

func shorten(text string, limit int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}
