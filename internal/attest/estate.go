package attest

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
)

// PolicyOf is the policy that an estate declares. own are the installation's keys, which count where
// the estate says so. Provenance is always asked for.
func PolicyOf(t estate.Trust, own []keys.VerifyingKey, now time.Time) (Policy, error) {
	p := Policy{Builders: t.Builders, Sources: t.Sources, AllowDirty: t.AllowDirty, Require: []string{Provenance}, Now: now}
	for _, k := range t.Keys {
		public, err := k.Public()
		if err != nil {
			return p, fmt.Errorf("key %q of the estate: %w", k.Name, err)
		}
		from, until := k.Window()
		p.Keys = append(p.Keys, Key{Name: k.Name, Public: public, NotBefore: from, NotAfter: until})
	}
	if t.OwnKey {
		p.Keys = append(p.Keys, OwnKeys(own)...)
	}
	for _, short := range t.Require {
		required := PredicateType(short)
		if required == "" {
			return p, fmt.Errorf("the estate requires %q, which this Waybill does not know", short)
		}
		if !slices.Contains(p.Require, required) {
			p.Require = append(p.Require, required)
		}
	}
	return p, nil
}

// OwnKeys are an installation's keys as keys of a policy.
func OwnKeys(own []keys.VerifyingKey) []Key {
	var list []Key
	for _, k := range own {
		name := "this installation"
		if !k.NotAfter.IsZero() {
			name += ", before"
		}
		list = append(list, Key{Name: name, Public: k.Public, NotAfter: k.NotAfter})
	}
	return list
}
