package promotion

import (
	"context"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// poolGroup is whose pools, network and files a tenant uses: those that all shared tenants have together, or its own.
// What stands beside a tenant is in that one's group.
func poolGroup(t estate.Tenant) string {
	if t.Hosting == estate.Dedicated {
		of, _, _ := store.OfBeside(t.Name)
		return of
	}
	return string(estate.Shared)
}

// inPlace refuses what would look for a tenant's data where it is not. The estate may say another hosting or another database;
// but the files are in the folder of the group before, and the tables belong to its role, until somebody has moved them.
func (e *Engine) inPlace(ctx context.Context, q Request, s Snapshot) error {
	known, err := e.rooms.Store.Tenants(ctx, q.Environment)
	if err != nil {
		return err
	}
	is := map[string]store.Tenant{}
	for _, t := range known {
		is[t.Name] = t
	}
	for _, t := range s.Tenants {
		now := is[t.Name]
		if now.ServingRelease == "" && now.SchemaRelease == "" { // no data yet
			continue
		}
		if now.Database != t.Database {
			return badRequest("the estate says database %s of tenant %s, and its data is in %s; nothing was touched. Put it back: a database keeps its name", t.Database, t.Name, now.Database)
		}
		if now.Group != poolGroup(t) && q.Kind != KindMove {
			return badRequest("the estate says hosting %s of tenant %s, and its data is where %s tenants have theirs; nothing was touched. Put it back, or move the data: waybill tenant move %s/%s --to %s",
				t.Hosting, t.Name, hostingOf(now.Group), q.Environment, t.Name, t.Hosting)
		}
	}
	return nil
}

func hostingOf(group string) estate.Hosting {
	if group == string(estate.Shared) {
		return estate.Shared
	}
	return estate.Dedicated
}
