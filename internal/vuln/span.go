package vuln

import (
	"cmp"
	"fmt"
	"slices"
)

// boundary is an event whose version was understood; nil is the version before all others.
type boundary struct {
	kind  string
	at    version
	given string
}

// spans are a record's ranges, each sorted by version.
type spans [][]boundary

// spans reads a record's ranges. Those that can be read are returned beside the error.
func (r record) spans(read order) (spans, error) {
	var all spans
	var wrong error
	for _, events := range r.Ranges {
		var one []boundary
		for _, e := range events {
			b := boundary{kind: e.Kind, given: e.Version}
			if e.Kind == limit && e.Version == "*" {
				continue // no limit
			}
			if !(e.Kind == introduced && e.Version == "0") {
				v, err := read(e.Version)
				if err != nil {
					wrong = fmt.Errorf("advisory %s: %w", r.ID, err)
					one = nil
					break
				}
				b.at = v
			}
			one = append(one, b)
		}
		slices.SortStableFunc(one, func(a, b boundary) int {
			if a.at == nil || b.at == nil {
				return cmp.Compare(known(a.at), known(b.at))
			}
			return cmp.Or(a.at.compare(b.at), cmp.Compare(rank[a.kind], rank[b.kind]))
		})
		if len(one) > 0 {
			all = append(all, one)
		}
	}
	return all, wrong
}

// rank orders events at the same version: what ends there ends before what begins there.
var rank = map[string]int{fixed: 0, limit: 0, introduced: 1, lastAffected: 2}

func known(v version) int {
	if v == nil {
		return 0
	}
	return 1
}

// affects follows the schema's own algorithm: of the events at or before a version, the last one
// decides. The mend is what ends it for this version, where the advisory knows of such.
func (s spans) affects(v version) (hit bool, m mend) {
	for _, events := range s {
		in := false
		limited, below := false, false
		for _, e := range events {
			if e.kind == limit {
				limited = true
				below = below || v.compare(e.at) < 0
				continue
			}
			switch {
			case e.at == nil || v.compare(e.at) >= 0 && e.kind == introduced:
				in = true
			case e.kind == fixed && v.compare(e.at) >= 0, e.kind == lastAffected && v.compare(e.at) > 0:
				in = false
			}
		}
		if !in || limited && !below {
			continue
		}
		hit = true
		for _, e := range events {
			if e.at != nil && (e.kind == fixed && v.compare(e.at) < 0 || e.kind == lastAffected && v.compare(e.at) <= 0) {
				m = m.later(mend{at: e.at, given: e.given, after: e.kind == lastAffected})
				break
			}
		}
	}
	return hit, m
}

// mend is the version that ends a vulnerability, or the last one that has it.
type mend struct {
	at    version
	given string
	after bool
}

// later is the one of two that mends both.
func (m mend) later(o mend) mend {
	if m.at == nil {
		return o
	}
	if o.at == nil {
		return m
	}
	c := m.at.compare(o.at)
	if c < 0 || c == 0 && o.after {
		return o
	}
	return m
}

func (m mend) String() string {
	if m.after {
		return "above " + m.given
	}
	return m.given
}
