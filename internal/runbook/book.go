// Package runbook writes what to do when something breaks, for one tenant or one environment as it is now: with its own
// names, its recovery points and what a restore of it was measured to take. It is made anew each time, and so never
// older than the estate. It is pure: whoever calls gathers the facts.
package runbook

import (
	"fmt"
	"strings"
	"time"
)

// Book is a runbook.
type Book struct {
	Title    string    `json:"title"`
	MadeAt   time.Time `json:"made_at"`
	Sections []Section `json:"sections"`
}

// Section is one situation, or what must be known in all of them.
type Section struct {
	Title string `json:"title"`
	Parts []Part `json:"parts"`
}

// Part is one of text, rows and commands.
type Part struct {
	Text     string     `json:"text,omitempty"`     // Markdown
	Rows     [][]string `json:"rows,omitempty"`     // the first one is the head
	Commands []string   `json:"commands,omitempty"` // lines for a shell, in their order
}

// Commands are all lines for a shell, in their order.
func (b Book) Commands() (lines []string) {
	for _, s := range b.Sections {
		for _, p := range s.Parts {
			lines = append(lines, p.Commands...)
		}
	}
	return lines
}

// Markdown is the book to be read or printed.
func (b Book) Markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "# %s\n\nAs of %s. Everything below is of that moment: print it anew before you act.\n", b.Title, when(b.MadeAt))
	for _, s := range b.Sections {
		fmt.Fprintf(&w, "\n## %s\n", s.Title)
		for _, p := range s.Parts {
			w.WriteByte('\n')
			p.write(&w)
		}
	}
	return w.String()
}

func (p Part) write(w *strings.Builder) {
	switch {
	case len(p.Rows) > 0:
		table(w, p.Rows)
	case len(p.Commands) > 0:
		fmt.Fprintf(w, "```sh\n%s\n```\n", strings.Join(p.Commands, "\n"))
	default:
		fmt.Fprintln(w, p.Text)
	}
}

// table pads its columns, so that it can be read as text as well.
func table(w *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(escape(cell))))
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			cell = escape(cell)
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, "|")
	}
	line(rows[0])
	for _, width := range widths {
		fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
	}
	fmt.Fprintln(w, "|")
	for _, row := range rows[1:] {
		line(row)
	}
}

// escape keeps a cell in its column.
func escape(cell string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(cell)
}

func text(format string, args ...any) Part { return Part{Text: fmt.Sprintf(format, args...)} }

func run(lines ...string) Part { return Part{Commands: lines} }

// when is a time as people compare it with a clock on the wall of the machine.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// span says how long something takes or is ago, in the unit that a person thinks in.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return minutes(d)
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f hours", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// minutes is what a person is asked to lose: rounded up, never to nothing.
func minutes(d time.Duration) string {
	n := int(d.Minutes()) + 1
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
}

// quote makes one word of a shell of it.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// command joins words to a line for a shell.
func command(words ...string) string {
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}
