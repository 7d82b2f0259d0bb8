package ledger

import (
	"bufio"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/attest"
)

// Head says, signed, what the chain was at a sequence. Kept where whoever can write to the database
// cannot (in a Git repository, in a mail, on paper), it holds everything before it in place.
type Head struct {
	Ledger    string    `json:"ledger"` // name of the ledger
	Sequence  int64     `json:"sequence"`
	Hash      Hash      `json:"hash"`
	Time      time.Time `json:"time"`   // of signing, in whole seconds
	KeyID     string    `json:"key_id"` // "SHA256:…"
	Signature []byte    `json:"signature"`
}

// maxHeads bounds how many heads are read from a file.
const maxHeads = 100_000

// Text is what is signed, by ECDSA on P-256 with SHA-256:
//
//	waybill ledger head v1
//	ledger 5f2c…
//	sequence 123
//	hash 9b1e…
//	time 2026-11-22T03:04:05Z
func (h Head) Text() string {
	return fmt.Sprintf("waybill ledger head v1\nledger %s\nsequence %d\nhash %s\ntime %s\n", h.Ledger, h.Sequence, h.Hash, h.Time.UTC().Format(time.RFC3339))
}

func (h *Head) sign(with crypto.Signer) (err error) {
	if h.KeyID, err = attest.KeyID(with.Public()); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(h.Text()))
	h.Signature, err = with.Sign(rand.Reader, sum[:], crypto.SHA256)
	return err
}

// SignedBy says which of the keys has signed the head; false: none of them.
func (h Head) SignedBy(keys []attest.Key) (attest.Key, bool) {
	sum := sha256.Sum256([]byte(h.Text()))
	for _, k := range keys {
		if ecdsa.VerifyASN1(k.Public, sum[:], h.Signature) {
			return k, true
		}
	}
	return attest.Key{}, false
}

// ErrTampered is in the error of whoever should sign a chain that is not the one it has signed before.
var ErrTampered = errors.New("the ledger was tampered with")

// sign covers the chain as it is with a head, unless the newest one covers it already. It signs nothing
// that does not go on from the newest head that this process, or the file beside it, knows of:
// otherwise whoever can write to the database could have a chain of his own signed.
func (l *Ledger) sign(ctx context.Context) (Head, error) {
	signer, err := l.o.Signer(ctx)
	if err != nil {
		return Head{}, fmt.Errorf("sign a head of the ledger: %w", err)
	}
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return Head{}, fmt.Errorf("sign a head of the ledger: the key is a %T; expected ECDSA on P-256", signer.Public())
	}
	own := attest.PublicKeys(public)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.look(); err != nil {
		return Head{}, err
	}
	tip, err := l.goesOn(ctx)
	if err != nil {
		return Head{}, err
	}
	if t := l.trusted; t != nil && t.Sequence == tip.Sequence {
		if _, by := t.SignedBy(own); by {
			return *t, l.keep(ctx, *t)
		}
	}
	head := Head{Ledger: tip.Ledger, Sequence: tip.Sequence, Hash: tip.Hash, Time: time.Now().UTC().Truncate(time.Second)}
	if err := head.sign(signer); err != nil {
		return Head{}, fmt.Errorf("sign a head of the ledger: %w", err)
	}
	return head, l.keep(ctx, head)
}

// keep stores a head in the database and in the file, and remembers it.
func (l *Ledger) keep(ctx context.Context, h Head) error {
	if _, err := l.pool.Exec(ctx, "insert into ledger_heads (seq, hash, at, key_id, signature) values ($1, $2, $3, $4, $5) on conflict do nothing",
		h.Sequence, []byte(h.Hash), h.Time, h.KeyID, h.Signature); err != nil {
		return fmt.Errorf("store a head of the ledger: %w", err)
	}
	if l.trusted != nil && l.trusted.Sequence == h.Sequence && l.trusted.KeyID == h.KeyID && l.looked {
		return nil
	}
	l.trusted = &h
	if l.o.HeadFile == "" {
		return nil
	}
	if err := WriteHeads(l.o.HeadFile, []Head{h}); err != nil {
		return fmt.Errorf("keep the newest head of the ledger: %w", err)
	}
	return nil
}

// look reads the head that a process before this one has kept.
func (l *Ledger) look() error {
	if l.looked || l.o.HeadFile == "" {
		l.looked = true
		return nil
	}
	kept, err := ReadHeads(l.o.HeadFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the head of the ledger that was kept: %w", err)
	}
	if len(kept) > 0 {
		l.trusted = &kept[len(kept)-1]
	}
	l.looked = true
	return nil
}

// goesOn reads the chain from the trusted head on, and says where it ends.
func (l *Ledger) goesOn(ctx context.Context) (Tip, error) {
	tip := Tip{}
	err := pgx.BeginTxFunc(ctx, l.pool, snapshot, func(tx pgx.Tx) error {
		end, err := tipOf(ctx, tx)
		if err != nil {
			return err
		}
		tip = Tip{Ledger: end.Ledger, Hash: Genesis(end.Ledger)}
		from := int64(1)
		if t := l.trusted; t != nil {
			if t.Ledger != end.Ledger {
				return fmt.Errorf("%w: it was %s and is %s now", ErrTampered, t.Ledger, end.Ledger)
			}
			if t.Sequence > end.Sequence {
				return fmt.Errorf("%w: a head was signed at entry %d, and the last entry is %d now", ErrTampered, t.Sequence, end.Sequence)
			}
			if from = t.Sequence; from == 0 {
				from = 1
			}
		}
		for e, err := range entries(ctx, tx, from) {
			if err != nil {
				return err
			}
			if t := l.trusted; t != nil && e.Sequence == t.Sequence && t.Sequence > 0 {
				if !e.Hash.Equal(t.Hash) || !Link(e.Previous, e.Content()).Equal(t.Hash) {
					return fmt.Errorf("%w: entry %d is not the one that a head was signed at", ErrTampered, e.Sequence)
				}
			} else if e.Sequence != tip.Sequence+1 || !e.Previous.Equal(tip.Hash) || !e.Hash.Equal(Link(tip.Hash, e.Content())) {
				return fmt.Errorf("%w: entry %d does not follow the one before it", ErrTampered, e.Sequence)
			}
			tip.Sequence, tip.Hash = e.Sequence, e.Hash
		}
		return nil
	})
	if errors.Is(err, ErrTampered) {
		return tip, fmt.Errorf("%w. No head is signed until that is cleared up: waybill ledger verify says more, docs/ledger.md what to do", err)
	}
	return tip, err
}

// WriteHeads writes heads to a file, a line of JSON each, as a whole or not at all.
func WriteHeads(path string, heads []Head) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	encoder := json.NewEncoder(f)
	for _, h := range heads {
		if err := encoder.Encode(h); err != nil {
			_ = f.Close()
			return err
		}
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// ReadHeads reads a file of heads, or of an export of the ledger, and sorts them by sequence. Lines
// that are empty or begin with # are passed over.
func ReadHeads(path string) ([]Head, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	heads, err := parseHeads(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return heads, nil
}

func parseHeads(r io.Reader) ([]Head, error) {
	var heads []Head
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		var h struct {
			Head
			Entry json.RawMessage `json:"entry"` // of an export
			In    *Head           `json:"head"`
		}
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			return nil, fmt.Errorf("line %d holds no head: %w", n, err)
		}
		switch {
		case h.In != nil:
			heads = append(heads, *h.In)
		case len(h.Signature) > 0:
			heads = append(heads, h.Head)
		case h.Ledger == "" && h.Entry == nil:
			return nil, fmt.Errorf("line %d holds no head", n)
		}
		if len(heads) > maxHeads {
			return nil, fmt.Errorf("it has more than %d heads; give only the newest", maxHeads)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	SortHeads(heads)
	return heads, nil
}

// SortHeads puts heads in the order of their sequence.
func SortHeads(heads []Head) {
	slices.SortStableFunc(heads, func(a, b Head) int { return cmp.Compare(a.Sequence, b.Sequence) })
}
