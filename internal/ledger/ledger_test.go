package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/long"
)

func TestRecordedWithItsActOrNotAtAll(t *testing.T) {
	b := setup(t)
	undone := errors.New("undone")
	require.ErrorIs(t, b.store.In(t.Context(), func(tx pgx.Tx) error {
		require.NoError(t, Record(t.Context(), tx, Event{Kind: "never"}))
		return undone
	}), undone)
	require.NoError(t, Record(t.Context(), b.store.Pool, Event{Kind: ServerStarted, Payload: map[string]string{"version": "1"}}))
	h := b.cover()
	require.Equal(t, int64(1), h.Sequence)
	e, err := b.ledger.Entry(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, ServerStarted, e.Kind)
	require.Equal(t, Self, e.Actor)
	require.Equal(t, Payload(`{"version":"1"}`), e.Payload)
	require.Equal(t, e.Hash, h.Hash)
	_, err = b.ledger.Entry(t.Context(), 2)
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, h, b.cover(), "what is covered is not signed again")
}

func TestAnEmptyLedger(t *testing.T) {
	b := setup(t)
	require.True(t, b.verify().OK)
	h := b.cover()
	require.Equal(t, int64(0), h.Sequence)
	r := b.verify(h)
	require.True(t, r.OK, "%v", r.Problem)
}

// What is hashed can be written in one way only, and is that which docs/ledger.md says.
func TestTheFormThatIsHashed(t *testing.T) {
	e := Entry{Sequence: 7, Time: time.UnixMicro(1_700_000_000_000_001).UTC(), Actor: "ann", Kind: "k", Environment: "production", Payload: `{"a":1}`}
	sum := sha256.Sum256([]byte("waybill ledger entry v1\n1:7,16:1700000000000001,3:ann,1:k,10:production,0:,0:,0:,0:,7:{\"a\":1},"))
	require.Equal(t, Hash(sum[:]), e.Content())
	previous := Genesis("x")
	sum = sha256.Sum256(append(append([]byte("waybill ledger chain v1\n"), previous...), e.Content()...))
	require.Equal(t, Hash(sum[:]), Link(previous, e.Content()))
	shifted := e
	shifted.Actor, shifted.Kind = "annk", ""
	require.NotEqual(t, e.Content(), shifted.Content())
	require.Equal(t, e.Content(), e.contentAs(7))
	require.NotEqual(t, e.Content(), e.contentAs(8))
}

func TestPayloads(t *testing.T) {
	b := setup(t)
	long := strings.Repeat("ä", maxPayload)
	for _, payload := range []any{nil, map[string]any{"html": "<a href='x'>&", "line": "a\nb\u2028c", "float": 1.5e-7, "big": 1 << 60}, map[string]string{"long": long}, map[string]string{"zero": "a\x00b", "bad": "\xff\xfe"}} {
		require.NoError(t, Record(t.Context(), b.store.Pool, Event{Actor: "a\x00\xff" + long, Kind: "k", Payload: payload}))
	}
	require.Error(t, Record(t.Context(), b.store.Pool, Event{Kind: "k", Payload: make(chan int)}))
	require.Error(t, Record(t.Context(), b.store.Pool, Event{}))
	b.cover()
	require.True(t, b.verify().OK)
	list := b.all()
	require.Len(t, list, 4)
	for _, e := range list {
		require.LessOrEqual(t, len(e.Payload), maxPayload)
		require.LessOrEqual(t, len(e.Actor), maxName)
		require.True(t, json.Valid([]byte(e.Payload)))
	}
	var cut struct {
		Cut   bool `json:"cut"`
		Bytes int  `json:"bytes"`
	}
	require.NoError(t, list[1].Payload.Into(&cut))
	require.True(t, cut.Cut)
	require.Greater(t, cut.Bytes, maxPayload)
}

// An export is verified as the database is, also after another program has indented it.
func TestExport(t *testing.T) {
	b := setup(t)
	b.long(60)
	var plain, indented bytes.Buffer
	require.NoError(t, Write(&plain, b.ledger.Lines(t.Context())))
	for line := range strings.Lines(plain.String()) {
		var v any
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		require.NoError(t, json.Compact(&indented, []byte(line)))
		indented.WriteString("\n\n")
	}
	spaced := strings.ReplaceAll(indented.String(), `,"`, ` , "`)
	check := func(text string) (Report, error) {
		return Verification{Lines: func() iter.Seq2[Line, error] { return Read(strings.NewReader(text)) }, Keys: b.keys()}.Verify()
	}
	for _, text := range []string{plain.String(), spaced} {
		r, err := check(text)
		require.NoError(t, err)
		require.True(t, r.OK, "%v", r.Problem)
		require.Equal(t, int64(60), r.Entries)
		require.Equal(t, 10, r.Heads)
	}
	r, err := check(strings.Replace(plain.String(), `"actor":"ann"`, `"actor":"eve"`, 1))
	require.NoError(t, err)
	require.Equal(t, Altered, r.Problem.Fault)
	require.Equal(t, int64(1), r.Problem.Sequence)
	_, err = check(plain.String()[:plain.Len()/2])
	require.ErrorContains(t, err, "does not parse")
	_, err = check(strings.Repeat("x", maxLine+1))
	require.Error(t, err)
	r, err = check("")
	require.NoError(t, err)
	require.Equal(t, Deleted, r.Problem.Fault)

	heads, err := parseHeads(strings.NewReader(plain.String()))
	require.NoError(t, err)
	require.Len(t, heads, 10, "an export serves as a file of heads")
	file := filepath.Join(t.TempDir(), "heads")
	require.NoError(t, WriteHeads(file, heads))
	again, err := ReadHeads(file)
	require.NoError(t, err)
	require.Equal(t, heads, again)
}

// A writer that dies between outbox and chain loses nothing and chains nothing twice.
func TestKilledWriter(t *testing.T) {
	b := setup(t)
	b.record(30)
	for range 3 {
		db, err := pgx.Connect(t.Context(), b.store.Pool.Config().ConnString())
		require.NoError(t, err)
		tx, err := db.Begin(t.Context())
		require.NoError(t, err)
		n, err := chain(t.Context(), tx, true)
		require.NoError(t, err)
		require.Equal(t, 30, n)
		b.exec("select pg_terminate_backend($1)", db.PgConn().PID()) // before it could commit
		require.Error(t, tx.Commit(t.Context()))
		_ = db.Close(t.Context())
		require.Empty(t, b.all())
	}
	require.Equal(t, int64(30), b.cover().Sequence)
	require.True(t, b.verify().OK)
	for i, e := range b.all() {
		var p struct {
			Number int `json:"number"`
		}
		require.NoError(t, e.Payload.Into(&p))
		require.Equal(t, 29-i, p.Number, "in the order in which they were written")
	}
}

// Two servers keep one ledger, while many write to it.
func TestTwoWriters(t *testing.T) {
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	var writers, tenants sync.WaitGroup
	for range 2 {
		o := b.o
		o.HeadEvery = 20
		l := New(b.store.Pool, o)
		writers.Go(func() { _ = l.Run(ctx) })
	}
	for range 6 {
		tenants.Go(func() {
			for range 25 {
				b.record(2)
			}
		})
	}
	tenants.Wait()
	cancel()
	writers.Wait()
	r := b.verify()
	require.True(t, r.OK, "%v", r.Problem)
	require.Equal(t, int64(300), r.Entries, "each stops only once it has chained what there was")
	require.Equal(t, r.Entries, r.Covered, "and has signed it")
	last := map[string]int{}
	entries := b.all()
	for i := range entries {
		e := entries[len(entries)-1-i]
		last[e.Promotion]++
	}
	require.Equal(t, 150, last["p0"])
	require.Equal(t, 150, last["p1"])
}

func TestRunSigns(t *testing.T) {
	b := setup(t)
	b.o.HeadAfter = 10 * time.Millisecond
	l := New(b.store.Pool, b.o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	b.record(3)
	require.Eventually(t, func() bool {
		heads, err := b.ledger.Heads(t.Context(), 1)
		return err == nil && len(heads) == 1 && heads[0].Sequence == 3
	}, time.Minute, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

func TestRotatedKey(t *testing.T) {
	b := setup(t)
	b.long(20)
	old := b.key
	b.key = newKey(t)
	h := b.cover()
	require.Equal(t, int64(20), h.Sequence, "the same entry, signed anew")
	r := b.verify()
	require.False(t, r.OK, "the old key is not given")
	require.Equal(t, ForgedHead, r.Problem.Fault)
	lines := func() iter.Seq2[Line, error] { return b.ledger.Lines(t.Context()) }
	r, err := Verification{Lines: lines, Keys: b.keys(old)}.Verify()
	require.NoError(t, err)
	require.True(t, r.OK, "%v", r.Problem)
	keys := b.keys(old)
	keys[1].NotAfter = time.Now().Add(-time.Hour)
	r, err = Verification{Lines: lines, Keys: keys}.Verify()
	require.NoError(t, err)
	require.Equal(t, ForgedHead, r.Problem.Fault, "signed after the key had been replaced")
}

func TestProof(t *testing.T) {
	b := setup(t)
	b.long(100)
	p, err := b.ledger.Prove(t.Context(), "p1")
	require.NoError(t, err)
	require.Len(t, p.Entries, 30, "ten tenths of ten, p1 in three of each")
	require.NoError(t, p.Verify(b.keys()))
	encoded, err := json.Marshal(p)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), `"p2"`, "nothing of others is told")
	copied := func() Proof {
		var c Proof
		require.NoError(t, json.Unmarshal(encoded, &c))
		return c
	}
	require.NoError(t, func() error { c := copied(); return c.Verify(b.keys()) }())
	for name, forge := range map[string]func(*Proof){
		"an entry altered":       func(p *Proof) { p.Entries[3].Actor = "eve" },
		"an entry left out":      func(p *Proof) { p.Entries = append(p.Entries[:3], p.Entries[4:]...) },
		"the first left out":     func(p *Proof) { p.Entries = p.Entries[1:] },
		"one of others left out": func(p *Proof) { p.Between = p.Between[1:] },
		"one of others added":    func(p *Proof) { p.Between = append(p.Between, p.Between[0]) },
		"one of others replaced": func(p *Proof) { p.Between[2] = p.Between[1] },
		"another start":          func(p *Proof) { p.Start = p.Head.Hash },
		"another ledger":         func(p *Proof) { p.Ledger = "x" },
		"another head":           func(p *Proof) { p.Head.Hash = p.Start },
		"an older head":          func(p *Proof) { p.Head.Sequence-- },
		"no entries":             func(p *Proof) { p.Entries = nil },
		"no signature":           func(p *Proof) { p.Head.Signature = nil },
	} {
		c := copied()
		forge(&c)
		require.Error(t, c.Verify(b.keys()), name)
	}
	other := newKey(t)
	require.Error(t, copied().Verify([]attest.Key{{Public: &other.PublicKey}}))
	_, err = b.ledger.Prove(t.Context(), "nobody's")
	require.ErrorIs(t, err, ErrNotFound)
}

// A large ledger is chained and verified in memory that does not grow with it: its payloads alone have several times the
// limit. make bench-ledger does the same with a hundred thousand rows.
func TestLarge(t *testing.T) {
	long.Test(t)
	b := setup(t)
	const n = 20_000
	b.exec(`insert into ledger_outbox (actor, kind, environment, tenant, promotion, rollout, release, payload)
		select 'ann', 'rollout.step', 'production', 't' || i % 300, 'p' || i / 1000, 'r' || i % 900, 'sha256:abc', '{"step":"update","number":' || i || ',"detail":"' || repeat('x', 1500) || '"}'
		from generate_series(1, $1) i`, n)
	require.Equal(t, int64(n), b.cover().Sequence)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, seen := uint64(0), 0
	watched := func(yield func(Line, error) bool) {
		for line, err := range b.ledger.Lines(t.Context()) {
			if seen++; seen%4_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
			if !yield(line, err) {
				return
			}
		}
	}
	r, err := Verification{Lines: func() iter.Seq2[Line, error] { return watched }, Keys: b.keys(), Now: time.Now()}.Verify()
	require.NoError(t, err)
	require.True(t, r.OK, "%v", r.Problem)
	require.Equal(t, int64(n), r.Entries)
	require.Less(t, int64(most)-int64(before.HeapAlloc), int64(8<<20))
}
