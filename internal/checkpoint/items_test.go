package checkpoint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestItems(t *testing.T) {
	said := `pg_restore: connecting to database for restore
pg_restore: processing item 3412 ENCODING ENCODING
pg_restore: processing item 215 TABLE orders
pg_restore: creating TABLE "public.orders"
pg_restore: entering main parallel loop
pg_restore: launching item 3300 TABLE DATA orders
pg_restore: processing data for table "public.orders"
pg_restore: error: could not execute query: ERROR:  relation "x" does not exist
Command was: ALTER TABLE x
pg_restore: finished item 3300 TABLE DATA orders
pg_restore: finished item 3300 TABLE DATA orders
`
	for _, size := range []int{1, 7, 64, len(said)} {
		var told []int64
		i := &items{seen: map[string]bool{}, done: func(n int64) { told = append(told, n) }}
		for at := 0; at < len(said); at += size {
			_, err := i.Write([]byte(said[at:min(len(said), at+size)]))
			require.NoError(t, err)
		}
		require.Equal(t, []int64{1, 2, 3}, told)
		require.Equal(t, `pg_restore: error: could not execute query: ERROR:  relation "x" does not exist; Command was: ALTER TABLE x`, i.String())
	}

	i := &items{seen: map[string]bool{}, done: func(int64) {}}
	for range 100 { // a statement without an end does not fill the memory
		_, err := i.Write([]byte(strings.Repeat("x", 64<<10)))
		require.NoError(t, err)
	}
	require.Less(t, cap(i.line)+cap(i.others.buf), 1<<20)
}

// TestOnlySettings: a pg_restore 17 complains of a setting at the start of each connection to a server of version 15, and goes on.
func TestOnlySettings(t *testing.T) {
	const (
		message = `could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"
Command was: SET transaction_timeout = 0;
`
		setting = "pg_restore: while INITIALIZING:\npg_restore: error: " + message
		other   = `pg_restore: error: could not execute query: ERROR:  relation "x" does not exist
Command was: ALTER TABLE x
`
		chat = `pg_restore: processing item 216 TABLE u
pg_restore: creating TABLE "public.u"
`
		end = "pg_restore: warning: errors ignored on restore: 2\n" // those of workers are not counted there
	)
	for _, c := range []struct {
		said string
		only bool
	}{
		{setting + chat + end, true},
		{setting + chat + setting + setting + end, true},
		{setting + "pg_restore: pg_restore: error: error: " + message + message + end, true}, // two workers at once
		{setting + other + end, false},
		{setting + "pg_restore: error: COPY failed for table \"u\": ERROR:  invalid byte sequence\n" + end, false},
		{setting + "pg_restore: error: could not execute query: ERROR:  syntax error\nCommand was: x\nCommand was: SET transaction_timeout = 0;\n" + end, false},
		{other + end, false},
		{setting, false}, // it did not come to its end
		{"", false},
	} {
		i := &items{seen: map[string]bool{}, done: func(int64) {}}
		_, err := i.Write([]byte(c.said))
		require.NoError(t, err)
		require.Equal(t, c.only, i.onlySettings(), c.said)
	}
}
