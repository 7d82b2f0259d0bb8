package ledger

import (
	"fmt"
	"iter"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
)

// Fault is a kind of tampering.
type Fault string

// The faults that Verify tells apart. What was chained anew by somebody who knew how is found by the
// heads only, and is Altered.
const (
	Altered    Fault = "altered"
	Deleted    Fault = "deleted"
	Reordered  Fault = "reordered"
	Inserted   Fault = "inserted"
	ForgedHead Fault = "forged head"
	Unsigned   Fault = "unsigned"
)

// Problem is the first thing that is wrong, by sequence.
type Problem struct {
	Fault    Fault  `json:"fault" enum:"altered,deleted,reordered,inserted,forged head,unsigned"`
	Sequence int64  `json:"sequence"` // of the first entry that is concerned
	Detail   string `json:"detail"`
}

func (p *Problem) Error() string { return p.Detail }

// Report is the result of a verification.
type Report struct {
	Ledger  string `json:"ledger"`
	Entries int64  `json:"entries"` // read up to the first problem
	Hash    Hash   `json:"hash"`    // of the last good one
	Heads   int    `json:"heads"`   // that fit, those given as anchors included
	Covered int64  `json:"covered"` // sequence of the newest head that fits
	OK      bool   `json:"ok"`

	Problem *Problem `json:"problem,omitempty"`
}

// unsignedLimit is how long entries may go without a head over them. A server signs within seconds.
const unsignedLimit = 10 * time.Minute

// Verification is what is needed to verify a ledger.
type Verification struct {
	Lines   func() iter.Seq2[Line, error] // read once, and a second time where something is wrong
	Keys    []attest.Key                  // that may have signed heads
	Anchors []Head                        // heads that were kept elsewhere, by sequence
	Now     time.Time                     // zero: nothing is too old to be unsigned
}

// Verify reads a ledger from its beginning to its end, or to the first thing that is wrong, in memory
// that does not grow with it. The error is about reading only.
func (v Verification) Verify() (Report, error) {
	c := checker{Verification: v, anchors: v.Anchors}
	broken := false
	for line, err := range v.Lines() {
		if err != nil {
			return c.report, err
		}
		if broken = !c.line(line); broken {
			break
		}
	}
	var err error
	switch {
	case !broken:
		c.end()
	case c.suspect != nil:
		c.report.Problem, err = c.explain()
	}
	if p := c.unlike; p != nil && (c.report.Problem == nil || c.report.Problem.Sequence > c.unlikeAt) {
		c.report.Problem, c.report.Entries = p, c.signed
	}
	c.report.OK = c.report.Problem == nil && err == nil
	return c.report, err
}

type checker struct {
	Verification
	report    Report
	anchors   []Head   // not yet reached
	last      Entry    // the last good one; its hash is the genesis before the first
	beginning bool     // the first line was read
	suspect   *Entry   // does not fit
	signed    int64    // sequence of the newest head that fits
	unlike    *Problem // a head does not fit; reading goes on, since what comes may tell why
	unlikeAt  int64    // sequence of that head
	first     time.Time
}

// line takes a line; false: something is wrong.
func (c *checker) line(l Line) bool {
	switch {
	case l.Ledger != "" && !c.beginning:
		c.beginning = true
		c.report.Ledger = l.Ledger
		c.last.Hash = Genesis(l.Ledger)
		c.report.Hash = c.last.Hash
		return c.reach(0)
	case !c.beginning:
		return c.wrong(Altered, 0, "the ledger does not begin with its name")
	case l.Ledger != "":
		return c.wrong(Inserted, c.last.Sequence+1, "after entry %d another ledger begins, %s", c.last.Sequence, l.Ledger)
	case l.Entry != nil:
		return c.entry(l.Entry)
	}
	return c.head(*l.Head, "the head")
}

func (c *checker) wrong(fault Fault, sequence int64, format string, args ...any) bool {
	c.report.Problem = &Problem{Fault: fault, Sequence: sequence, Detail: fmt.Sprintf(format, args...)}
	return false
}

func (c *checker) entry(e *Entry) bool {
	if e.Sequence != c.last.Sequence+1 || !e.Previous.Equal(c.last.Hash) || !e.Hash.Equal(Link(c.last.Hash, e.Content())) {
		c.suspect = e
		return false
	}
	c.last = *e
	c.report.Entries, c.report.Hash = e.Sequence, e.Hash
	if c.first.IsZero() {
		c.first = e.Time
	}
	return c.reach(e.Sequence)
}

// reach compares the anchors that were signed at an entry.
func (c *checker) reach(sequence int64) bool {
	for len(c.anchors) > 0 && c.anchors[0].Sequence <= sequence {
		h := c.anchors[0]
		c.anchors = c.anchors[1:]
		if !c.head(h, "the head that was kept elsewhere") {
			return false
		}
	}
	return true
}

func (c *checker) head(h Head, what string) bool {
	if !c.signedRightly(h, what) {
		return false
	}
	switch {
	case h.Ledger != c.report.Ledger:
		return c.wrong(Altered, 1, "%s signed at entry %d on %s is of ledger %s, and this one calls itself %s: another ledger was put in its place",
			what, h.Sequence, h.Time.Format(time.RFC3339), h.Ledger, c.report.Ledger)
	case h.Sequence > c.last.Sequence:
		return c.wrong(Deleted, c.last.Sequence+1, "entries %d to %d are missing: %s signed on %s covers %d, and the ledger ends at %d",
			c.last.Sequence+1, h.Sequence, what, h.Time.Format(time.RFC3339), h.Sequence, c.last.Sequence)
	case h.Sequence < c.last.Sequence:
		return c.wrong(Reordered, h.Sequence, "%s signed at entry %d stands behind entry %d", what, h.Sequence, c.last.Sequence)
	case c.unlike != nil:
		return true
	case !h.Hash.Equal(c.last.Hash):
		c.wrong(Altered, c.signed+1, "entries %d to %d are not what was signed: %s signed at entry %d on %s has hash %.16s…, the entry has %.16s…. They were altered, removed or inserted, and chained anew",
			c.signed+1, h.Sequence, what, h.Sequence, h.Time.Format(time.RFC3339), h.Hash, c.last.Hash)
		c.unlike, c.unlikeAt, c.report.Problem = c.report.Problem, h.Sequence, nil
		return true
	}
	c.report.Heads++
	c.signed, c.report.Covered, c.first = h.Sequence, h.Sequence, time.Time{}
	return true
}

func (c *checker) signedRightly(h Head, what string) bool {
	key, ok := h.SignedBy(c.Keys)
	switch {
	case !ok:
		for _, k := range c.Keys {
			if k.ID() == h.KeyID {
				return c.wrong(ForgedHead, h.Sequence, "%s at entry %d is not what its key %.23s… has signed", what, h.Sequence, h.KeyID)
			}
		}
		return c.wrong(ForgedHead, h.Sequence, "%s at entry %d is signed with key %.23s…, which is not trusted here", what, h.Sequence, h.KeyID)
	case !key.NotAfter.IsZero() && h.Time.After(key.NotAfter):
		return c.wrong(ForgedHead, h.Sequence, "%s at entry %d was signed on %s with key %.23s…, which was good until %s only",
			what, h.Sequence, h.Time.Format(time.RFC3339), h.KeyID, key.NotAfter.Format(time.RFC3339))
	}
	return true
}

// end looks at what is left when all lines were read.
func (c *checker) end() {
	if !c.beginning {
		c.wrong(Deleted, 0, "there is no ledger: not even its name")
		return
	}
	if !c.reach(1<<63 - 1) {
		return
	}
	if c.unlike == nil && !c.Now.IsZero() && !c.first.IsZero() && c.Now.Sub(c.first) > unsignedLimit {
		c.wrong(Unsigned, c.signed+1, "entries %d to %d are covered by no signed head, the first since %s: heads were removed, or no server has signed since",
			c.signed+1, c.last.Sequence, c.first.Format(time.RFC3339))
	}
}
