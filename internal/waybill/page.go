package waybill

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds":      func(s float64) string { return fmt.Sprintf("%.1f s", s) },
	"at":           at,
	"took":         took,
	"bytes":        size,
	"short":        short,
	"word":         word,
	"join":         strings.Join,
	"count":        count,
	"says":         says,
	"schema":       schemaWord,
	"draw":         draw,
	"yes":          func(b *bool) bool { return b != nil && *b },
	"confirmation": confirmation,
	"review":       review,
	"bad": func(outcome string) bool {
		return outcome == "failed" || outcome == "interrupted" || outcome == "retried"
	},
	"releases": func(d Document) string { return headline(&d) },
}).Parse(pageHTML))

// WritePage writes a waybill as one self-contained page: no script runs, nothing is fetched from
// anywhere. The bundle lies inside, so that the page can be verified as it is. The same waybill gives the
// same bytes.
func WritePage(w io.Writer, d Document, bundle []byte) error {
	return page.Execute(w, struct {
		Document
		Begin, End template.HTML
		Bundle     template.HTML
	}{d, bundleBegin, bundleEnd, template.HTML(lines(base64.StdEncoding.EncodeToString(bundle)))}) //nolint:gosec // letters and digits
}

// lines breaks a long text for editors and mail.
func lines(s string) string {
	var b strings.Builder
	for len(s) > 100 {
		b.WriteString(s[:100] + "\n")
		s = s[100:]
	}
	b.WriteString(s)
	return b.String()
}

func at(t any) string {
	switch t := t.(type) {
	case time.Time:
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	case *time.Time:
		if t != nil {
			return at(*t)
		}
	}
	return ""
}

func took(s Step) string {
	if s.Finished == nil || s.Outcome == "skipped" {
		return ""
	}
	return fmt.Sprintf("%.1f s", s.Finished.Sub(s.Started).Seconds())
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// count writes a number with a comma for each thousand.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is a digest or commit as people compare them.
func short(s string) string {
	s = strings.TrimPrefix(s, "sha256:")
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

// word is an outcome for people.
func word(outcome string) string {
	switch outcome {
	case "":
		return "under way"
	case "rolled_back":
		return "rolled back"
	case "waiting":
		return "waits for a person"
	}
	return outcome
}

func schemaWord(d SchemaChange) string {
	switch {
	case d.Before == "":
		return "new"
	case d.After == "":
		return "gone"
	}
	return "changed"
}

// says is what an entry of the ledger holds, in a line.
func says(e ledger.Entry) string {
	var p map[string]any
	if err := e.Payload.Into(&p); err != nil {
		return string(e.Payload)
	}
	var parts []string
	for _, key := range []string{"step", "outcome", "reason", "detail", "cause", "checkpoint"} {
		if s, ok := p[key].(string); ok && s != "" {
			parts = append(parts, s)
		}
	}
	if undo, _ := p["undo"].(bool); undo {
		parts = append([]string{"undo"}, parts...)
	}
	line := []rune(strings.Join(parts, " · "))
	if len(line) > 160 {
		return string(line[:160]) + "…"
	}
	return string(line)
}

// headline is what the document is about.
func headline(d *Document) string {
	verb := map[string]string{"promote": "into", "configuration": "configured anew in", "rollback": "back into", "restore": "restored in", "create": "made in", "suspend": "suspended in", "resume": "opened again in", "delete": "deleted in", "undelete": "taken back in", "purge": "purged from", "checkpoint": "of",
		"rotate": "with other logins in", "move": "moved in", "rename": "under other names in", "restore_beside": "restored beside in", "drop_beside": "taken away beside in"}[d.Promotion.Kind]
	if verb == "" {
		verb = "into"
	}
	return fmt.Sprintf("%s %s %s", d.Release.Name, verb, d.Promotion.Environment)
}
