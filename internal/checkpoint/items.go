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
}

var (
	// One that pg_restore does by itself is processed; one that it gives to a worker is finished.
	itemDone = regexp.MustCompile(`^pg_restore: (?:processing|finished) item (\d+) `)
	chatter  = regexp.MustCompile(`^pg_restore: (?:connecting|creating|disabling|enabling|entering|executing|finished|finishing|implied|launching|processing|reducing|restoring|setting|skipping|table|transferring) `)
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
		_, _ = i.others.Write(i.line)
	}
	i.line = i.line[:0]
}

func (i *items) String() string {
	i.flush()
	return i.others.String()
}
