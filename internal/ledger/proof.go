package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/attest"
)

// maxProof bounds how many entries of others a proof passes over.
const maxProof = 20_000

// Proof shows, to whoever has the public key alone, that entries stand in the ledger: the chain from
// the first of them to a signed head. Of entries that are none of the reader's business it holds the sum
// of their content only.
type Proof struct {
	Ledger  string  `json:"ledger" doc:"Name of the ledger"`
	Start   Hash    `json:"start" doc:"Hash of the entry before the first one, or what the first one of all is chained to"`
	Entries []Entry `json:"entries" doc:"All that the ledger holds of the subject, in order"`
	Between []Hash  `json:"between" doc:"For each entry of others between the first one and the head, in order, the sum of its content"`
	Head    Head    `json:"head"`
	// Entries that are too far from a head to be shown.
	Earlier int64 `json:"earlier,omitempty" doc:"How many entries before these lie too far back to be shown; the ledger has them"`
}

// Prove signs a head over the ledger and shows that the promotion's entries stand in it.
func (l *Ledger) Prove(ctx context.Context, promotion string) (Proof, error) {
	p := Proof{Entries: []Entry{}, Between: []Hash{}}
	tip, err := l.Cover(ctx)
	if err != nil {
		return p, err
	}
	p.Ledger = tip.Ledger
	err = pgx.BeginTxFunc(ctx, l.pool, snapshot, func(tx pgx.Tx) error {
		var last int64
		if err := tx.QueryRow(ctx, "select coalesce(max(seq), 0) from ledger where promotion = $1 and seq <= $2", promotion, tip.Sequence).Scan(&last); err != nil {
			return err
		}
		if last == 0 {
			return fmt.Errorf("%w of promotion %s", ErrNotFound, promotion)
		}
		if p.Head, err = nearest(ctx, tx, last, tip); err != nil {
			return err
		}
		var first int64
		far := p.Head.Sequence - maxProof
		if err := tx.QueryRow(ctx, "select min(seq) filter (where seq > $2), count(*) filter (where seq <= $2) from ledger where promotion = $1", promotion, far).Scan(&first, &p.Earlier); err != nil {
			return err
		}
		for e, err := range entries(ctx, tx, first) {
			if err != nil {
				return err
			}
			if p.Start == nil {
				p.Start = e.Previous
			}
			if e.Promotion == promotion {
				p.Entries = append(p.Entries, e)
			} else {
				p.Between = append(p.Between, e.Content())
			}
			if e.Sequence == p.Head.Sequence {
				break
			}
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("prove what the ledger has of promotion %s: %w", promotion, err)
	}
	return p, nil
}

// nearest is the first head over an entry, one that is signed with the key that signs now before others:
// a key that has been replaced will not count for ever.
func nearest(ctx context.Context, tx pgx.Tx, last int64, tip Head) (Head, error) {
	rows, err := tx.Query(ctx, headsQuery+" where h.seq between $1 and least($2, $1 + $3::bigint - 1) order by h.key_id = $4 desc, h.seq, h.at limit 1",
		last, tip.Sequence, maxProof, tip.KeyID)
	if err != nil {
		return tip, err
	}
	head, err := pgx.CollectExactlyOneRow(rows, scanHead)
	if errors.Is(err, pgx.ErrNoRows) {
		return tip, fmt.Errorf("no head was signed within %d entries after entry %d", maxProof, last)
	}
	return head, err
}

// Verify checks the chain and the head's signature.
func (p Proof) Verify(keys []attest.Key) error {
	if len(p.Entries) == 0 {
		return errors.New("it shows no entry of the ledger")
	}
	if len(p.Between) > maxProof {
		return fmt.Errorf("it passes over %d entries of others; at most %d are possible", len(p.Between), maxProof)
	}
	if p.Head.Ledger != p.Ledger {
		return fmt.Errorf("it is of ledger %s, and its head of ledger %s", p.Ledger, p.Head.Ledger)
	}
	hash, entries, between := p.Start, p.Entries, p.Between
	if entries[0].Sequence == 1 && !hash.Equal(Genesis(p.Ledger)) {
		return fmt.Errorf("its first entry is not chained to the ledger's name, %s", p.Ledger)
	}
	for sequence := entries[0].Sequence; sequence <= p.Head.Sequence; sequence++ {
		if len(entries) > 0 && entries[0].Sequence == sequence {
			e := entries[0]
			entries = entries[1:]
			if !e.Previous.Equal(hash) || !e.Hash.Equal(Link(hash, e.Content())) {
				return fmt.Errorf("entry %d of the ledger (%s) does not fit the chain: it or one before it was altered", sequence, e.Kind)
			}
			hash = e.Hash
			continue
		}
		if len(between) == 0 {
			return fmt.Errorf("the chain from entry %d to the head at entry %d has a gap", sequence-1, p.Head.Sequence)
		}
		hash, between = Link(hash, between[0]), between[1:]
	}
	switch {
	case len(entries) > 0 || len(between) > 0:
		return fmt.Errorf("it shows entries that the head at entry %d does not cover", p.Head.Sequence)
	case !hash.Equal(p.Head.Hash):
		return fmt.Errorf("the chain does not lead to the head at entry %d: an entry was altered, left out or added", p.Head.Sequence)
	}
	if _, ok := p.Head.SignedBy(keys); !ok {
		return fmt.Errorf("the ledger's head at entry %d is not signed by the key that was given", p.Head.Sequence)
	}
	return nil
}
