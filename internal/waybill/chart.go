package waybill

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

// top is the largest value of a chart, 0 where nothing was seen.
func (c Chart) top() (top float64) {
	for _, v := range slices.Concat(c.New, c.Old) {
		if v != nil {
			top = max(top, *v)
		}
	}
	return top
}

func (c Chart) lasts() time.Duration {
	return time.Duration(float64(max(len(c.New), len(c.Old))) * c.Slice * float64(time.Second))
}

// amount is a value of the chart for people.
func (c Chart) amount(v float64) string {
	if c.Unit == "seconds" {
		return fmt.Sprintf("%.2g s", v)
	}
	return fmt.Sprintf("%.2g %%", 100*v)
}

// Of the drawing, in pixels of its own.
const (
	wide, high  = 416, 120
	left, right = 44, 70 // room for the scale, and for the names of the lines
	above, foot = 10, 20
)

// draw draws both courses over time. The lines differ by more than their colour, and have their names beside them.
func draw(c *Chart) template.HTML {
	top, slots := c.top(), max(len(c.New), len(c.Old))
	if top == 0 || slots == 0 {
		return ""
	}
	x := func(i int) float64 { return left + float64(wide-left-right)*(float64(i)+.5)/float64(slots) }
	y := func(v float64) float64 { return above + float64(high-above-foot)*(1-v/top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="course" viewBox="0 0 %d %d" role="img" aria-label="Course of the signal in both releases">`, wide, high)
	for _, v := range []float64{0, top} {
		fmt.Fprintf(&b, `<path class="axis" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, y(v), wide-right, left-5, y(v)+4, c.amount(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text><text x="%d" y="%d" text-anchor="end">%s later</text>`,
		left, high-4, c.Since.UTC().Format("15:04:05 UTC"), wide-right, high-4, c.lasts())
	ends := map[string]float64{}
	for _, line := range []struct {
		class  string
		values []*float64
	}{{"old", c.Old}, {"new", c.New}} {
		var d strings.Builder
		move := byte('M')
		for i, v := range line.values {
			if v == nil { // a gap is a gap
				move = 'M'
				continue
			}
			fmt.Fprintf(&d, "%c%.1f %.1f", move, x(i), y(*v))
			if move == 'M' {
				d.WriteString("h0.1") // one value alone is a dot
			}
			move, ends[line.class] = 'L', y(*v)
		}
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, line.class, d.String())
	}
	old, hasOld := ends["old"]
	fresh, hasNew := ends["new"]
	if hasOld && hasNew && max(old-fresh, fresh-old) < 13 { // so that one name does not cover the other
		if fresh <= old {
			old = fresh + 13
		} else {
			fresh = old + 13
		}
	}
	if hasNew {
		fmt.Fprintf(&b, `<text class="new" x="%d" y="%.1f">new release</text>`, wide-right+4, fresh+4)
	}
	if hasOld {
		fmt.Fprintf(&b, `<text class="old" x="%d" y="%.1f">old release</text>`, wide-right+4, old+4)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and words of our own
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// sparks are the same for a terminal: a row a release.
func sparks(name string, c Chart) []string {
	top := c.top()
	if top == 0 {
		return nil
	}
	row := func(values []*float64) string {
		var b strings.Builder
		for _, v := range values {
			if v == nil {
				b.WriteByte(' ')
				continue
			}
			b.WriteRune(blocks[min(int(*v/top*float64(len(blocks))), len(blocks)-1)])
		}
		return b.String()
	}
	return []string{
		fmt.Sprintf("%s, new release  %s", name, row(c.New)),
		fmt.Sprintf("%s, old release  %s  a block is %s, the highest %s", name, row(c.Old), time.Duration(c.Slice*float64(time.Second)), c.amount(top)),
	}
}
