package rehearsal

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxStatements bounds a timeline; DDL stays before what is merely slow.
const maxStatements = 2000

// Columns of PostgreSQL's CSV log, the same since version 13.
const (
	colTime    = 0
	colUser    = 1
	colDB      = 2
	colPID     = 3
	colMessage = 13
	colCount   = 24
)

var duration = regexp.MustCompile(`(?s)^duration: ([0-9.]+) ms(?:  (?:statement|execute [^:]*|parse [^:]*|bind [^:]*): (.*))?$`)

// mark is what the bridge writes where something of the update begins or ends.
type mark struct {
	Event string `json:"event"`
	Name  string `json:"name"`
}

// told is what an event trigger writes.
type told struct {
	Tag      string            `json:"tag"`
	Objects  []string          `json:"objects"`
	Locks    map[string]string `json:"locks"`
	Rewrites []string          `json:"rewrites"`
	Dropped  []string          `json:"dropped"`
}

// reader makes a timeline from the log, line by line.
type reader struct {
	db         string
	since      time.Time // of the update's beginning: its first mark
	until      time.Time // its last one
	module     string
	script     string
	open       map[string]*Statement // DDL under way, by process
	statements []Statement
	left       int
}

// readTimeline reads the part of a CSV log that was written from offset on.
func readTimeline(file string, offset int64, db string) (*reader, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	r := &reader{db: db, open: map[string]*Statement{}}
	lines := csv.NewReader(f)
	lines.FieldsPerRecord, lines.ReuseRecord = -1, true
	for {
		row, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // a server that died leaves half a line at the end
			break
		}
		if len(row) < colCount-1 || row[colUser] != loginRole || row[colDB] != db {
			continue
		}
		at, err := time.Parse("2006-01-02 15:04:05.999 MST", row[colTime])
		if err != nil {
			return nil, fmt.Errorf("the scratch server's log has a time %q", row[colTime])
		}
		r.line(at, row[colPID], row[colMessage])
	}
	for _, s := range r.open { // it never came back
		r.add(*s)
	}
	return r, nil
}

func (r *reader) line(at time.Time, pid, message string) {
	if text, ok := strings.CutPrefix(message, "waybill-mark "); ok {
		var m mark
		if json.Unmarshal([]byte(text), &m) == nil {
			r.mark(at, m)
		}
		return
	}
	if r.since.IsZero() {
		return // preparation
	}
	r.until = at
	if text, ok := strings.CutPrefix(message, "waybill-trace "); ok {
		var t told
		if json.Unmarshal([]byte(text), &t) == nil {
			r.tell(at, pid, t)
		}
		return
	}
	if sql, ok := strings.CutPrefix(message, "statement: "); ok {
		r.close(pid)
		r.open[pid] = &Statement{At: at.Sub(r.since).Seconds(), SQL: scrub(sql), Module: r.module, Script: r.script, DDL: true}
		return
	}
	found := duration.FindStringSubmatch(message)
	if found == nil {
		return
	}
	ms, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return
	}
	if s := r.open[pid]; s != nil && found[2] == "" {
		s.Seconds = ms / 1000
		r.close(pid)
		return
	}
	r.close(pid)
	if found[2] == "" || strings.Contains(found[2], "waybill-mark") {
		return
	}
	sql := scrub(found[2])
	r.add(Statement{At: max(0, at.Sub(r.since).Seconds()-ms/1000), Seconds: ms / 1000, SQL: sql, Tag: firstWord(sql), Module: r.module, Script: r.script})
}

func (r *reader) mark(at time.Time, m mark) {
	switch m.Event {
	case "begin":
		r.since = at
	case "module":
		r.module, r.script = m.Name, ""
	case "loaded":
		r.module = ""
	case "script":
		r.script = m.Name
	case "script_end":
		r.script = ""
	case "flow":
		r.module, r.script = "", "flow "+m.Name
	}
	if !r.since.IsZero() {
		r.until = at
	}
}

// tell joins what an event trigger saw with the statement under way in that process.
func (r *reader) tell(at time.Time, pid string, t told) {
	s := r.open[pid]
	if s == nil { // DDL inside a function: the statement that called it is not known here
		s = &Statement{At: at.Sub(r.since).Seconds(), SQL: strings.ToLower(t.Tag) + " (from a function)", Module: r.module, Script: r.script, DDL: true}
		r.open[pid] = s
	}
	if s.Tag == "" { // of several in one, the first: what comes after is often a comment on it
		s.Tag = t.Tag
	}
	s.Objects = append(s.Objects, t.Objects...)
	s.Rewrites = append(s.Rewrites, t.Rewrites...)
	s.Dropped = append(s.Dropped, t.Dropped...)
	if len(t.Locks) > 0 {
		s.locks = t.Locks
	}
	s.Seconds = max(s.Seconds, at.Sub(r.since).Seconds()-s.At)
}

func (r *reader) close(pid string) {
	if s := r.open[pid]; s != nil {
		r.add(*s)
		delete(r.open, pid)
	}
}

func (r *reader) add(s Statement) {
	if s.Tag == "" {
		s.Tag = firstWord(s.SQL)
	}
	if len(r.statements) >= maxStatements {
		r.left++
		quickest, at := s, -1
		for i, have := range r.statements {
			if rank(have) < rank(quickest) {
				quickest, at = have, i
			}
		}
		if at < 0 {
			return
		}
		r.statements = slices.Delete(r.statements, at, at+1)
	}
	r.statements = append(r.statements, s)
}

// rank is how much a statement is worth keeping.
func rank(s Statement) float64 {
	worth := s.Seconds
	if s.DDL {
		worth += 1e3
	}
	if len(s.Rewrites) > 0 || len(s.locks) > 0 {
		worth += 1e6
	}
	return worth
}

func firstWord(sql string) string {
	tag, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return strings.ToUpper(tag)
}

// timeline joins the statements with the locks that were seen.
func (t *trace) timeline(r *reader) *Timeline {
	slices.SortStableFunc(r.statements, func(a, b Statement) int {
		switch {
		case a.At < b.At:
			return -1
		case a.At > b.At:
			return 1
		}
		return 0
	})
	line := &Timeline{Seconds: r.until.Sub(r.since).Seconds(), Statements: r.statements, Left: r.left, Locks: []Lock{}}
	if line.Statements == nil {
		line.Statements = []Statement{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	locks := map[[2]string]*Lock{}
	for key, seen := range t.held {
		locks[key] = &Lock{Table: key[0], Mode: shortMode(key[1]), Blocks: blocks(key[1]),
			From: max(0, seen.first.Sub(r.since).Seconds()), To: max(0, seen.last.Sub(r.since).Seconds())}
	}
	for _, s := range line.Statements {
		for table, mode := range s.locks {
			key := [2]string{table, mode}
			l := locks[key]
			if l == nil { // gone before the next look
				l = &Lock{Table: table, Mode: shortMode(mode), Blocks: blocks(mode), From: s.At, To: s.At + s.Seconds}
				locks[key] = l
			}
			if l.SQL == "" || s.At < l.From {
				l.From, l.SQL, l.Module, l.Script = min(l.From, s.At), s.SQL, s.Module, s.Script
			}
			l.To = max(l.To, s.At+s.Seconds)
		}
	}
	for _, l := range locks {
		if l.Module == "" && l.Script == "" { // taken by something that left no trace of its own
			l.Module, l.Script = at(line.Statements, l.From)
		}
		line.Locks = append(line.Locks, *l)
	}
	slices.SortFunc(line.Locks, func(a, b Lock) int {
		if a.From != b.From {
			return map[bool]int{true: -1, false: 1}[a.From < b.From]
		}
		return strings.Compare(a.Table+a.Mode, b.Table+b.Mode)
	})
	return line
}

// atFullPace says of each lock how long it would have been held by an update that never waited for a CPU. since is when
// the timeline begins.
func (t *Timeline) atFullPace(since time.Time, waited *pace) {
	when := func(seconds float64) time.Time { return since.Add(time.Duration(seconds * float64(time.Second))) }
	for i := range t.Locks {
		l := &t.Locks[i]
		l.HeldSeconds = max(0, l.To-l.From-waited.between(when(l.From), when(l.To)))
	}
}

// at is what ran at a moment.
func at(statements []Statement, moment float64) (module, script string) {
	for _, s := range statements {
		if s.At > moment+sampleEvery.Seconds() {
			break
		}
		module, script = s.Module, s.Script
	}
	return module, script
}
