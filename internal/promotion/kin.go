package promotion

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// Tenants are kin whose databases have the same modules, were brought to where they are by the same releases, and would be
// updated in the same way: what a rehearsal proves on the data of one holds for the code that all of them run. Data differ; so the
// largest one is rehearsed, and one in which people have made things by hand is rehearsed itself.

// Kin says whose rehearsal may stand for a tenant's.
type Kin struct {
	Set   string `json:"set"`             // the same for tenants with the same modules before and the same update
	Bytes int64  `json:"bytes"`           // of the database
	Own   string `json:"own,omitempty"`   // why it is rehearsed itself, whoever its kin are
	Young bool   `json:"young,omitempty"` // it has a checkpoint that it can be rehearsed on
}

// setOf names a tenant's set. The order in which a database lists things does not count, nor does what is left of modules that it
// has no longer.
func setOf(facts odoo.Facts, oldRelease, oldSchema string, plan Plan) string {
	type module struct{ Name, Version, State, Checksum string }
	var modules []module
	for _, m := range facts.Modules {
		modules = append(modules, module{m.Name, m.Version, m.State, facts.Checksums[m.Name]})
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.Name, b.Name) })
	sum := sha256.Sum256(encode([]any{oldRelease, oldSchema, modules, facts.PartiallyUpdated, slices.Sorted(slices.Values(plan.Update)), slices.Sorted(slices.Values(plan.Install)), plan.Transactional}))
	return hex.EncodeToString(sum[:])[:16]
}

// relative is a tenant among those of a promotion.
type relative struct {
	Tenant string
	Kin
}

// eldest is the one of a set to rehearse, by its place in the list: of those that can be, the largest; the first by name where several are.
// None (-1) where all are rehearsed by themselves.
func eldest(list []relative, set string) int {
	found := -1
	for i, r := range list {
		if r.Set == "" || r.Set != set || r.Own != "" {
			continue
		}
		if found < 0 || elder(r, list[found]) {
			found = i
		}
	}
	return found
}

func elder(a, b relative) bool {
	if a.Young != b.Young {
		return a.Young
	}
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Tenant, b.Tenant)) < 0
}
