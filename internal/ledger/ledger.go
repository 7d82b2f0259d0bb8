// Package ledger keeps the record of everything that was decided and done: a chain of hashes in
// PostgreSQL, so that whoever alters, removes, moves or inserts an entry is found out, and signed
// heads of that chain, so that whoever writes it anew is found out too.
//
// An act is written to an outbox inside its own transaction (Record); one writer at a time chains the
// outbox afterwards (Ledger), so that tenants never wait for each other. Verify needs the rows and
// public keys, and no database. The package knows nothing of what the entries mean.
package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Limits on what one entry may hold, in bytes. What is longer is cut, and says so: an act is never
// refused because its record is long.
const (
	maxName    = 300
	maxPayload = 16 << 10
)

// Event is something that was decided or done. Payload is any value that encodes to a JSON object;
// it holds names and numbers, never secrets.
type Event struct {
	Actor       string // who; empty: Waybill itself
	Kind        string // what, as subject.act, for example "promotion.asked"
	Environment string
	Tenant      string
	Promotion   string
	Rollout     string
	Release     string // digest
	Payload     any
}

// Self is the actor of what Waybill did without being told by a person.
const Self = "waybill"

// Entry is an event in its place in the chain.
type Entry struct {
	Sequence    int64     `json:"sequence" doc:"From 1 on, without gaps"`
	Time        time.Time `json:"time" doc:"When it was written down, by the database's clock, in microseconds"`
	Actor       string    `json:"actor"`
	Kind        string    `json:"kind"`
	Environment string    `json:"environment,omitempty"`
	Tenant      string    `json:"tenant,omitempty"`
	Promotion   string    `json:"promotion,omitempty"`
	Rollout     string    `json:"rollout,omitempty"`
	Release     string    `json:"release,omitempty" doc:"Digest"`
	Payload     Payload   `json:"payload"`
	Previous    Hash      `json:"previous" doc:"Hash of the entry before"`
	Hash        Hash      `json:"hash"`
}

// Hash is a SHA-256 sum; in JSON it is 64 hex digits.
type Hash []byte

// MarshalText writes hex digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads 64 hex digits.
func (h *Hash) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("%.80q is no SHA-256 sum; expected 64 hex digits", text)
	}
	*h = raw
	return nil
}

// String is the sum in hex digits.
func (h Hash) String() string { return hex.EncodeToString(h) }

// Equal compares two sums.
func (h Hash) Equal(o Hash) bool { return bytes.Equal(h, o) }

// Payload is the JSON object of an entry, in the one form that is hashed: without white space, as
// encoding/json writes it.
type Payload string

// MarshalJSON gives the object itself. Text that is no longer in its form, which only somebody who
// altered it can have left there, is given as a JSON string, so that it stays what it is.
func (p Payload) MarshalJSON() ([]byte, error) {
	if canonical, err := json.Marshal(json.RawMessage(p)); err == nil && string(canonical) == string(p) {
		return canonical, nil
	}
	return json.Marshal(string(p))
}

// UnmarshalJSON reads what MarshalJSON has written, also after another program has indented it.
func (p *Payload) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(p))
	}
	canonical, err := json.Marshal(json.RawMessage(text))
	*p = Payload(canonical)
	return err
}

// Into decodes the payload.
func (p Payload) Into(v any) error { return json.Unmarshal([]byte(p), v) }

// encode is a payload of bounded length.
func encode(v any) (Payload, error) {
	if v == nil {
		return "{}", nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode the payload: %w", err)
	}
	if len(text) <= maxPayload {
		return Payload(bytes.ReplaceAll(text, []byte(`\u0000`), []byte(`\ufffd`))), nil
	}
	sum := sha256.Sum256(text)
	text, err = json.Marshal(map[string]any{"cut": true, "bytes": len(text), "sha256": hex.EncodeToString(sum[:]), "beginning": clean(string(text), maxPayload/4)})
	return Payload(text), err
}

// clean makes a text fit for PostgreSQL and for a record: valid UTF-8 without zero bytes, of bounded length.
func clean(s string, most int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// Transaction is where an act is being written: a pgx.Tx, or a pool where the act has none.
type Transaction interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Record writes an event down inside tx: it is recorded if and only if tx commits, and chained soon after.
func Record(ctx context.Context, tx Transaction, e Event) error {
	if e.Kind == "" {
		return errors.New("write to the ledger: an event without a kind")
	}
	if e.Actor == "" {
		e.Actor = Self
	}
	payload, err := encode(e.Payload)
	if err != nil {
		return fmt.Errorf("write %s to the ledger: %w", e.Kind, err)
	}
	if _, err := tx.Exec(ctx, `insert into ledger_outbox (actor, kind, environment, tenant, promotion, rollout, release, payload)
		values ($1, $2, $3, $4, $5, $6, $7, $8)`, clean(e.Actor, maxName), clean(e.Kind, maxName), clean(e.Environment, maxName), clean(e.Tenant, maxName),
		clean(e.Promotion, maxName), clean(e.Rollout, maxName), clean(e.Release, maxName), string(payload)); err != nil {
		return fmt.Errorf("write %s to the ledger: %w", e.Kind, err)
	}
	return nil
}

// The beginnings of what is hashed say what it is, so that none can be taken for another.
const (
	entryDomain   = "waybill ledger entry v1\n"
	chainDomain   = "waybill ledger chain v1\n"
	genesisDomain = "waybill ledger genesis v1\n"
)

// Genesis is what the first entry of a ledger is chained to.
func Genesis(id string) Hash {
	sum := sha256.Sum256([]byte(genesisDomain + id))
	return sum[:]
}

// Content is the sum of what an entry says, its number and time included, and of nothing else. Each
// field is written as a netstring (its length in bytes, a colon, the bytes, a comma), so that no two
// entries are written alike.
func (e *Entry) Content() Hash { return e.contentAs(e.Sequence) }

func (e *Entry) contentAs(sequence int64) Hash {
	b := make([]byte, 0, 512+len(e.Payload))
	b = append(b, entryDomain...)
	var number [20]byte
	b = netstring(b, string(strconv.AppendInt(number[:0], sequence, 10)))
	b = netstring(b, string(strconv.AppendInt(number[:0], e.Time.UnixMicro(), 10)))
	for _, field := range [...]string{e.Actor, e.Kind, e.Environment, e.Tenant, e.Promotion, e.Rollout, e.Release, string(e.Payload)} {
		b = netstring(b, field)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func netstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

// Link is the hash of an entry: of the hash before it, and of what it says. So a part of the chain can
// be shown to somebody who may not read all of its entries: for those, their content's sum is enough.
func Link(previous, content Hash) Hash {
	b := make([]byte, 0, len(chainDomain)+2*sha256.Size)
	b = append(b, chainDomain...)
	b = append(b, previous...)
	b = append(b, content...)
	sum := sha256.Sum256(b)
	return sum[:]
}
