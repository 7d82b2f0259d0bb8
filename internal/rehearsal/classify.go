package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
)

// How people are kept waiting.
const (
	PauseNone   = "none"
	PauseHold   = "hold"   // requests wait, none fails
	PauseFreeze = "freeze" // a page
)

// fenceSeconds is what letting requests end, fencing and opening again take beside the work.
const fenceSeconds = 1

// worthSaying is how long a statement must take to be named in advice.
const worthSaying = time.Second

// classify draws the conclusions from the evidence in the report: cause, pause, prediction, advice. It is pure.
// capture is how long a checkpoint of the tenant takes: where only a restore is the way back, one is taken while people wait.
func classify(r *Report, budget time.Duration, capture float64) {
	r.Advice = advice(r)
	if r.Outcome != Proven {
		return
	}
	r.Cause = cause(r)
	if r.Class == estate.Swap {
		r.Pause = PauseNone
		return
	}
	r.ComputedSeconds = fenceSeconds + max(0, r.Update.JobSeconds-r.Update.CPUWaitSeconds)
	if r.Class.Breaks() || !r.Transactional { // people also wait for the checkpoint, and for the proof of the new pool
		r.ComputedSeconds += capture + r.newPool()
	}
	r.PredictedSeconds = r.ComputedSeconds
	if r.Calibration.Ratio > 0 {
		r.PredictedSeconds *= r.Calibration.Ratio
	}
	r.Pause = PauseFreeze
	if r.Transactional && r.PredictedSeconds <= budget.Seconds() {
		r.Pause = PauseHold
	}
}

// newPool estimates how long the new pool takes to open the registry and to run its flows, on a CPU of its own.
func (r *Report) newPool() float64 {
	sum := 0.0
	if w := r.WayBack; w != nil {
		sum = w.RegistrySeconds * working(w.CPUWaitSeconds, w.Seconds)
	}
	for _, f := range r.Update.Flows {
		sum += f.Seconds * working(r.Update.CPUWaitSeconds, r.Update.JobSeconds)
	}
	return sum
}

// working is the share of a time that was not waited for a CPU.
func working(waited, whole float64) float64 {
	if whole <= 0 {
		return 1
	}
	return 1 - min(1, waited/whole)
}

func cause(r *Report) string {
	switch {
	case len(r.Plan.Update)+len(r.Plan.Install) == 0:
		return "no module has changed"
	case r.Class == estate.Swap:
		return "updating " + strings.Join(r.Plan.Update, ", ") + " changes nothing in the database"
	case r.Class == estate.Compatible:
		return fmt.Sprintf("%s works on the result: %d models and %d views in order, %s; %s", r.OldReleaseName, r.WayBack.Models, r.WayBack.Views, flowsLine(r.WayBack.Flows), r.Effect.summary())
	}
	w := r.WayBack
	switch {
	case w.Error != "":
		return fmt.Sprintf("%s does not load on the result: %s", r.OldReleaseName, w.Error)
	case len(w.Problems) > 0:
		p := w.Problems[0]
		text := fmt.Sprintf("%s fails on the result: %s", r.OldReleaseName, describe(p))
		if more := len(w.Problems) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		return text
	}
	for _, f := range w.Flows {
		if f.Outcome != bridge.FlowFailed {
			continue
		}
		if i := slices.IndexFunc(w.FlowsBefore, func(b bridge.Flow) bool { return b.Name == f.Name && b.Outcome == bridge.FlowFailed }); i >= 0 {
			return fmt.Sprintf("flow %s fails with %s before the update already, so nothing is proven by it: %s", f.Name, r.OldReleaseName, w.FlowsBefore[i].Error)
		}
		return fmt.Sprintf("flow %s fails with %s on the result: %s", f.Name, r.OldReleaseName, f.Error)
	}
	return r.OldReleaseName + " does not work on the result"
}

func describe(p bridge.Problem) string {
	if p.Kind == "view" {
		return fmt.Sprintf("view %s of %s: %s", p.Name, p.Model, p.Error)
	}
	return p.Error
}

func flowsLine(flows []bridge.Flow) string {
	var passed []string
	for _, f := range flows {
		if f.Outcome == bridge.FlowPassed {
			passed = append(passed, f.Name)
		}
	}
	if len(passed) == 0 {
		return "no flow applies"
	}
	return "flows passed: " + strings.Join(passed, ", ")
}

// summary says in a few words what changes.
func (e *Effect) summary() string {
	var parts []string
	count := func(n int, what string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+what)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, what))
		}
	}
	kinds := map[string]int{}
	for _, c := range e.Schema {
		kinds[c.Kind]++
	}
	for _, kind := range []string{"table", "column", "constraint", "index"} {
		n := kinds[kind]
		if kind == "index" && n > 1 {
			parts = append(parts, fmt.Sprintf("%d indexes", n))
			continue
		}
		count(n, kind)
	}
	data := 0
	for _, t := range e.Tables {
		if t.Changed {
			data++
		}
	}
	count(len(e.Views), "view")
	count(len(e.Modules), "module")
	if len(parts) == 0 || data > 0 && kinds["column"]+kinds["table"] == 0 {
		count(data, "table's content")
	}
	if len(parts) == 0 {
		return "nothing changes"
	}
	return "changed: " + strings.Join(parts, ", ")
}

// advice names what makes it worse than it need be.
func advice(r *Report) []Advice {
	found := []Advice{}
	add := func(subject, problem, mend string) {
		if !slices.ContainsFunc(found, func(a Advice) bool { return a.Subject == subject && a.Mend == mend }) && len(found) < 20 {
			found = append(found, Advice{subject, problem, mend})
		}
	}
	if r.OwnCommit != "" {
		add(scriptOf(r.OwnCommit), "it commits by itself, so that the update cannot be one transaction and needs a frozen window",
			"take the commit out; where batches are needed, move them into a job that runs after the release")
	}
	if r.Effect != nil {
		schemaAdvice(r, add)
		for _, o := range r.Effect.Orphans {
			add(o.Field, fmt.Sprintf("%d rows have the value %q, which the new release no longer knows", o.Rows, o.Value),
				"convert the rows in a pre- script of the same release")
		}
	}
	if r.Timeline != nil {
		statementAdvice(r, add)
	}
	if r.Timeline != nil && r.Effect != nil {
		fillAdvice(r, add)
	}
	if r.WayBack != nil && r.WayBack.Works {
		return found
	}
	if r.WayBack != nil {
		for _, p := range r.WayBack.Problems {
			switch {
			case p.Kind == "model" && strings.Contains(p.Error, "no longer listed"): // Odoo leaves the table
				add(p.Model, "the model is gone while the old release still uses it", "split over two releases: first stop using the model, remove it in the next release")
			case p.Kind == "view":
				add(p.Name, "the old release cannot show it: "+p.Error, "keep what the old release's view needs for one release more")
			}
		}
	}
	return found
}

func schemaAdvice(r *Report, add func(subject, problem, mend string)) {
	breaking := r.Class.Breaks()
	for _, c := range r.Effect.Schema {
		switch {
		case c.Kind == "column" && c.After == "" && breaking:
			if to := renamedTo(c, r.Effect.Schema); to != "" {
				add(c.Name, "it is gone and "+to+" of the same type came: a rename, which the old release cannot follow",
					"split over two releases: first add the new field and fill both, then remove the old one; a pre- script that renames saves the data, not the old release")
				continue
			}
			add(c.Name, "the column is gone while the old release still reads it", "split over two releases: first stop using the field, remove it in the next release")
		case c.Kind == "table" && c.After == "" && breaking:
			add(c.Name, "the table is gone while the old release still reads it", "split over two releases: first stop using the model, remove it in the next release")
		case c.Kind == "column" && c.Before == "" && strings.Contains(c.After, " not null") && !strings.Contains(c.After, " default "):
			add(c.Name, "it must be filled and has no default in the database: the old release cannot insert rows",
				"give the column a database default in a pre- script, or add it without required first and make it required in the next release")
		case c.Kind == "column" && c.Before != "" && c.After != "" && kindOf(c.Before) != kindOf(c.After):
			add(c.Name, fmt.Sprintf("its type changes from %s to %s: the table is written anew, and the old release gets values that it does not expect", kindOf(c.Before), kindOf(c.After)),
				"add a new field of the new type, fill it, and remove the old one in the next release")
		}
	}
}

// renamedTo finds a new column of the same table and type.
func renamedTo(gone Change, all []Change) string {
	table := gone.Name[:strings.LastIndexByte(gone.Name, '.')+1]
	for _, c := range all {
		if c.Kind == "column" && c.Before == "" && strings.HasPrefix(c.Name, table) && kindOf(c.After) == kindOf(gone.Before) {
			return c.Name
		}
	}
	return ""
}

// kindOf is the type in a column's definition.
func kindOf(definition string) string {
	kind, _, _ := strings.Cut(definition, " default ")
	return strings.TrimSuffix(kind, " not null")
}

func statementAdvice(r *Report, add func(subject, problem, mend string)) {
	for _, s := range r.Timeline.Statements {
		slow := s.Seconds >= worthSaying.Seconds()
		where := strings.Join(s.Objects, ", ")
		if where == "" {
			where = strings.TrimSpace(s.Module + " " + s.Script)
		}
		switch {
		case len(s.Rewrites) > 0 && slow:
			add(strings.Join(s.Rewrites, ", "), fmt.Sprintf("written anew in %.1f s while nobody can read or write it", s.Seconds),
				"add a new column, fill it in batches, and switch in the next release")
		case s.Tag == "CREATE INDEX" && slow:
			add(where, fmt.Sprintf("built in %.1f s while nobody can write to the table", s.Seconds), "build it with CREATE INDEX CONCURRENTLY, under the same name, before the release")
		case !s.DDL && s.Tag == "UPDATE" && slow:
			add(where, fmt.Sprintf("an UPDATE takes %.1f s: %s", s.Seconds, s.SQL), "fill the column in batches before the release, from a pre- script of an earlier one, or compute it in SQL in a pre- script")
		}
	}
}

// manyRows is how many rows of one table must be written under its lock to be named.
const manyRows = 5000

// fillAdvice names tables that are filled, by many quick statements, while nobody can use them: a stored computed field,
// a default.
func fillAdvice(r *Report, add func(subject, problem, mend string)) {
	for _, t := range r.Effect.Tables {
		if t.Inserted+t.Updated < manyRows || t.RowsBefore == 0 {
			continue
		}
		for _, l := range r.Timeline.Locks {
			if strings.TrimPrefix(l.Table, "public.") == t.Table && l.Mode == "AccessExclusive" && l.To-l.From >= worthSaying.Seconds() {
				add(t.Table, fmt.Sprintf("%d rows are written while nobody can read the table, for %.1f s", t.Inserted+t.Updated, l.To-l.From),
					"add and fill the column in SQL, in a pre- script, or in batches in an earlier release; a new stored computed field is filled row by row otherwise")
				break
			}
		}
	}
}

// scriptOf takes the script out of the bridge's sentence, "commit in MODULE/migrations/…:LINE: the update cannot …".
func scriptOf(sentence string) string {
	if _, rest, ok := strings.Cut(sentence, " in "); ok {
		script, _, _ := strings.Cut(rest, ": ")
		return script
	}
	return "the update"
}
