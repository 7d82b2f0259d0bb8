package rehearsal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestScrubTakesValuesOut(t *testing.T) {
	for sql, want := range map[string]string{
		`UPDATE "res_partner" SET name = 'O''Brien' WHERE id IN (1, 2, 3)`:           `UPDATE "res_partner" SET name = ? WHERE id IN (?)`,
		`INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')`:                             `INSERT INTO t (a, b) VALUES (...)`,
		`ALTER TABLE "t" ADD COLUMN "lane_2" varchar(64)`:                            `ALTER TABLE "t" ADD COLUMN "lane_2" varchar(?)`,
		`SELECT E'it\'s secret', 'b' -- hunter2` + "\n" + `FROM t /* a /* b */ c */`: `SELECT E? FROM t`,
		`DO $x$BEGIN RAISE LOG 'secret'; END$x$`:                                     `DO ?`,
		`SELECT 'unfinished secret`:                                                  `SELECT ?`,
		`SELECT $1, $tag`:                                                            `SELECT $1, $tag`,
		"SELECT   1.5e10\n ,x1":                                                      `SELECT ? ,x1`,
		`SELECT 'backslash\' , secret, 'b'`:                                          `SELECT ? , secret, ?`,
	} {
		assert.Equal(t, want, scrub(sql), sql)
	}
}

func FuzzScrub(f *testing.F) {
	for _, s := range []string{"", "'", `"`, "$a$", "E'\\", "/*", "--", "x'y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Whatever stands around it: a value in quotes never shows.
		got := scrub("SELECT 'hunter2zzz' " + strings.NewReplacer("'", "", `"`, "", "$", "", "/", "", "-", "").Replace(s))
		assert.NotContains(t, got, "hunter2zzz")
		assert.LessOrEqual(t, len([]rune(scrub(s))), longestSQL+2)
	})
}

func TestDiscreet(t *testing.T) {
	for message, want := range map[string]string{
		"could not create unique index DETAIL: Key (code)=(X) is duplicated.":           "could not create unique index DETAIL: Key (code)=(?) is duplicated.",
		"Key (a, lower(b))=(1, (secret) x) already exists":                              "Key (a, lower(b))=(?) already exists",
		"violates not-null constraint DETAIL: Failing row contains (7, hunter2, null).": "violates not-null constraint DETAIL: Failing row contains (?).",
		"order S00042 has no lane (yet)":                                                "order S00042 has no lane (yet)",
	} {
		assert.Equal(t, want, discreet(message))
	}
}
