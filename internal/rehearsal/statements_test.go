package rehearsal

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTablesOf(t *testing.T) {
	known := func(name string) bool {
		return map[string]bool{"stock_move": true, "res_users": true, "Odd": true, "lines": true}[name]
	}
	for sql, want := range map[string][2][]string{
		`SELECT "stock_move"."id" FROM "stock_move" LEFT JOIN "res_users" AS "stock_move__user" ON TRUE WHERE "stock_move"."id" IN ($1)`: {{"stock_move", "res_users"}, nil},
		`select 1 from only public.stock_move x where id = $1 for key share of x`:                                                        {{"stock_move"}, nil},
		`SELECT 1 FROM stock_move FOR NO KEY UPDATE NOWAIT`:                                                                              {{"stock_move"}, nil},
		`UPDATE "stock_move" SET "res_users" = $1 FROM (VALUES ($2)) lines WHERE id = $3`:                                                {{"stock_move"}, {"stock_move"}},
		`INSERT INTO "public"."stock_move" ("id") SELECT id FROM res_users`:                                                              {{"stock_move", "res_users"}, {"stock_move"}},
		`WITH gone AS (DELETE FROM ONLY stock_move RETURNING *) SELECT * FROM gone, res_users`:                                           {{"stock_move", "res_users"}, {"stock_move"}},
		`COPY public.stock_move (id) TO stdout`:                                                                                          {{"stock_move"}, nil},
		`COPY stock_move FROM stdin`:                                                                                                     {{"stock_move"}, {"stock_move"}},
		`SELECT 'FROM stock_move' -- FROM res_users` + "\n" + `FROM /* res_users, */ "Odd"`:                                              {{"Odd"}, nil},
		`SELECT * FROM odd, Stock_Move`:                                                                                                  {{"stock_move"}, nil},
		`LOCK TABLE stock_move; BEGIN`:                                                                                                   {{"stock_move"}, nil},
		`SELECT "unended FROM stock_move`:                                                                                                {nil, nil},
	} {
		used, written := tablesOf(sql, known)
		assert.Equal(t, want, [2][]string{used, written}, sql)
	}
}

func FuzzTablesOf(f *testing.F) {
	f.Add(`SELECT "a" FROM 'b' -- c /* d`)
	f.Fuzz(func(_ *testing.T, sql string) { tablesOf(sql, func(string) bool { return true }) })
}

// TestStatementsAreCounted: where the server counts statements, in whichever database the extension is, they say how
// often a table is used; else its own counters do.
func TestStatementsAreCounted(t *testing.T) {
	run := func(db string, all ...string) {
		conn, err := pgx.Connect(t.Context(), tenants(t).URL(db))
		require.NoError(t, err)
		for _, sql := range all {
			_, err := conn.Exec(t.Context(), sql)
			require.NoError(t, err, sql)
		}
		require.NoError(t, conn.Close(t.Context()))
	}
	run("postgres", "CREATE DATABASE counted", "DROP EXTENSION pg_stat_statements") // the server has made it: apt-get install postgresql brings it
	run("counted", "CREATE TABLE stock_move (id int PRIMARY KEY, lane int)", "INSERT INTO stock_move VALUES (1, 1)")
	look := func() *load {
		l, err := readLoad(t.Context(), tenants(t).URL("postgres"), "counted")
		require.NoError(t, err)
		return l
	}
	before := look()
	assert.Nil(t, before.calls, "no extension yet")
	assert.Equal(t, TableCounters, before.until(&load{at: before.at.Add(time.Second)}).Source)

	run("postgres", "CREATE EXTENSION pg_stat_statements")
	before = look()
	require.NotNil(t, before.calls)
	for range 7 {
		run("counted", "SELECT count(*) FROM stock_move a JOIN stock_move b USING (id)")
	}
	run("counted", "UPDATE stock_move SET lane = 2", "UPDATE stock_move SET lane = 3", "SELECT 1")
	after := look()
	after.at = before.at.Add(10 * time.Second)
	traffic := before.until(after)
	assert.Equal(t, StatementCounters, traffic.Source)
	assert.InDelta(t, 0.9, traffic.Tables["public.stock_move"].Any, 0.001, "a statement counts once, whatever it scans")
	assert.InDelta(t, 0.2, traffic.Tables["public.stock_move"].Writes, 0.001)
}
