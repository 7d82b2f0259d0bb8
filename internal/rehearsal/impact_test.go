package rehearsal

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func TestImpact(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	before := &load{at: then, tables: map[string]uses{
		"public.stock_move": {scans: 1000, inserted: 10, written: 50}, "public.idle": {scans: 7}, "public.reset": {scans: 1e6, inserted: 5, written: 5}}}
	after := &load{at: then.Add(10 * time.Second), tables: map[string]uses{
		"public.stock_move": {scans: 1100, inserted: 60, written: 150}, "public.idle": {scans: 7}, "public.reset": {scans: 20}, "public.elsewhere": {scans: 20}}}
	line := Timeline{Locks: []Lock{
		{Table: "public.stock_move", Blocks: "reads and writes", From: 1, To: 5},
		{Table: "public.stock_move", Blocks: "writes", From: 1, To: 3},
		{Table: "public.idle", Blocks: "reads and writes", From: 0, To: 9},
		{Table: "public.reset", Blocks: "reads and writes", From: 0, To: 1},
		{Table: "public.fresh", Blocks: "reads and writes", From: 0, To: 1},
	}}
	line.atFullPace(then, nil)
	line.impact(before.until(after))
	assert.Equal(t, TableCounters, line.Traffic.Source)
	type hit struct{ n, seconds float64 }
	var got []hit
	for _, l := range line.Locks {
		got = append(got, hit{l.Blocked, l.BlockedSeconds})
	}
	assert.Equal(t, []hit{
		{60, 120}, // 15 a second for 4 s, 2 s each
		{20, 20},  // 10 rows a second for 2 s
		{0, 0},
		{2, 1}, // since the reset
		{0, 0},
	}, got)
	assert.Len(t, line.Traffic.Tables, 2, "only tables that are locked are kept")
	assert.Nil(t, before.until(before), "no time between the looks")
	line.impact(nil)
	assert.Nil(t, line.Traffic)
}

// TestLoadIsRead counts on a real server, and finds that looking changes nothing.
func TestLoadIsRead(t *testing.T) {
	long.Test(t)
	conn, err := pgx.Connect(t.Context(), tenants(t).URL("postgres"))
	require.NoError(t, err)
	run := func(sql string) {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	run("CREATE TABLE stock_move (id int PRIMARY KEY, lane int)")
	run("INSERT INTO stock_move SELECT i, 0 FROM generate_series(1, 20) i")
	run("SELECT pg_stat_force_next_flush()")
	before, err := readLoad(t.Context(), tenants(t).URL("postgres"), "postgres")
	require.NoError(t, err)
	for range 30 {
		run("SELECT lane FROM stock_move WHERE id = 3")
	}
	for range 5 {
		run("UPDATE stock_move SET lane = lane + 1 WHERE id = 4")
	}
	run("INSERT INTO stock_move SELECT i, 0 FROM generate_series(21, 22) i")
	require.NoError(t, conn.Close(t.Context())) // its counters are in then
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		after, err := readLoad(t.Context(), tenants(t).URL("postgres"), "postgres")
		require.NoError(c, err)
		was, is := before.tables["public.stock_move"], after.tables["public.stock_move"]
		assert.Equal(c, uses{scans: 35, inserted: 2, written: 7}, uses{is.scans - was.scans, is.inserted - was.inserted, is.written - was.written})
	}, time.Minute, 50*time.Millisecond)
	_, err = readLoad(t.Context(), tenants(t).URL("postgres"), "nosuch")
	assert.ErrorContains(t, err, "counters")
	assert.NotContains(t, err.Error(), "pw")
}
