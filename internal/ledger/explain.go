package ledger

import "fmt"

// maxGuess bounds the numbers that are tried for an entry that does not fit its own.
const maxGuess = 2_000_000

// clues are what a second reading finds about an entry that does not fit.
type clues struct {
	successor *Entry // what genuinely comes after the last good entry, where that stands elsewhere
	twin      bool   // it is the copy of one that stands before it
	highest   int64  // number that an entry or a head bears
}

// explain says what happened to the entry that does not fit. The chain broke at it; who has altered
// what is told from the numbers that its hash still fits, and from where its neighbours stand now.
func (c *checker) explain() (*Problem, error) {
	e, next := c.suspect, c.last.Sequence+1
	found, err := c.seek()
	if err != nil {
		return nil, err
	}
	problem := func(fault Fault, sequence int64, format string, args ...any) (*Problem, error) {
		return &Problem{Fault: fault, Sequence: sequence, Detail: fmt.Sprintf(format, args...)}, nil
	}
	was := fits(e, e.Sequence, found.highest)
	switch {
	case was == 0 && found.successor != nil:
		return problem(Inserted, next, "entry %d (%s) was inserted: it fits nowhere, and what belongs there stands behind it", e.Sequence, e.Kind)
	case was == 0:
		return problem(Altered, e.Sequence, "entry %d (%s, %s) was altered: what it says does not give its hash", e.Sequence, e.Kind, e.Time.Format("2006-01-02 15:04:05 MST"))
	case was > next && found.successor != nil:
		return problem(Reordered, next, "entries were moved: entry %d stands in the place of entry %d, which is still there", was, next)
	case was > next:
		return problem(Deleted, next, "%s: after entry %d comes entry %d", missing(next, was-1), c.last.Sequence, was)
	case found.twin:
		return problem(Inserted, next, "entry %d was inserted: it is a copy of entry %d", e.Sequence, was)
	case was < next && e.Sequence == was:
		return problem(Inserted, was, "there is a second entry %d (%s)", was, e.Kind)
	case was < next:
		return problem(Inserted, was, "entry %d was inserted: the entry that stands at %d was number %d when it was chained", was, e.Sequence, was)
	case e.Previous.Equal(c.last.Hash):
		return problem(Altered, next, "entry %d was altered: it bears the number %d", next, e.Sequence)
	case found.successor != nil:
		return problem(Inserted, next, "entry %d (%s) was inserted: another one is chained to entry %d", next, e.Kind, c.last.Sequence)
	case c.last.Sequence == 0:
		return problem(Altered, next, "the first entry is not chained to the ledger's name, %s: the name was altered, or the beginning of another ledger was put in", c.report.Ledger)
	}
	return problem(Altered, c.last.Sequence, "entry %d (%s) was altered and given a new hash: entry %d was chained to another one, %.16s…", c.last.Sequence, c.last.Kind, next, e.Previous)
}

func missing(from, to int64) string {
	if from == to {
		return fmt.Sprintf("entry %d is missing", from)
	}
	return fmt.Sprintf("entries %d to %d are missing", from, to)
}

// fits finds the number under which an entry was chained: its own, or another; 0: none, it was altered.
func fits(e *Entry, own, highest int64) int64 {
	as := func(n int64) bool { return Link(e.Previous, e.contentAs(n)).Equal(e.Hash) }
	if as(own) {
		return own
	}
	for n := int64(1); n <= min(highest+10_000, maxGuess); n++ {
		if as(n) {
			return n
		}
	}
	return 0
}

// seek reads the ledger again for what is genuinely chained to the last good entry.
func (c *checker) seek() (clues, error) {
	var found clues
	next := c.last.Sequence + 1
	if c.last.Sequence == 0 {
		next = 1
	}
	passed := false // the entry that does not fit
	for line, err := range c.Lines() {
		if err != nil {
			return found, err
		}
		switch {
		case line.Head != nil:
			found.highest = max(found.highest, line.Head.Sequence)
		case line.Entry != nil:
			e := line.Entry
			found.highest = max(found.highest, e.Sequence)
			found.twin = found.twin || !passed && e.Hash.Equal(c.suspect.Hash) && e.Sequence != c.suspect.Sequence
			if !passed && e.Sequence == c.suspect.Sequence && e.Hash.Equal(c.suspect.Hash) && e.Payload == c.suspect.Payload {
				passed = true
				continue
			}
			if passed && found.successor == nil && e.Previous.Equal(c.last.Hash) && Link(e.Previous, e.contentAs(next)).Equal(e.Hash) {
				found.successor = e
			}
		}
	}
	return found, nil
}
