package rehearsal

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": func(s float64) string { return fmt.Sprintf("%.1f s", s) },
	"mib":     func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) },
	"drawn":   draw,
	"join":    strings.Join,
}).Parse(pageHTML))

// WritePage writes the report as one self-contained HTML page: no script, nothing fetched from anywhere.
func WritePage(w io.Writer, r *Report) error { return page.Execute(w, r) }

// The drawing's measures, in SVG units.
const (
	drawWidth  = 1000.0
	drawLeft   = 260.0
	drawRight  = 30.0 // for half of the axis's last label
	drawRow    = 22.0
	drawTop    = 24.0
	mostTables = 40
)

// drawing is the lock timeline: a row for each table, a bar for each lock.
type drawing struct {
	Width, Height float64
	Left          float64
	Axis          []tick
	Rows          []drawnRow
	More          int // tables that found no room
}

type tick struct {
	X     float64
	Label string
}

type drawnRow struct {
	Table string
	Y     float64
	Bars  []bar
}

type bar struct {
	X, Width float64
	Class    string // CSS
	Title    string
}

// draw puts the tables that are locked longest first.
func draw(t *Timeline) drawing {
	length := max(t.Seconds, 0.1)
	for _, l := range t.Locks {
		length = max(length, l.To)
	}
	scale := (drawWidth - drawLeft - drawRight) / length
	held := map[string]float64{}
	for _, l := range t.Locks {
		held[l.Table] = max(held[l.Table], l.To-l.From)
	}
	var tables []string
	for table := range held {
		tables = append(tables, table)
	}
	slices.SortFunc(tables, func(a, b string) int {
		if held[a] != held[b] {
			return map[bool]int{true: -1, false: 1}[held[a] > held[b]]
		}
		return strings.Compare(a, b)
	})
	d := drawing{Width: drawWidth, Left: drawLeft, More: max(0, len(tables)-mostTables)}
	for i, table := range tables[:min(len(tables), mostTables)] {
		row := drawnRow{Table: strings.TrimPrefix(table, "public."), Y: drawTop + float64(i)*drawRow}
		for _, l := range t.Locks {
			if l.Table != table {
				continue
			}
			class := "writes"
			if l.Blocks == "reads and writes" {
				class = "all"
			}
			title := fmt.Sprintf("%s, blocks %s: %.2f s to %.2f s", l.Mode, l.Blocks, l.From, l.To)
			if l.Blocked >= 1 {
				title += fmt.Sprintf("\nwithout a hold about %.0f %s would wait, %.0f s together", l.Blocked, t.Traffic.Unit(), l.BlockedSeconds)
			}
			for _, more := range []string{l.Module, l.Script, l.SQL} {
				if more != "" {
					title += "\n" + more
				}
			}
			row.Bars = append(row.Bars, bar{X: drawLeft + l.From*scale, Width: max(2, (l.To-l.From)*scale), Class: class, Title: title})
		}
		d.Rows = append(d.Rows, row)
	}
	d.Height = drawTop + float64(len(d.Rows))*drawRow + 10
	for i := range 6 {
		at := length * float64(i) / 5
		d.Axis = append(d.Axis, tick{X: drawLeft + at*scale, Label: fmt.Sprintf("%.1f s", at)})
	}
	return d
}
