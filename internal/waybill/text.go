package waybill

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes a waybill for a terminal.
func WriteText(w io.Writer, d Document) {
	p := d.Promotion
	fmt.Fprintf(w, "%s: %s\n", headline(&d), word(p.Outcome))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("promotion", "%s, asked by %s, %s", p.ID, p.RequestedBy, at(p.Created))
	if p.Finished != nil {
		line("ended", "%s", at(p.Finished))
	} else {
		line("ended", "not yet: this waybill is not final")
	}
	line("release", "%s@%s", d.Release.Repository, d.Release.Digest)
	line("source", "%s, commit %s", d.Release.Source, d.Release.Commit)
	if p.EstateCommit != "" {
		line("declared state", "commit %s", p.EstateCommit)
	}
	for _, s := range d.Origin.Statements {
		state := "holds, signed by " + s.Key
		if !s.Holds {
			state = "refused: " + s.Refused
		}
		line(s.Type, "%s", state)
	}
	if d.Origin.Unknown != "" {
		line("signed", "not known: %s", d.Origin.Unknown)
	}
	for _, c := range d.Changes {
		if c.Modules == nil {
			line("changed", "against %s: not known: %s", c.From.Name, c.Unknown)
			continue
		}
		var names []string
		for _, m := range c.Modules.Changed {
			names = append(names, m.Name+" "+m.From+" → "+m.To)
		}
		for _, m := range c.Modules.Added {
			names = append(names, m.Name+" is new")
		}
		for _, m := range c.Modules.Removed {
			names = append(names, m.Name+" is gone")
		}
		if len(names) == 0 {
			names = []string{"no module"}
		}
		line("changed", "against %s: %s", c.From.Name, strings.Join(names, ", "))
	}
	if x := d.Emergency; x != nil {
		line("emergency", "%s: %s", x.AskedBy, x.Reason)
		line("", "%s", confirmation(x))
		if len(x.Skipped) > 0 {
			line("", "not asked: %s", strings.Join(x.Skipped, ", "))
		}
		if x.Confirmed != nil {
			line("", "%s", review(x))
		}
	}
	for _, a := range d.Approvals {
		line(a.Kind, "%s, %s %s", a.Actor, at(a.Time), a.Detail)
	}
	for _, r := range d.Rollouts {
		line("tenant "+r.Tenant, "%s%s", word(r.Outcome), because(r.Reason))
		if r.Class != "" {
			line("", "class %s: %s", r.Class, r.ClassReason)
		}
		if r.HeldSeconds > 0 {
			predicted := ""
			if r.PredictedSeconds > 0 {
				predicted = fmt.Sprintf(", predicted were %.1f s", r.PredictedSeconds)
			}
			line("", "people waited %.1f s%s", r.HeldSeconds, predicted)
		}
		if r.Rehearsal != nil {
			line("", "rehearsal %s: %s; recovery %.1f s, measured", r.Rehearsal.ID, r.Rehearsal.Cause, r.Rehearsal.RecoverySeconds)
		}
		for _, c := range r.Checkpoints {
			if c.Missing != "" {
				line("", "checkpoint %s: %s", c.ID, c.Missing)
			} else {
				line("", "checkpoint %s, read back %s", c.ID, at(c.Verified))
			}
		}
		for _, s := range r.Traffic {
			line("", "%s", strings.Join(strings.Fields(s.Step+" "+s.Weight+" "+s.Outcome), " ")+": "+s.Evidence)
			for _, signal := range s.Signals {
				if signal.Chart != nil {
					for _, row := range sparks(signal.Name, *signal.Chart) {
						line("", "  %s", row)
					}
				}
			}
		}
	}
	line("reverse", "%s", d.Reverse.Says)
	if d.Reverse.Command != "" {
		line("", "%s", d.Reverse.Command)
	}
	l := d.Ledger
	line("ledger", "%d entries, %d to %d, under the head at %d signed %s", len(l.Entries), l.Entries[0].Sequence, l.Entries[len(l.Entries)-1].Sequence, l.Head.Sequence, at(l.Head.Time))
	_ = t.Flush()
}

func confirmation(x *Emergency) string {
	if x.Confirmed == nil {
		return fmt.Sprintf("%s has not confirmed it; the time for that ends, or ended, %s", x.Second, at(x.ConfirmBy))
	}
	return fmt.Sprintf("confirmed by %s, %s", x.Second, at(x.Confirmed))
}

func review(x *Emergency) string {
	if x.Review == nil {
		return "its review is open"
	}
	return fmt.Sprintf("reviewed by %s, %s: %s", x.Review.By, at(x.Review.Closed), x.Review.Note)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
