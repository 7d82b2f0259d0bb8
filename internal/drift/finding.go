package drift

import "strings"

// Finding is what differs of one object. Without a change, a deletion or a problem there is nothing: it is as declared.
type Finding struct {
	Object      Object   `json:"object"`
	Environment string   `json:"environment,omitempty"` // empty: it is the whole cluster's
	Deleted     bool     `json:"deleted,omitempty"`     // by whom, a cluster tells in its audit log alone
	Problem     string   `json:"problem,omitempty"`     // why it cannot be compared
	Changes     []Change `json:"changes,omitempty"`
}

// Drifts says whether there is anything.
func (f Finding) Drifts() bool { return f.Deleted || f.Problem != "" || len(f.Changes) > 0 }

// Says are lines for people.
func (f Finding) Says() []string {
	var all []string
	if f.Deleted {
		all = append(all, "it was deleted (by whom, the cluster's audit log says)")
	}
	if f.Problem != "" {
		all = append(all, f.Problem)
	}
	for _, c := range f.Changes {
		all = append(all, c.String())
	}
	return all
}

// String is all of it in one line.
func (f Finding) String() string { return f.Object.String() + ": " + strings.Join(f.Says(), "; ") }

// Owners are who has a hand in it, each once.
func (f Finding) Owners() []string {
	var all []string
	seen := map[string]bool{"": true}
	for _, c := range f.Changes {
		if !seen[c.Owner] {
			seen[c.Owner] = true
			all = append(all, c.Owner)
		}
	}
	return all
}
