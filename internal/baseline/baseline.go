// Package baseline compares the servers that an environment stands on with what Odoo and a release need of them. Checks are pure
// functions over what was gathered; each deviation says what is so, what that risks, and what to do. It changes nothing.
package baseline

import "fmt"

// Deviation is one thing that is not as it should be.
type Deviation struct {
	Name   string // of the setting or the fact: "max_connections", "eviction policy"
	Advice bool   // it works as it is, and could do better
	Is     string // what was found
	Risk   string // what may come of it
	Fix    string // what to do
}

// Says is the deviation in one line, without the fix.
func (d Deviation) Says() string { return fmt.Sprintf("%s: %s", d.Is, d.Risk) }

// check looks at one thing; nil: it is as it should be, or does not apply.
type check[In any] func(In) *Deviation

// evaluate is all deviations, in the order of the checks.
func evaluate[In any](in In, chain []check[In]) (found []Deviation) {
	for _, c := range chain {
		if d := c(in); d != nil {
			found = append(found, *d)
		}
	}
	return found
}
