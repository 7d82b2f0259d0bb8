// Package report computes the figures of releasing: how many releases succeed, how long they take, how soon a bad one is
// noticed and taken back. It is pure: it counts rows that others have read, and knows no clock and no database.
//
// What each figure means is said once, in Definitions; docs/reports.md shows the same. A figure without anything to count
// has no value, and one of few observations says so: a number nobody should rely on is worse than none.
package report

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Few is below how many observations a figure says that they are few. Below Tail, a 90th percentile would be the largest
// value or nearly so, and is not given.
const (
	Few  = 5
	Tail = 10
)

// maxBuckets bounds the points of a trend.
const maxBuckets = 400

// By says what a report is divided by.
type By string

// The divisions.
const (
	Environment By = "environment"
	Tenant      By = "tenant"
	Ring        By = "ring"
)

// Bucket is the length of a point of the trend.
type Bucket string

// The lengths. Weeks begin on Monday.
const (
	Week  Bucket = "week"
	Month Bucket = "month"
)

// Question is what a report is about.
type Question struct {
	From   time.Time // what ended (of drift: what was found) at this moment or later …
	To     time.Time // … and before this one
	By     By
	Bucket Bucket
	Zone   *time.Location // of days, weeks and months
	Last   string         // environment that releases are on their way to; lead times of the whole are of it alone. Empty: of all
}

// Report is the answer.
type Report struct {
	From        time.Time    `json:"from"`
	To          time.Time    `json:"to" doc:"Before this moment"`
	Zone        string       `json:"zone" doc:"That weeks and months are cut in"`
	By          By           `json:"by" enum:"environment,tenant,ring"`
	Bucket      Bucket       `json:"bucket" enum:"week,month"`
	Last        string       `json:"last,omitempty" doc:"Environment at the end of the pipeline: the lead time of the whole is to there"`
	Definitions []Definition `json:"definitions"`
	Total       []Figure     `json:"total"`
	Groups      []Group      `json:"groups"`
	Trend       []Point      `json:"trend"`
}

// Group is one environment, tenant or ring.
type Group struct {
	Environment string   `json:"environment"`
	Tenant      string   `json:"tenant,omitempty"`
	Ring        string   `json:"ring,omitempty" doc:"Empty, where the report is by ring: tenants in none"`
	Name        string   `json:"name" doc:"For people"`
	Figures     []Figure `json:"figures"`
}

// Point is one week or month, as far as it lies within the report.
type Point struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Whole   bool      `json:"whole" doc:"false: the report's period cuts it off"`
	Figures []Figure  `json:"figures"`
}

// Make computes a report. Errors: a period that ends before it begins, or of too many weeks.
func Make(q Question, d Data) (*Report, error) {
	if !q.From.Before(q.To) {
		return nil, fmt.Errorf("a report from %s to %s has no time in it: the end must be later", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	points := q.points()
	if points == nil {
		return nil, fmt.Errorf("a report of more than %d points by %s is not made: ask for months, or for a shorter period", maxBuckets, q.Bucket)
	}
	d = d.within(q.From, q.To)
	r := &Report{From: q.From, To: q.To, Zone: q.Zone.String(), By: q.By, Bucket: q.Bucket, Last: q.Last, Definitions: Definitions(), Groups: []Group{}, Trend: points}
	r.Total = figures(d, q.To.Sub(q.From), whole, q.Last)
	for k, part := range d.parts(q.By) {
		g := Group{Environment: k.environment, Tenant: k.tenant, Ring: k.ring, Name: k.name(q.By), Figures: figures(part, q.To.Sub(q.From), q.By, "")}
		r.Groups = append(r.Groups, g)
	}
	for i, part := range d.cut(points) {
		r.Trend[i].Figures = figures(part, points[i].End.Sub(points[i].Start), whole, q.Last)
	}
	return r, nil
}

// whole is no division: a promotion is one change, however many tenants it is about.
const whole By = ""

// points are the weeks or months that the period touches, cut to it; nil where there are too many.
func (q Question) points() []Point {
	var list []Point
	for at := q.begin(q.From.In(q.Zone)); at.Before(q.To); {
		next := at.AddDate(0, 0, 7)
		if q.Bucket == Month {
			next = at.AddDate(0, 1, 0)
		}
		p := Point{Start: at, End: next, Whole: true}
		if at.Before(q.From) {
			p.Start, p.Whole = q.From.In(q.Zone), false
		}
		if next.After(q.To) {
			p.End, p.Whole = q.To.In(q.Zone), false
		}
		if list = append(list, p); len(list) > maxBuckets {
			return nil
		}
		at = next
	}
	return list
}

// begin is the beginning of the week or month that a moment is in.
func (q Question) begin(t time.Time) time.Time {
	if q.Bucket == Month {
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, q.Zone)
	}
	return time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 0, 0, 0, 0, q.Zone)
}

// key names a group.
type key struct{ environment, tenant, ring string }

func keyOf(by By, environment, tenant, ring string) key {
	switch by {
	case Tenant:
		return key{environment, tenant, ""}
	case Ring:
		return key{environment, "", ring}
	case Environment:
		return key{environment, "", ""}
	}
	return key{}
}

func (k key) name(by By) string {
	switch {
	case by == Tenant:
		return k.environment + "/" + k.tenant
	case by == Ring && k.ring == "":
		return k.environment + ", no ring"
	case by == Ring:
		return k.environment + ", ring " + k.ring
	case k.environment == "":
		return "the whole cluster"
	}
	return k.environment
}

// parts are the data of each group, by name.
func (d Data) parts(by By) iter.Seq2[key, Data] {
	of := map[key]*Data{}
	part := func(k key) *Data {
		if of[k] == nil {
			of[k] = &Data{}
		}
		return of[k]
	}
	for i := range d.Rollouts {
		r := &d.Rollouts[i]
		p := part(keyOf(by, r.Environment, r.Tenant, r.Ring))
		p.Rollouts = append(p.Rollouts, *r)
	}
	for _, r := range d.Rehearsals {
		if by != Ring { // a rehearsal is of a tenant; in which ring it was then is not known
			p := part(keyOf(by, r.Environment, r.Tenant, ""))
			p.Rehearsals = append(p.Rehearsals, r)
		}
	}
	for _, x := range d.Drifts {
		if by == Environment { // objects are shared by tenants, and by rings
			p := part(keyOf(by, x.Environment, "", ""))
			p.Drifts = append(p.Drifts, x)
		}
	}
	keys := slices.SortedFunc(maps.Keys(of), func(a, b key) int {
		return slices.Compare([]string{a.environment, a.ring, a.tenant}, []string{b.environment, b.ring, b.tenant})
	})
	return func(yield func(key, Data) bool) {
		for _, k := range keys {
			if !yield(k, *of[k]) {
				return
			}
		}
	}
}

// cut is the data of each point.
func (d Data) cut(points []Point) []Data {
	list := make([]Data, len(points))
	find := func(t time.Time) *Data { // points follow one another without gaps
		i, _ := slices.BinarySearchFunc(points, t, func(p Point, t time.Time) int {
			if p.End.After(t) {
				return 1
			}
			return -1
		})
		return &list[i]
	}
	for i := range d.Rollouts {
		p := find(d.Rollouts[i].PromotionEnded)
		p.Rollouts = append(p.Rollouts, d.Rollouts[i])
	}
	for _, r := range d.Rehearsals {
		p := find(r.Ended)
		p.Rehearsals = append(p.Rehearsals, r)
	}
	for _, x := range d.Drifts {
		p := find(x.Found)
		p.Drifts = append(p.Drifts, x)
	}
	return list
}

// within is the part of the data that ended in a period; of drifts, what was found in it.
func (d Data) within(from, to time.Time) Data {
	in := func(t time.Time) bool { return !t.Before(from) && t.Before(to) }
	var part Data
	for _, r := range d.Rollouts {
		if in(r.PromotionEnded) {
			part.Rollouts = append(part.Rollouts, r)
		}
	}
	for _, r := range d.Rehearsals {
		if in(r.Ended) {
			part.Rehearsals = append(part.Rehearsals, r)
		}
	}
	for _, x := range d.Drifts {
		if in(x.Found) {
			part.Drifts = append(part.Drifts, x)
		}
	}
	return part
}

// Find returns one of a list by its key.
func Find(list []Figure, key string) (Figure, bool) {
	i := slices.IndexFunc(list, func(f Figure) bool { return f.Key == key })
	if i < 0 {
		return Figure{}, false
	}
	return list[i], true
}

// Sentence joins what is worth knowing about a figure's basis: how many observations, and that they are few.
func (f Figure) Sentence() string {
	parts := []string{fmt.Sprintf("n = %d", f.N)}
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	return strings.Join(parts, ": ")
}
