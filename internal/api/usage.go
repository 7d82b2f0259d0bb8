package api

import (
	"context"
	"fmt"
	"slices"
)

// markUsage names, in a status, tenants that take nearly as much storage as they may, or more.
func (b Backend) markUsage(ctx context.Context, s *Status) error {
	usage, err := b.Store.Usage(ctx, "")
	for _, u := range usage {
		i := slices.IndexFunc(s.Environments, func(e Environment) bool { return e.Name == u.Environment })
		if i < 0 || u.Level == 0 || !slices.ContainsFunc(s.Environments[i].Tenants, func(t Tenant) bool { return t.Name == u.Tenant }) {
			continue
		}
		const gib = 1 << 30
		s.Environments[i].Problems = append(s.Environments[i].Problems, fmt.Sprintf("%s takes %.1f of %.1f GiB of storage (%.0f %%): make room, or give it more (limits.storage_gib)",
			u.Tenant, float64(u.DatabaseBytes+u.FilesBytes)/gib, float64(u.LimitBytes)/gib, 100*u.Share()))
	}
	return err
}
