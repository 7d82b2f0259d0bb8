package vuln

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Finding is one vulnerability in one component, however many advisories tell of it.
type Finding struct {
	ID        string    `json:"id"`              // its CVE, else the name that is most widely used
	Names     []string  `json:"names,omitempty"` // all other names, and the advisories that mend it: GHSA, PYSEC, DSA …
	Component Component `json:"component"`
	Severity  Severity  `json:"severity"` // the highest that an advisory gives
	Score     float64   `json:"score,omitempty"`
	Vector    string    `json:"vector,omitempty"`
	Fixed     string    `json:"fixed,omitempty"` // version that mends it ("above X" where only the last affected one is known); empty: none does yet
	Summary   string    `json:"summary,omitempty"`
	Doubt     string    `json:"doubt,omitempty"` // why nobody can say whether this version is affected; empty: it is
}

// Find compares components with the advisories. The findings are sorted, the worst first.
func (d *Database) Find(components []Component) ([]Finding, error) {
	findings := []Finding{}
	err := d.db.View(func(tx *bolt.Tx) error {
		cursor := tx.Bucket(recordsBucket).Cursor()
		for _, c := range components {
			hits, err := matches(cursor, c)
			if err != nil {
				return err
			}
			findings = append(findings, merge(c, hits)...)
		}
		return nil
	})
	if err != nil {
		return nil, damaged("index is damaged: %w; remove it from the cache", err)
	}
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(-cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), -cmp.Compare(a.Score, b.Score), byName(a.Component, b.Component), strings.Compare(a.ID, b.ID))
	})
	return findings, nil
}

// match is a record that a component falls under.
type match struct {
	record
	mend  mend
	doubt string
}

func matches(cursor *bolt.Cursor, c Component) ([]match, error) {
	read := orderOf(c.base())
	if read == nil {
		return nil, nil
	}
	own, wrong := read(c.Version)
	var hits []match
	for _, ecosystem := range c.ecosystems() {
		start := prefix(ecosystem, c.Name)
		for key, value := cursor.Seek(start); key != nil && bytes.HasPrefix(key, start); key, value = cursor.Next() {
			var r record
			if err := json.Unmarshal(value, &r); err != nil {
				return nil, err
			}
			if m, hit := r.match(c.Version, own, wrong, read); hit {
				hits = append(hits, m)
			}
		}
	}
	return hits, nil
}

// match says whether a version falls under the record: it is listed, or a range covers it. Where
// that cannot be said, it does, with the doubt.
func (r record) match(given string, own version, wrong error, read order) (match, bool) {
	m := match{record: r}
	for _, listed := range r.Versions {
		if listed == given {
			return m, true
		}
		if v, err := read(listed); err == nil && own != nil && v.compare(own) == 0 {
			return m, true
		}
	}
	if len(r.Ranges) == 0 {
		return m, false
	}
	if wrong != nil {
		m.doubt = fmt.Sprintf("its version cannot be compared: %v", wrong)
		return m, true
	}
	all, err := r.spans(read)
	hit, mend := all.affects(own)
	m.mend = mend
	if !hit && err != nil {
		m.doubt = fmt.Sprintf("the advisory cannot be compared: %v", err)
		return m, true
	}
	return m, hit
}

// merge makes one finding of all that tell of the same vulnerability: an advisory, and those that
// name it as an alias. An advisory that mends several is told of in each.
func merge(c Component, hits []match) []Finding {
	groups := aliases{}
	for _, m := range hits {
		if len(m.Bundle) > 0 {
			continue
		}
		groups.join(m.ID, m.Names...)
	}
	byGroup := map[string][]match{}
	for _, m := range hits {
		of := m.Bundle
		if len(of) == 0 {
			of = []string{m.ID}
		}
		for _, name := range of {
			root := groups.root(name)
			byGroup[root] = append(byGroup[root], m)
		}
	}
	var found []Finding
	for root, list := range byGroup {
		found = append(found, finding(c, groups.all(root), list))
	}
	return found
}

func finding(c Component, names []string, list []match) Finding {
	slices.SortFunc(list, func(a, b match) int { return strings.Compare(a.ID, b.ID) })
	f := Finding{Component: c}
	harmless, certain := true, false
	var ends mend
	for _, m := range list {
		names = append(names, m.ID)
		if worse := cmp.Compare(m.Score, f.Score); worse > 0 && m.Vector != "" {
			f.Score, f.Vector = m.Score, m.Vector
		}
		if m.Severity.Rank() > f.Severity.Rank() {
			f.Severity = m.Severity
		}
		f.Summary = cmp.Or(f.Summary, m.Summary)
		f.Doubt = cmp.Or(f.Doubt, m.doubt)
		certain = certain || m.doubt == ""
		ends = ends.later(m.mend)
		harmless = harmless && (m.Harmless || len(m.Bundle) > 0)
	}
	if harmless && slices.ContainsFunc(list, func(m match) bool { return m.Harmless }) {
		f.Severity = None
	}
	if certain {
		f.Doubt = ""
	}
	f.Fixed = ends.String()
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b)) })
	names = slices.Compact(names)
	f.ID, f.Names = names[0], names[1:]
	return f
}

// place orders names: those that most people know first.
func place(name string) int {
	for i, prefix := range []string{"CVE-", "GHSA-", "PYSEC-", "DSA-", "DLA-"} {
		if strings.HasPrefix(name, prefix) {
			return i
		}
	}
	return 9
}

// aliases are names joined into groups.
type aliases map[string]string // name → a name of the same group; its own: the group's root

func (a aliases) root(name string) string {
	for {
		next, ok := a[name]
		if !ok || next == name {
			return name
		}
		name = next
	}
}

func (a aliases) join(name string, others ...string) {
	for _, other := range append(others, name) {
		if _, ok := a[other]; !ok {
			a[other] = other
		}
		if from, to := a.root(other), a.root(name); from != to {
			a[from] = to
		}
	}
}

func (a aliases) all(root string) []string {
	names := []string{root}
	for name := range a {
		if a.root(name) == root {
			names = append(names, name)
		}
	}
	return names
}
