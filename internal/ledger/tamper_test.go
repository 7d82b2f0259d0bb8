package ledger

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// thief is somebody who may do anything in the database, and does not have the key.
type thief struct {
	t  *testing.T
	tx pgx.Tx
	n  int64 // entries
}

func (x thief) do(sql string, args ...any) {
	x.t.Helper()
	_, err := x.tx.Exec(x.t.Context(), sql, args...)
	require.NoError(x.t, err)
}

func (x thief) row(seq int64) Entry {
	x.t.Helper()
	rows, err := x.tx.Query(x.t.Context(), "select "+columns+" from ledger where seq = $1", seq)
	require.NoError(x.t, err)
	e, err := pgx.CollectExactlyOneRow(rows, scan)
	require.NoError(x.t, err)
	return e
}

func (x thief) put(e Entry) {
	x.t.Helper()
	x.do("insert into ledger ("+columns+") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", e.Sequence, e.Time, e.Actor, e.Kind,
		e.Environment, e.Tenant, e.Promotion, e.Rollout, e.Release, string(e.Payload), []byte(e.Previous), []byte(e.Hash))
}

// rehash gives a row the hash that fits what it says now.
func (x thief) rehash(seq int64) Hash {
	x.t.Helper()
	e := x.row(seq)
	e.Hash = Link(e.Previous, e.Content())
	x.do("update ledger set hash = $2 where seq = $1", seq, []byte(e.Hash))
	return e.Hash
}

// rechain computes everything anew from a row on, as the writer would have.
func (x thief) rechain(from int64) {
	x.t.Helper()
	var previous []byte
	if from == 1 {
		var id string
		require.NoError(x.t, x.tx.QueryRow(x.t.Context(), "select id from ledger_identity").Scan(&id))
		previous = Genesis(id)
	} else {
		previous = x.row(from - 1).Hash
	}
	rows, err := x.tx.Query(x.t.Context(), "select "+columns+" from ledger where seq >= $1 order by seq", from)
	require.NoError(x.t, err)
	list, err := pgx.CollectRows(rows, scan)
	require.NoError(x.t, err)
	batch := &pgx.Batch{}
	for _, e := range list {
		hash := Link(previous, e.Content())
		batch.Queue("update ledger set previous = $2, hash = $3 where seq = $1", e.Sequence, []byte(previous), []byte(hash))
		previous = hash
	}
	require.NoError(x.t, x.tx.SendBatch(x.t.Context(), batch).Close())
}

// shift renumbers the rows behind one.
func (x thief) shift(behind, by int64) {
	x.do("update ledger set seq = -(seq + $2) where seq > $1", behind, by)
	x.do("update ledger set seq = -seq where seq < 0")
}

func (x thief) swap(i, j int64) {
	x.do("update ledger set seq = -seq where seq in ($1, $2)", i, j)
	x.do("update ledger set seq = case when seq = -$1::bigint then $2::bigint else $1::bigint end where seq < 0", i, j)
}

// what a thief can do to the entry at a place; the number is that at which the verifier must point, 0 for any.
var thefts = []struct {
	name  string
	fault Fault
	does  func(x thief, at int64) int64
}{
	{"actor altered", Altered, func(x thief, at int64) int64 { x.do("update ledger set actor = 'eve' where seq = $1", at); return at }},
	{"kind altered", Altered, func(x thief, at int64) int64 { x.do("update ledger set kind = 'x' where seq = $1", at); return at }},
	{"environment altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set environment = environment || '2' where seq = $1", at)
		return at
	}},
	{"tenant moved to environment", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set environment = environment || tenant, tenant = '' where seq = $1", at)
		return at
	}},
	{"promotion altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set promotion = 'other' where seq = $1", at)
		return at
	}},
	{"rollout altered", Altered, func(x thief, at int64) int64 { x.do("update ledger set rollout = '' where seq = $1", at); return at }},
	{"release altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set release = 'sha256:abd' where seq = $1", at)
		return at
	}},
	{"payload altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set payload = replace(payload, 'update', 'bake') where seq = $1", at)
		return at
	}},
	{"a space in the payload", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set payload = replace(payload, ':', ': ') where seq = $1", at)
		return at
	}},
	{"no JSON in the payload", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set payload = E'\\n{' where seq = $1", at)
		return at
	}},
	{"time altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set at = at + interval '1 microsecond' where seq = $1", at)
		return at
	}},
	{"previous altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set previous = sha256('x') where seq = $1", at)
		return at
	}},
	{"hash altered", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set hash = sha256('x') where seq = $1", at)
		return at
	}},
	{"altered, with a hash that fits", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set actor = 'eve' where seq = $1", at)
		x.rehash(at)
		if at == x.n { // nothing is chained to it: the head tells, which speaks of all since the one before
			return 0
		}
		return at
	}},
	{"altered and chained anew", Altered, func(x thief, at int64) int64 {
		x.do("update ledger set actor = 'eve' where seq = $1", at)
		x.rechain(at)
		return 0
	}},
	{"given another number", "", func(x thief, _ int64) int64 { // only the last one can be: the other numbers are taken
		x.do("update ledger set seq = seq + 5 where seq = $1", x.n)
		return x.n
	}},
	{"deleted", Deleted, func(x thief, at int64) int64 { x.do("delete from ledger where seq = $1", at); return at }},
	{"ten deleted", Deleted, func(x thief, at int64) int64 {
		x.do("delete from ledger where seq between $1 and $1 + 9", at)
		return at
	}},
	{"deleted, the others renumbered", Deleted, func(x thief, at int64) int64 {
		x.do("delete from ledger where seq = $1", at)
		x.shift(at, -1)
		return at
	}},
	{"deleted and chained anew", "", func(x thief, at int64) int64 {
		x.do("delete from ledger where seq = $1", at)
		x.shift(at, -1)
		if at < x.n {
			x.rechain(at)
		}
		return 0
	}},
	{"the tail removed", Deleted, func(x thief, at int64) int64 { x.do("delete from ledger where seq >= $1", at); return at }},
	{"all removed", Deleted, func(x thief, _ int64) int64 { x.do("delete from ledger"); return 1 }},
	{"swapped", Reordered, func(x thief, at int64) int64 {
		other := at
		for other == at {
			other = 1 + rand.Int64N(x.n)
		}
		x.swap(at, other)
		return min(at, other)
	}},
	{"moved to the end", Reordered, func(x thief, at int64) int64 {
		if at == x.n {
			at--
		}
		x.do("update ledger set seq = $2::bigint + 1 where seq = $1", at, x.n)
		x.shift(at, -1)
		return at
	}},
	{"swapped and chained anew", Altered, func(x thief, at int64) int64 {
		if at == x.n {
			at--
		}
		x.swap(at, at+1)
		x.rechain(at)
		return 0
	}},
	{"inserted, without a hash that fits", Inserted, func(x thief, at int64) int64 {
		e := x.row(at)
		x.shift(at-1, 1)
		e.Actor = "eve"
		x.put(e)
		return at
	}},
	{"inserted, with a hash that fits", Inserted, func(x thief, at int64) int64 {
		e := x.row(at)
		x.shift(at-1, 1)
		e.Actor = "eve"
		e.Hash = Link(e.Previous, e.Content())
		x.put(e)
		return at
	}},
	{"three inserted, with hashes that fit", Inserted, func(x thief, at int64) int64 {
		e := x.row(at)
		x.shift(at-1, 3)
		for i := range int64(3) {
			e.Actor, e.Sequence = "eve", at+i
			e.Hash = Link(e.Previous, e.Content())
			x.put(e)
			e.Previous = e.Hash
		}
		return at
	}},
	{"a copy of an entry inserted", Inserted, func(x thief, at int64) int64 {
		e := x.row(at)
		x.shift(at, 1)
		e.Sequence++
		x.put(e)
		return at + 1
	}},
	{"inserted and chained anew", Altered, func(x thief, at int64) int64 {
		e := x.row(at)
		x.shift(at-1, 1)
		e.Actor = "eve"
		x.put(e)
		x.rechain(at)
		return 0
	}},
	{"the ledger renamed", Altered, func(x thief, _ int64) int64 { x.do("update ledger_identity set id = 'another'"); return 1 }},
	{"a head's signature altered", ForgedHead, func(x thief, _ int64) int64 {
		x.do("update ledger_heads set signature = set_byte(signature, 20, get_byte(signature, 20) # 1) where seq = (select min(seq) from ledger_heads)")
		return 0
	}},
	{"a head's time altered", ForgedHead, func(x thief, _ int64) int64 {
		x.do("update ledger_heads set at = at - interval '1 day' where seq = (select max(seq) from ledger_heads)")
		return 0
	}},
	{"a head moved", ForgedHead, func(x thief, _ int64) int64 {
		x.do("update ledger_heads set seq = seq - 1 where seq = (select max(seq) from ledger_heads)")
		return 0
	}},
	{"a head by another key", ForgedHead, func(x thief, at int64) int64 {
		e := x.row(at)
		var id string
		require.NoError(x.t, x.tx.QueryRow(x.t.Context(), "select id from ledger_identity").Scan(&id))
		h := Head{Ledger: id, Sequence: at, Hash: e.Hash, Time: time.Now().UTC().Truncate(time.Second)}
		require.NoError(x.t, h.sign(newKey(x.t)))
		x.do("insert into ledger_heads values ($1, $2, $3, $4, $5)", h.Sequence, []byte(h.Hash), h.Time, h.KeyID, h.Signature)
		return at
	}},
	{"altered, chained anew, the heads removed", Unsigned, func(x thief, at int64) int64 {
		x.do("update ledger set actor = 'eve' where seq = $1", at)
		x.rechain(at)
		x.do("delete from ledger_heads where seq >= $1", at)
		return 0
	}},
}

// Whatever is done to whichever row is found, and called what it is.
func TestTampering(t *testing.T) {
	long.Test(t)
	b := setup(t)
	const n = 100
	b.long(n)
	require.True(t, b.verify().OK)
	ctx := t.Context()
	// In half an hour a server would long have signed what it has chained.
	later := time.Now().Add(30 * time.Minute)
	for _, theft := range thefts {
		t.Run(theft.name, func(t *testing.T) {
			for _, at := range []int64{1, 2, n - 1, n, 1 + rand.Int64N(n), 1 + rand.Int64N(n)} {
				err := pgx.BeginFunc(ctx, b.store.Pool, func(tx pgx.Tx) error {
					if _, err := tx.Exec(ctx, "set local session_replication_role = replica"); err != nil { // takes the triggers away
						return err
					}
					want := theft.does(thief{t, tx, n}, at)
					r, err := Verification{Lines: func() iter.Seq2[Line, error] { return lines(ctx, tx) }, Keys: b.keys(), Now: later}.Verify()
					require.NoError(t, err)
					require.False(t, r.OK, "at %d it was not found", at)
					require.NotNil(t, r.Problem)
					if theft.fault != "" {
						require.Equal(t, theft.fault, r.Problem.Fault, "at %d: %s", at, r.Problem.Detail)
					}
					if want != 0 {
						require.Equal(t, want, r.Problem.Sequence, "at %d: %s", at, r.Problem.Detail)
					}
					return errTakeBack
				})
				require.ErrorIs(t, err, errTakeBack)
			}
		})
	}
	require.True(t, b.verify().OK, "nothing of that was left behind")
}

var errTakeBack = errors.New("take everything back")

// Who removes the tail with its heads is found by a head that was kept elsewhere.
func TestTruncatedWithItsHeads(t *testing.T) {
	b := setup(t)
	heads := b.long(100)
	require.NoError(t, pgx.BeginFunc(t.Context(), b.store.Pool, func(tx pgx.Tx) error {
		x := thief{t, tx, 100}
		x.do("set local session_replication_role = replica")
		x.do("delete from ledger where seq > 55")
		x.do("delete from ledger_heads where seq > 55")
		return nil
	}))
	require.True(t, b.verify().OK, "the database alone does not tell")
	r := b.verify(heads...)
	require.False(t, r.OK)
	require.Equal(t, Deleted, r.Problem.Fault)
	require.Equal(t, int64(56), r.Problem.Sequence)
	require.Contains(t, r.Problem.Detail, "kept elsewhere")
	require.Equal(t, 10, r.Heads, "five in the database, and the same five kept")
}

// Nobody alters by mistake.
func TestTheTablesOnlyGrow(t *testing.T) {
	b := setup(t)
	b.long(20)
	for _, sql := range []string{"update ledger set actor = 'x'", "delete from ledger where seq = 3", "truncate ledger", "delete from ledger_heads", "update ledger_heads set seq = 1"} {
		_, err := b.store.Pool.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "only grows", sql)
	}
}

// A server does not sign what does not go on from what it has signed, not even after a restart.
func TestAThiefGetsNothingSigned(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprint("restarted ", restarted), func(t *testing.T) {
			b := setup(t)
			b.o.HeadFile = t.TempDir() + "/head.json"
			b.ledger = New(b.store.Pool, b.o)
			b.long(50)
			require.NoError(t, pgx.BeginFunc(t.Context(), b.store.Pool, func(tx pgx.Tx) error {
				x := thief{t, tx, 50}
				x.do("set local session_replication_role = replica")
				x.do("update ledger set actor = 'eve' where seq = 20")
				x.rechain(20)
				x.do("delete from ledger_heads where seq >= 20")
				return nil
			}))
			if restarted {
				b.ledger = New(b.store.Pool, b.o)
			}
			b.record(5)
			_, err := b.ledger.Cover(t.Context())
			require.ErrorIs(t, err, ErrTampered)
			_, err = b.ledger.Prove(t.Context(), "p1")
			require.ErrorIs(t, err, ErrTampered)
			kept, err := ReadHeads(b.o.HeadFile)
			require.NoError(t, err)
			r := b.verify(kept...)
			require.False(t, r.OK)
			require.Len(t, b.all(), 55, "acts are recorded all the same")
		})
	}
}
