package estate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const maxRings = 100

var (
	atOnceSpan   = span[int]{1, 1000}
	failuresSpan = span[int]{0, 100_000}
	soakSpan     = span[time.Duration]{0, 30 * 24 * time.Hour}
)

func (e *Environment) fillRings(given func(string) bool) {
	for i := range e.Rings {
		field := fmt.Sprintf("rings[%d]", i)
		or(given, field+".at_once", &e.Rings[i].AtOnce, 1)
		if i > 0 {
			or(given, field+".after", &e.Rings[i].After, []string{e.Rings[i-1].Name})
		}
	}
}

// rings checks an Environment's rings by themselves.
func (d *document) rings(rings []Ring) {
	if len(rings) > maxRings {
		d.problem("rings", fmt.Sprintf("has %d entries; at most %d are possible", len(rings), maxRings), "")
		return
	}
	var names []string
	for i, r := range rings {
		field := fmt.Sprintf("rings[%d]", i)
		if d.unread(field) {
			continue
		}
		d.name(field+".name", r.Name)
		if slices.Contains(names, r.Name) && !d.unread(field+".name") {
			d.problem(field+".name", "there is a ring "+shorten(r.Name)+" already", "")
		}
		names = append(names, r.Name)
		d.once(field+".tenants", r.Tenants)
		d.once(field+".after", r.After)
		d.labels(field+".labels", r.Labels)
		within(d, field+".at_once", r.AtOnce, atOnceSpan, "")
		within(d, field+".failures", r.Failures, failuresSpan, "0: none may go back")
		within(d, field+".soak", r.Soak, soakSpan, "")
	}
	for i, r := range rings {
		for j, before := range r.After {
			at := fmt.Sprintf("rings[%d].after[%d]", i, j)
			if !d.given(at) || d.unread(at) { // the default is a name that was reported where it stands
				continue
			}
			if !slices.Contains(names, before) {
				d.problem(at, "there is no ring "+shorten(before), suggest(before, names))
			}
		}
	}
	if circle := circleOf(rings); circle != nil {
		at := slices.IndexFunc(rings, func(r Ring) bool { return r.Name == circle[0] })
		d.problem(fmt.Sprintf("rings[%d].after", at), fmt.Sprintf("ring %s waits for itself: %s", shorten(circle[0]), strings.Join(circle, " after ")), "take one of them out")
	}
}

// circleOf finds rings that wait for each other: the names from one back to itself. nil: there are none.
func circleOf(rings []Ring) []string {
	const open, closed = 1, 2
	seen := map[string]int{}
	var path []string
	var visit func(name string) []string
	visit = func(name string) []string {
		switch seen[name] {
		case closed:
			return nil
		case open:
			return append(slices.Clone(path[slices.Index(path, name):]), name)
		}
		seen[name] = open
		path = append(path, name)
		for _, r := range rings {
			if r.Name != name {
				continue
			}
			for _, before := range r.After {
				if found := visit(before); found != nil {
					return found
				}
			}
		}
		path = path[:len(path)-1]
		seen[name] = closed
		return nil
	}
	for _, r := range rings {
		if found := visit(r.Name); found != nil {
			return found
		}
	}
	return nil
}

// ringsTogether holds the rings against the tenants: each tenant of an environment that has rings is in exactly one, and knows which.
func (all *declarations) ringsTogether() {
	for _, e := range all.environments {
		rings := e.value.Rings
		if len(rings) == 0 {
			continue
		}
		var names, tenants []string
		for _, r := range rings {
			names = append(names, r.Name)
		}
		for i, t := range all.tenants {
			if t.value.Environment != e.value.Name {
				continue
			}
			tenants = append(tenants, t.value.Name)
			if r := t.value.Ring; r != "" && !slices.Contains(names, r) {
				t.doc.problem("ring", fmt.Sprintf("Environment %s has no ring %s", e.value.Name, shorten(r)), suggest(r, names))
				continue
			}
			var in []string
			for _, r := range rings {
				if r.holds(t.value) {
					in = append(in, r.Name)
				}
			}
			switch {
			case len(in) == 1:
				all.tenants[i].value.Ring = in[0]
			case len(in) == 0:
				t.doc.problem("name", fmt.Sprintf("is in no ring of Environment %s: no release would ever reach it", e.value.Name), "add ring: with one of "+strings.Join(names, ", "))
			case len(in) > 1:
				t.doc.problem("name", fmt.Sprintf("is in more than one ring of Environment %s: %s", e.value.Name, strings.Join(in, " and ")), "")
			}
		}
		for i, r := range rings {
			for j, name := range r.Tenants {
				if at := fmt.Sprintf("rings[%d].tenants[%d]", i, j); !slices.Contains(tenants, name) && !e.doc.unread(at) && !all.unreadable() {
					e.doc.problem(at, fmt.Sprintf("Environment %s has no Tenant %s", e.value.Name, shorten(name)), suggest(name, tenants))
				}
			}
		}
	}
}
