package rehearsal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// row writes a line as the server does.
func row(ms int, pid, message string) string {
	at := time.Date(2026, 3, 1, 10, 0, 0, ms*int(time.Millisecond), time.UTC).Format("2006-01-02 15:04:05.000 MST")
	fields := make([]string, 26)
	fields[colTime], fields[colUser], fields[colDB], fields[colPID] = at, loginRole, "acme", pid
	fields[colMessage] = `"` + strings.ReplaceAll(message, `"`, `""`) + `"`
	return strings.Join(fields, ",") + "\n"
}

func TestTimeline(t *testing.T) {
	file := filepath.Join(t.TempDir(), csvFile)
	log := row(0, "7", "statement: ALTER TABLE before ADD x int") +
		row(10, "9", `waybill-mark {"event": "begin"}`) +
		row(20, "9", `waybill-mark {"event": "module", "name": "acme_dock", "index": 1, "count": 2}`) +
		row(30, "9", `waybill-mark {"event": "script", "name": "acme_dock/migrations/1.1/pre-lane.py"}`) +
		row(100, "7", `statement: ALTER TABLE "stock_move" ALTER COLUMN "lane" TYPE varchar(9) USING 'secret'`) +
		row(150, "7", `waybill-trace {"tag": "ALTER TABLE", "rewrites": ["public.stock_move"]}`) +
		row(400, "7", `waybill-trace {"tag": "ALTER TABLE", "objects": ["public.stock_move"], "locks": {"public.stock_move": "AccessExclusiveLock"}}`) +
		row(401, "7", `duration: 301.000 ms`) +
		row(410, "9", `waybill-mark {"event": "script_end", "name": "acme_dock"}`) +
		row(700, "7", `duration: 250.5 ms  statement: UPDATE stock_move SET lane = 'secret'`+"\n WHERE id = 5") +
		row(710, "9", `waybill-mark {"event": "loaded", "name": "acme_dock"}`) +
		row(800, "8", `duration: 30 ms  statement: SELECT 1`) +
		strings.ReplaceAll(row(900, "7", "duration: 99 ms  statement: SELECT of another database"), ",acme,", ",other,") +
		row(1010, "9", `waybill-mark {"event": "committed"}`) +
		`2026-03-01 10:00:01.020 UTC,"waybill_upd` // the server died here
	require.NoError(t, os.WriteFile(file, []byte(log), 0o600))
	r, err := readTimeline(file, 0, "acme")
	require.NoError(t, err)
	since := r.since
	traced := &trace{held: map[[2]string]*span{
		{"public.stock_move", "AccessExclusiveLock"}: {first: since.Add(200 * time.Millisecond), last: since.Add(990 * time.Millisecond)},
		{"public.stock_quant", "ShareLock"}:          {first: since.Add(500 * time.Millisecond), last: since.Add(990 * time.Millisecond)},
	}}
	line := traced.timeline(r)
	assert.InDelta(t, 1.0, line.Seconds, 0.001)
	require.Len(t, line.Statements, 3)
	alter := line.Statements[0]
	assert.Equal(t, `ALTER TABLE "stock_move" ALTER COLUMN "lane" TYPE varchar(?) USING ?`, alter.SQL)
	assert.Equal(t, []string{"public.stock_move"}, alter.Rewrites)
	assert.Equal(t, "acme_dock/migrations/1.1/pre-lane.py", alter.Script)
	assert.InDelta(t, 0.301, alter.Seconds, 0.001)
	update := line.Statements[1]
	assert.Equal(t, "UPDATE", update.Tag)
	assert.Equal(t, "acme_dock", update.Module)
	assert.Empty(t, update.Script)
	assert.InDelta(t, 0.69-0.2505, update.At, 0.001)
	assert.Empty(t, line.Statements[2].Module)
	require.Len(t, line.Locks, 2)
	assert.Equal(t, Lock{Table: "public.stock_move", Mode: "AccessExclusive", Blocks: "reads and writes", From: line.Locks[0].From, To: line.Locks[0].To,
		Module: "acme_dock", Script: alter.Script, SQL: alter.SQL}, line.Locks[0])
	assert.InDelta(t, 0.09, line.Locks[0].From, 0.001, "from the statement's begin, not from the first look")
	assert.InDelta(t, 0.99, line.Locks[0].To, 0.001)
	assert.Equal(t, "writes", line.Locks[1].Blocks)
	assert.Equal(t, "acme_dock", line.Locks[1].Module)

	var page strings.Builder
	require.NoError(t, WritePage(&page, &Report{Timeline: line, ReleaseName: "<r2>"}))
	assert.Contains(t, page.String(), "<rect class=\"all\"")
	assert.Contains(t, page.String(), "&lt;r2&gt;")
	assert.NotContains(t, page.String(), "secret")
}

func TestTimelineIsBounded(t *testing.T) {
	r := &reader{}
	for i := range maxStatements + 500 {
		r.add(Statement{SQL: "SELECT ?", Seconds: float64(i % 7)})
	}
	r.add(Statement{SQL: "ALTER TABLE t", DDL: true, Rewrites: []string{"t"}})
	assert.Len(t, r.statements, maxStatements)
	assert.Equal(t, 501, r.left)
	assert.Equal(t, "ALTER TABLE t", r.statements[maxStatements-1].SQL)
}
