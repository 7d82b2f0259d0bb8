package estate

import (
	"slices"
	"time"
)

// Ring is tenants that take a release one after the other, after those of the rings before it. A release that harms
// some of them goes no further.
type Ring struct {
	Name     string            `yaml:"name" json:"name"`
	Tenants  []string          `yaml:"tenants" json:"tenants,omitempty"` // by name, beside those that say ring: NAME themselves
	Labels   map[string]string `yaml:"labels" json:"labels,omitempty"`   // and those with all of these labels that name no ring
	After    []string          `yaml:"after" json:"after,omitempty"`     // rings that come first; default: the one before it in the list
	AtOnce   int               `yaml:"at_once" json:"at_once"`           // tenants of it that are under way at the same time; default 1
	Soak     time.Duration     `yaml:"soak" json:"soak,omitempty"`       // how long the release must have served the last of its tenants before a ring after it begins; default none
	Failures int               `yaml:"failures" json:"failures"`         // tenants of it that may go back before it stops, and the rings after it with it; default 0
}

// holds says whether a tenant of the ring's environment is in it.
func (r Ring) holds(t Tenant) bool {
	if t.Ring == r.Name || slices.Contains(r.Tenants, t.Name) {
		return true
	}
	if t.Ring != "" { // its own word counts for more than its labels
		return false
	}
	for key, value := range r.Labels {
		if t.Labels[key] != value {
			return false
		}
	}
	return len(r.Labels) > 0
}

// RingOf is the name of a tenant's ring; empty where the environment has no rings, and the tenants' words for theirs order nothing.
func (e Environment) RingOf(t Tenant) string {
	if len(e.Rings) == 0 {
		return ""
	}
	return t.Ring
}
