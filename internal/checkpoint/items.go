package checkpoint

import (
	"bytes"
	"regexp"
)

// items reads what pg_restore --verbose tells on its standard error: how many entries of its list are done, and, apart from that,
// what it complains of.
type items struct {
	done   func(n int64) // after each
	seen   map[string]bool
	line   []byte
	others tail

	complaints int  // errors of any kind
	unknown    int  // those of them that a setting is unknown to the server
	query      bool // the line before complains of a statement, which follows
	ended      bool // it says how many errors it has gone on after
}

var (
	// One that pg_restore does by itself is processed; one that it gives to a worker is finished.
	itemDone = regexp.MustCompile(`^pg_restore: (?:processing|finished) item (\d+) `)
	chatter  = regexp.MustCompile(`^pg_restore: (?:connecting|creating|disabling|enabling|entering|executing|finished|finishing|implied|launching|processing|reducing|restoring|setting|skipping|table|transferring) `)
)

// A pg_restore that is newer than the server sets what the server does not have, at the start of each connection: transaction_timeout
// came with version 17. Complaint and statement are written at once, but not with what stands before them, and several
// processes write.
var (
	complaint      = []byte("error: ")
	failedQuery    = []byte("could not execute query: ")
	unknownSetting = []byte("Command was: SET transaction_timeout = 0;")
	ignoredErrors  = []byte("warning: errors ignored on restore: ")
)

// longestLine is more than a line that tells of an item takes; a complaint may quote a statement of any length.
const longestLine = 8 << 10

func (i *items) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			i.line = append(i.line, rest[:min(len(rest), longestLine)]...)
			if len(i.line) > longestLine {
				i.flush()
			}
			break
		}
		i.line = append(i.line, rest[:end+1]...)
		i.flush()
		rest = rest[end+1:]
	}
	return len(p), nil
}

func (i *items) flush() {
	if m := itemDone.FindSubmatch(i.line); m != nil && !i.seen[string(m[1])] {
		i.seen[string(m[1])] = true
		i.done(int64(len(i.seen)))
	}
	if !chatter.Match(i.line) {
		i.complaints += bytes.Count(i.line, complaint)
		if i.query && bytes.Equal(bytes.TrimSpace(i.line), unknownSetting) {
			i.unknown++
		}
		i.ended = i.ended || bytes.Contains(i.line, ignoredErrors)
		_, _ = i.others.Write(i.line)
	}
	i.query = bytes.Contains(i.line, failedQuery)
	i.line = i.line[:0]
}

func (i *items) String() string {
	i.flush()
	return i.others.String()
}

// onlySettings says whether all that went wrong are settings that an older server does not know.
func (i *items) onlySettings() bool {
	i.flush()
	return i.ended && i.complaints == i.unknown
}
