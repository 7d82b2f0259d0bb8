package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/estate"
)

// asking is what waybill calendar was asked about.
type asking struct {
	app         *app
	estate      string
	environment string
	tenant      string
	at          string
}

func (a *app) calendar() *cobra.Command {
	cmd := &cobra.Command{Use: "calendar", Short: "When promotions may run, and when not",
		Long: `When promotions may run, and when not: what the estate's calendars say. These verbs read the
estate alone and need no server; they take the folder named by --estate, else that of the
server that runs on the data folder.`}
	ask := &asking{app: a}
	var week bool
	var days int
	show := &cobra.Command{Use: "show", Short: "List windows and freezes to come, or draw the week", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if week {
				return ask.week(cmd.Context())
			}
			return ask.list(cmd.Context(), days)
		}}
	show.Flags().BoolVar(&week, "week", false, "draw this week, hour by hour")
	show.Flags().IntVar(&days, "days", 14, "how far to look, at most 400")
	var length time.Duration
	next := &cobra.Command{Use: "next", Short: "Say whether a promotion may run now, and if not, when", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return ask.next(cmd.Context(), length) }}
	next.Flags().DurationVar(&length, "for", 0, "how long it takes: the window must last as long, like 20m")
	check := &cobra.Command{Use: "check", Short: "Look for calendars that never open, lie in the past or concern nobody",
		Long: `Look for calendars that never open, lie in the past or concern nobody. Exit code 0: none.
1: there are. 2: the estate cannot be read.`, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return ask.check(cmd.Context()) }}
	for _, sub := range []*cobra.Command{show, next, check} {
		sub.Flags().StringVar(&ask.estate, "estate", "", "folder with the declared state; default: the server's, where one runs")
		sub.Flags().StringVar(&ask.at, "at", "", "ask as of this moment, like 2026-12-24T18:00+01:00; default: now")
	}
	for _, sub := range []*cobra.Command{show, next} {
		sub.Flags().StringVar(&ask.environment, "env", "", "only this environment")
		sub.Flags().StringVar(&ask.tenant, "tenant", "", "only this tenant")
	}
	cmd.AddCommand(show, next, check)
	return cmd
}

// load reads the estate and finds whom the question is about.
func (q *asking) load(ctx context.Context) (set *calendar.Set, subjects []calendar.Subject, now time.Time, err error) {
	if now, err = q.moment(); err != nil {
		return nil, nil, now, err
	}
	declared, err := q.app.estateOf(ctx, q.estate)
	if err != nil {
		return nil, nil, now, err
	}
	if set, err = declared.Calendar(); err != nil {
		return nil, nil, now, usage{err}
	}
	for _, x := range declared.Subjects() {
		if (q.environment == "" || x.Environment == q.environment) && (q.tenant == "" || x.Tenant == q.tenant) {
			subjects = append(subjects, x)
		}
	}
	if len(subjects) == 0 {
		return nil, nil, now, q.unknown(declared)
	}
	return set, subjects, now, nil
}

// unknown says which of the two names does not exist.
func (q *asking) unknown(declared *estate.Estate) error {
	var environments []string
	for _, e := range declared.Environments {
		environments = append(environments, e.Name)
	}
	if q.environment != "" && !slices.Contains(environments, q.environment) {
		return usagef("the estate has no environment %q; it has %s", q.environment, strings.Join(environments, ", "))
	}
	return usagef("the estate has no tenant %q there", q.tenant)
}

func (q *asking) moment() (time.Time, error) {
	if q.at == "" {
		return time.Now().Truncate(time.Second), nil
	}
	t, err := time.Parse("2006-01-02T15:04Z07:00", q.at)
	if err != nil {
		t, err = time.Parse(time.RFC3339, q.at)
	}
	if err != nil {
		return t, usagef("--at %s: expected a moment with its offset, like 2026-12-24T18:00+01:00 or 2026-12-24T17:00Z", q.at)
	}
	return t, nil
}

const noCalendar = "The estate has no calendar: promotions may run at any time. Declare one with kind: Calendar.\n"

func (q *asking) list(ctx context.Context, days int) error {
	if days < 1 || days > int(calendar.Horizon.Hours()/24) {
		return usagef("--days %d: expected 1 to %d", days, int(calendar.Horizon.Hours()/24))
	}
	set, subjects, now, err := q.load(ctx)
	if err != nil {
		return err
	}
	all, err := set.Agenda(now, now.AddDate(0, 0, days), nil)
	if err != nil {
		return usage{err}
	}
	found := make([]calendar.Occurrence, 0, len(all))
	for _, o := range all {
		if slices.ContainsFunc(subjects, o.Scope.Concerns) {
			found = append(found, o)
		}
	}
	return q.app.print(found, func(w io.Writer) {
		switch {
		case set.Empty():
			fmt.Fprint(w, noCalendar)
			return
		case len(found) == 0:
			fmt.Fprintf(w, "No window and no freeze within the next %d days.\n", days)
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "BEGINS\tENDS\tKIND\tNAME\tCALENDAR\tCONCERNS\tWHY")
		for _, o := range found {
			ends, name, why := "until further notice", o.Name, o.Reason
			if !o.End.IsZero() {
				ends = calendar.Told(o.End, o.End.Location())
			}
			if o.Event != "" && o.Event != name {
				name += ": " + o.Event
			}
			if o.Process != "" {
				why = strings.TrimSuffix(o.Process+"; "+why, "; ")
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", calendar.Told(o.Start, o.Start.Location()), ends, o.Kind, name, o.Calendar, o.Scope, cutTo(oneLine(why), 80))
		}
		_ = t.Flush()
	})
}

// oneLine joins the lines of a text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// subjectAnswer is what next says of one subject.
type subjectAnswer struct {
	calendar.Subject
	calendar.Answer
}

func (q *asking) next(ctx context.Context, length time.Duration) error {
	if length < 0 {
		return usagef("--for %s: expected a duration, like 20m", length)
	}
	set, subjects, now, err := q.load(ctx)
	if err != nil {
		return err
	}
	var found []subjectAnswer
	for _, x := range subjects {
		found = append(found, subjectAnswer{x, set.Open(x, now, length)})
	}
	return q.app.print(found, func(w io.Writer) {
		if set.Empty() {
			fmt.Fprint(w, noCalendar)
			return
		}
		for _, f := range found {
			if f.Open {
				fmt.Fprintf(w, "%s %s: open, %s\n", good.Render("✓"), f.Subject, f.Why)
				continue
			}
			fmt.Fprintf(w, "%s %s: closed, %s\n  %s\n", bad.Render("✗"), f.Subject, f.Why, f.NextWhy)
		}
	})
}

func (q *asking) check(ctx context.Context) error {
	set, subjects, now, err := q.load(ctx)
	if err != nil {
		return err
	}
	found := set.Lint(now, subjects)
	if found == nil {
		found = []calendar.Finding{}
	}
	if err := q.app.print(found, func(w io.Writer) {
		if len(found) == 0 {
			fmt.Fprintf(w, "%s nothing found\n", good.Render("✓"))
		}
		for _, f := range found {
			about := f.Subject
			if about == "" {
				about = f.Calendar + ", " + f.Entry
			}
			fmt.Fprintf(w, "%s %s: %s\n", bad.Render("!"), about, f.Message)
		}
	}); err != nil {
		return err
	}
	if len(found) > 0 {
		return exit(exitFailed)
	}
	return nil
}
