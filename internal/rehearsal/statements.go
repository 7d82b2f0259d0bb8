package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// errNoStatements: the server counts no statements, or does not tell us.
var errNoStatements = errors.New("pg_stat_statements is not there")

// longestQuery bounds what is looked at of one statement's text, in bytes; its tables come early.
const longestQuery = 16 << 10

// readStatements calls each with every statement that ran in database db so far. The extension may be in any database
// of the server; conn is a session in one where it is. The values in texts have been taken out by the extension.
func readStatements(ctx context.Context, conn *pgx.Conn, db string, each func(id, calls int64, query string)) error {
	var schema string
	err := conn.QueryRow(ctx, "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'").Scan(&schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoStatements
	}
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT coalesce(queryid, 0), sum(calls)::bigint, left(min(query), $2) FROM `+pgx.Identifier{schema, "pg_stat_statements"}.Sanitize()+`
		 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1) AND query IS NOT NULL GROUP BY 1`, db, longestQuery)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoStatements, err)
	}
	var id, calls int64
	var query string
	_, err = pgx.ForEachRow(rows, []any{&id, &calls, &query}, func() error {
		if strings.HasPrefix(query, "<insufficient privilege>") {
			return errNoStatements
		}
		each(id, calls, query)
		return nil
	})
	if err != nil && !errors.Is(err, errNoStatements) { // not loaded at the server's start, above all
		err = fmt.Errorf("%w: %w", errNoStatements, err)
	}
	return err
}

// tablesOf finds the tables that a statement names, by their bare names as known tells them, and those of them that it
// changes rows of. It reads the text as PostgreSQL would split it into words, and knows no more of its grammar than which
// words a table follows; a table that only a function, a view or a foreign key leads to is not seen.
func tablesOf(query string, known func(name string) bool) (used, written []string) {
	all := terms(query)
	text := func(i int) string {
		if i < 0 || i >= len(all) {
			return ""
		}
		return all[i].text
	}
	keyword := func(i int) string {
		if i < 0 || i >= len(all) || all[i].quoted {
			return ""
		}
		return strings.ToUpper(all[i].text)
	}
	add := func(to *[]string, name string) {
		if !slices.Contains(*to, name) {
			*to = append(*to, name)
		}
	}
	for i, w := range all {
		if !w.name || !known(w.text) || text(i+1) == "." {
			continue
		}
		before := i - 1
		if text(before) == "." { // schema.table
			before -= 2
		}
		if keyword(before) == "ONLY" {
			before--
		}
		switch lead := keyword(before); lead {
		case "FROM", "JOIN", "INTO", "UPDATE", "USING", "COPY", "TABLE", ",":
			add(&used, w.text)
			changes := lead == "UPDATE" && keyword(before-1) != "FOR" && keyword(before-1) != "KEY" ||
				lead == "INTO" && (keyword(before-1) == "INSERT" || keyword(before-1) == "MERGE") ||
				lead == "FROM" && keyword(before-1) == "DELETE" ||
				lead == "COPY" && slices.ContainsFunc(all[i:], func(w term) bool { return !w.quoted && strings.EqualFold(w.text, "from") })
			if changes {
				add(&written, w.text)
			}
		}
	}
	return used, written
}

// term is a name, a keyword or a sign of SQL.
type term struct {
	text   string
	name   bool // could be a name
	quoted bool
}

// terms splits SQL; literals and comments are left out.
func terms(sql string) []term {
	var all []term
	letter := func(c byte) bool {
		return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
	}
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case strings.HasPrefix(sql[i:], "--"):
			i = after(sql, i+2, "\n")
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
		case c == '\'':
			i = after(sql, i+1, "'")
		case c == '"':
			end := after(sql, i+1, `"`)
			all = append(all, term{text: strings.TrimSuffix(sql[i+1:end], `"`), name: true, quoted: true})
			i = end
		case letter(c):
			end := i
			for end < len(sql) && letter(sql[end]) {
				end++
			}
			all = append(all, term{text: strings.ToLower(sql[i:end]), name: true})
			i = end
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		default:
			all = append(all, term{text: string(c)})
			i++
		}
	}
	return all
}

// after is the place behind the next end in s from i on; the end of s where there is none.
func after(s string, i int, end string) int {
	if at := strings.Index(s[i:], end); at >= 0 {
		return i + at + len(end)
	}
	return len(s)
}
