package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// patience is how long a watcher puts up with a server that does not answer: a restart is not the end.
const patience = 2 * time.Minute

// watch follows a promotion to its end and returns the exit code that tells how it went. Steps
// are told as lines; on a terminal, the last line shows what is going on now. It leaves a promotion that waits at its gates
// for people, and with noWait one that waits there for anything.
func (a *app) watch(ctx context.Context, id string, noWait bool) error {
	told := teller{out: a.out, live: a.format == "text" && isTerminal(a.out), seen: map[string]bool{}}
	if a.format == "json" {
		told.out = io.Discard
	}
	var p api.Promotion
	var away time.Time
	for {
		var next api.Promotion
		err := a.call(ctx, "GET", fmt.Sprintf("/api/v1/promotions/%s?after=%d&wait=20", id, p.Revision), nil, &next)
		var gone *unreachable
		switch {
		case errors.As(err, &gone) && ctx.Err() == nil:
			if away.IsZero() {
				away = time.Now()
				fmt.Fprintln(a.err, "waybill: the server does not answer; the promotion goes on when it is back")
			}
			if time.Since(away) > patience {
				return err
			}
			if err := pause(ctx, 300*time.Millisecond); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		away = time.Time{}
		p = next
		told.tell(p)
		if p.Outcome != "" {
			break
		}
		if gates, err := a.standing(ctx, p, noWait); err != nil {
			return err
		} else if gates != nil {
			told.end()
			return a.tellWaits(ctx, p, gates)
		}
	}
	told.end()
	if a.format == "json" {
		if err := a.print(p, nil); err != nil {
			return err
		}
	} else {
		summary(a.out, p)
	}
	return outcomeCode(p)
}

func outcomeCode(p api.Promotion) error {
	switch p.Outcome {
	case store.Promoted:
		return nil
	case store.WaitingForPerson:
		return exit(exitWaiting)
	}
	return exit(exitFailed)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

var (
	good  = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	bad   = lipgloss.NewStyle().Foreground(lipgloss.Color("1"))
	faint = lipgloss.NewStyle().Faint(true)

	heading = lipgloss.NewStyle().Bold(true)
)

// teller prints each step once, when it ends.
type teller struct {
	out  io.Writer
	live bool
	seen map[string]bool
	open bool // the last line is one that will be overwritten

	retried string // what was told of the last try that failed
}

func (t *teller) tell(p api.Promotion) {
	now := ""
	for _, r := range p.Rollouts {
		for i, s := range r.Steps {
			key := fmt.Sprintf("%s/%d", r.Tenant, i)
			if s.Finished != nil && !t.seen[key] {
				t.seen[key] = true
				if again := r.Tenant + stepName(s) + s.Detail; s.Outcome != "retried" || t.retried != again {
					t.line(stepLine(r.Tenant, s)) // a try that failed like the one before is told once
					t.retried = again
				}
			}
			if s.Finished == nil {
				now = fmt.Sprintf("  … %s %s %s", r.Tenant, stepName(s), faint.Render(s.Detail))
			}
		}
		if r.WaitsFor != "" && r.State != "done" {
			now = fmt.Sprintf("  … %s waits: %s", r.Tenant, r.WaitsFor)
		}
	}
	if t.live && now != "" {
		t.clear()
		fmt.Fprint(t.out, cutTo(now, 120))
		t.open = true
	}
}

func (t *teller) line(s string) {
	t.clear()
	fmt.Fprintln(t.out, s)
}

func (t *teller) clear() {
	if t.open {
		fmt.Fprint(t.out, "\r\x1b[K")
		t.open = false
	}
}

func (t *teller) end() { t.clear() }

func cutTo(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func stepName(s api.Step) string {
	if s.Undo {
		return "undo " + s.Name
	}
	return s.Name
}

func stepLine(tenant string, s api.Step) string {
	mark := map[string]string{"done": good.Render("✓"), "failed": bad.Render("✗"), "skipped": faint.Render("–"), "waits": "?"}[s.Outcome]
	if mark == "" {
		mark = "↻"
	}
	seconds := ""
	if s.Finished != nil && s.Outcome != "skipped" {
		seconds = fmt.Sprintf("%.1f s", s.Finished.Sub(s.Started).Seconds())
	}
	return strings.TrimRight(fmt.Sprintf("  %s %-12s %-24s %8s  %s", mark, tenant, stepName(s), seconds, s.Detail), " ")
}

func summary(out io.Writer, p api.Promotion) {
	for _, r := range p.Rollouts {
		word := map[string]string{store.Promoted: good.Render(doneWord(p.Kind)), store.RolledBack: bad.Render(backWord(p.Kind)), store.WaitingForPerson: "waits for a person"}[r.Outcome]
		fmt.Fprintf(out, "%s %s: %s", p.Environment, r.Tenant, word)
		if r.HeldSeconds > 0 {
			fmt.Fprintf(out, ", requests held for %.1f s", r.HeldSeconds)
			if r.Predicted > 0 {
				fmt.Fprintf(out, " (predicted: %.1f s)", r.Predicted)
			}
		}
		if r.Reason != "" {
			fmt.Fprintf(out, "\n  why: %s", r.Reason)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "promotion %s\n", p.ID)
}

func doneWord(kind string) string {
	return map[string]string{"promote": "promoted", "configuration": "configured", "rollback": "route is back", "restore": "restored", "create": "created", "suspend": "suspended", "resume": "open again", "delete": "is leaving", "undelete": "is back", "purge": "is gone", "checkpoint": "checkpoint taken", "rotate": "has another login", "restore_beside": "stands beside", "drop_beside": "taken away"}[kind]
}

func backWord(kind string) string {
	if kind == promotion.KindPromote || kind == promotion.KindConfiguration {
		return "rolled back"
	}
	return "failed, and undone"
}
