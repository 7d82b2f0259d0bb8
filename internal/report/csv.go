package report

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

var columns = []string{"scope", "environment", "tenant", "ring", "from", "to", "figure", "unit", "value", "n", "low", "high", "p90", "counts", "note"}

// CSV writes a report as RFC 4180 wants it, one figure a line: of the whole, of each group, and of each point of the trend.
// Times are RFC 3339, durations seconds; what is not known is empty.
func (r *Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(columns); err != nil {
		return err
	}
	units := map[string]Unit{}
	for _, d := range r.Definitions {
		units[d.Key] = d.Unit
	}
	write := func(scope string, g Group, from, to time.Time, list []Figure) error {
		for _, f := range list {
			if err := out.Write([]string{scope, Cell(g.Environment), Cell(g.Tenant), Cell(g.Ring), from.Format(time.RFC3339), to.Format(time.RFC3339), f.Key, string(units[f.Key]),
				written(f.Value), strconv.Itoa(f.N), written(f.Low), written(f.High), written(f.P90), Cell(f.Counts), Cell(f.Note)}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write("total", Group{}, r.From, r.To, r.Total); err != nil {
		return err
	}
	for _, g := range r.Groups {
		if err := write(string(r.By), g, r.From, r.To, g.Figures); err != nil {
			return err
		}
	}
	for _, p := range r.Trend {
		if err := write(string(r.Bucket), Group{}, p.Start, p.End, p.Figures); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func written(x *float64) string {
	if x == nil {
		return ""
	}
	return strconv.FormatFloat(math.Round(*x*1e6)/1e6, 'f', -1, 64)
}

// Cell is a text that a spreadsheet shows and does not compute: where it would take it for a formula, an apostrophe stands
// before it. See OWASP, CSV Injection.
func Cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
